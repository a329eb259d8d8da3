/** Sets: ipset's words in and out, what they hold, and how rules see them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigurationError } from '../../lib/errors.js';
import { SetRegistry } from '../../lib/rules/sets/registry.js';
import { Gate, view } from './acl.js';

/** Whether a packet matches `-m set --match-set ...`. */
function isIn(gate: Gate, match: string, notation: string, nowMs = 0): boolean {
  const packet = view(notation);
  gate.nowMs = nowMs;
  gate.load(packet.version, 'filter', [`-A FORWARD -m set --match-set ${match} -j DROP`]);
  return gate.send(packet) === 0;
}

function withSets(text: string): Gate {
  const gate = new Gate();
  gate.sets.restore(text);
  return gate;
}

const UDP = 'udp 10.0.0.2:9 > 198.51.100.7:53';

describe('membership', () => {
  test.each([
    ['create a hash:ip\nadd a 10.0.0.2', 'a src', true],
    ['create a hash:ip\nadd a 10.0.0.2', 'a dst', false],
    ['create a hash:ip\nadd a 10.0.0.0/30', 'a src', true],
    ['create a hash:ip\nadd a 10.0.0.3-10.0.0.5', 'a src', false],
    ['create a hash:ip netmask 24\nadd a 10.0.0.77', 'a src', true],
    ['create a hash:net\nadd a 10.0.0.0/8', 'a src', true],
    ['create a hash:net\nadd a 10.0.0.0/8\nadd a 10.0.0.0/24 nomatch', 'a src', false],
    ['create a hash:net\nadd a 10.0.0.0/8\nadd a 10.0.0.0/24 nomatch', 'a src --return-nomatch', true],
    ['create a hash:ip,port\nadd a 10.0.0.2,udp:53', 'a src,dst', true],
    ['create a hash:ip,port\nadd a 10.0.0.2,53', 'a src,dst', false],
    ['create a hash:ip,port\nadd a 10.0.0.2,udp:50-60', 'a src,dst', true],
    ['create a hash:net,port\nadd a 198.51.0.0/16,udp:53', 'a dst,dst', true],
    ['create a hash:net,port\nadd a 198.51.0.0/16,udp:53', 'a dst', false],
    ['create a bitmap:port range 1-100\nadd a 53', 'a dst', true],
    ['create b hash:ip\nadd b 10.0.0.2\ncreate a list:set\nadd a b', 'a src', true],
    ['create a hash:ip family inet6', 'a src', false],
  ])('%j | %s: %s', (text, match, member) => {
    expect(isIn(withSets(text), match, UDP)).toBe(member);
  });

  test('an element is there until its last second is over', () => {
    const text = 'create a hash:ip timeout 10\nadd a 10.0.0.2\nadd a 10.0.0.3 timeout 0';
    expect([0, 10_000, 10_004].map((ms) => isIn(withSets(text), 'a src', UDP, ms))).toEqual([
      true,
      true,
      false,
    ]);
    expect(isIn(withSets(text), 'a src', 'udp 10.0.0.3:9 > 1.1.1.1:2', 1e9)).toBe(true);
  });

  test('networks: the longest prefix decides, like a slow search', () => {
    const network = fc.record({
      host: fc.integer({ min: 0, max: 255 }),
      prefix: fc.integer({ min: 24, max: 32 }),
      nomatch: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(network, { maxLength: 8 }), fc.integer({ min: 0, max: 255 }), (networks, host) => {
        const size = (prefix: number) => 2 ** (32 - prefix);
        const unique = new Map(
          networks.map(({ host: at, prefix, nomatch }) => {
            const first = at - (at % size(prefix));
            return [`10.0.0.${first}/${prefix}`, { first, prefix, nomatch }];
          }),
        );
        const lines = [...unique].map(([text, { nomatch }]) => `add a ${text}${nomatch ? ' nomatch' : ''}`);
        const [longest] = [...unique.values()]
          .filter(({ first, prefix }) => host >= first && host < first + size(prefix))
          .sort((a, b) => b.prefix - a.prefix);
        const gate = withSets(['create a hash:net', ...lines].join('\n'));
        expect(isIn(gate, 'a src', `udp 10.0.0.${host}:9 > 1.1.1.1:2`)).toBe(
          longest !== undefined && !longest.nomatch,
        );
      }),
    );
  });
});

describe('rules that change sets', () => {
  test('SET adds and removes, with a timeout of its own', () => {
    const gate = withSets('create a hash:ip timeout 5');
    gate.load(4, 'mangle', [
      '-A FORWARD -p udp -j SET --add-set a src --timeout 20',
      '-A FORWARD -p tcp -j SET --del-set a src',
    ]);
    gate.send(view(UDP), 'mangle');
    expect(gate.sets.save()).toContain('add a 10.0.0.2 timeout 20');
    gate.send(view('tcp 10.0.0.2:1 > 1.1.1.1:2 SYN'), 'mangle');
    expect(gate.sets.save()).not.toContain('add a');
  });

  test('SET takes marks from the element', () => {
    const gate = withSets('create a hash:ip skbinfo\nadd a 10.0.0.2 skbmark 0x12/0xff skbprio 1:a');
    gate.load(4, 'mangle', ['-A FORWARD -j SET --map-set a src --map-mark --map-prio']);
    const packet = view(UDP);
    packet.mark = 0x3400;
    gate.send(packet, 'mangle');
    expect([packet.mark, packet.priority]).toEqual([0x3412, 0x1000a]);
  });

  test('a rule that names no set is refused', () => {
    expect(() => isIn(withSets(''), 'a src', UDP)).toThrow(ConfigurationError);
  });

  test('rules see what a set becomes after they were made', () => {
    const gate = withSets('create a hash:ip\ncreate b hash:ip\nadd b 10.0.0.2');
    gate.load(4, 'filter', ['-A FORWARD -m set --match-set a src -j DROP']);
    expect(gate.send(view(UDP))).toBe(1);
    gate.sets.restore('add a 10.0.0.2');
    expect(gate.send(view(UDP))).toBe(0);
    gate.sets.restore('flush a\nswap a b');
    expect(gate.send(view(UDP))).toBe(0);
    gate.sets.restore('swap a b');
    expect(gate.send(view(UDP))).toBe(1);
  });
});

describe('text', () => {
  test('what is saved restores to the same', () => {
    const text = [
      'create a hash:ip family inet hashsize 1024 maxelem 65536 timeout 300 counters',
      'add a 10.0.0.1 timeout 299 packets 4 bytes 9',
      'create b hash:net family inet6 hashsize 64 maxelem 10 comment skbinfo forceadd',
      'add b fd00::/64 nomatch comment "hi there" skbmark 0x1/0xff',
      'create c hash:ip,port family inet hashsize 1024 maxelem 65536',
      'add c 10.0.0.1,icmp:echo-request',
      'add c 10.0.0.1,tcp:80',
      'add c 10.0.0.1,gre:0',
      'create d bitmap:port range 1-1024',
      'add d 80',
      'create e list:set size 4',
      'add e a',
      'add e b',
      '',
    ].join('\n');
    const registry = new SetRegistry();
    registry.restore(text);
    expect(registry.save()).toBe(text);
  });

  test.each([
    ['create a hash:mac', 1, 10],
    ['create a hash:ip\ncreate a hash:ip', 2, undefined],
    ['create a hash:ip\nadd a 10.0.0.300', 2, 7],
    ['create a hash:ip\nadd a fd00::1', 2, 7],
    ['create a hash:ip\nadd a 10.0.0.1\nadd a 10.0.0.1', 3, undefined],
    ['create a hash:ip\nadd a 10.0.0.1 timeout 5', 2, 16],
    ['create a hash:net\nadd a 0.0.0.0/0', 2, 7],
    ['create a hash:ip,port\nadd a 10.0.0.1', 2, 7],
    ['create a bitmap:port range 1-10\nadd a 11', 2, 7],
    ['create a list:set\nadd a b', 2, 7],
    ['add a 1.2.3.4', 1, 5],
    ['make a hash:ip', 1, 1],
  ])('%j is refused at line %d', (text, line, column) => {
    const registry = new SetRegistry();
    registry.restore('create kept hash:ip');
    const error = ((): unknown => {
      try {
        registry.restore(text);
      } catch (thrown) {
        return thrown;
      }
      return undefined;
    })();
    expect(error).toBeInstanceOf(ConfigurationError);
    expect((error as ConfigurationError).place).toMatchObject({ line, column });
    expect([...registry.names]).toEqual(['kept']);
  });

  test('a set that a rule uses is not destroyed', () => {
    const gate = withSets('create a hash:ip');
    gate.load(4, 'filter', ['-A FORWARD -m set --match-set a src']);
    expect(() => gate.sets.restore('destroy a')).toThrow('in use');
    gate.load(4, 'filter', ['-A FORWARD -p udp']);
    gate.sets.restore('destroy a');
    expect(gate.sets.names.size).toBe(0);
  });

  test('lists keep the order that before and after ask for', () => {
    const registry = new SetRegistry();
    registry.restore(
      'create a hash:ip\ncreate b hash:ip\ncreate c hash:ip\ncreate l list:set\nadd l a\nadd l b before a\nadd l c after b',
    );
    expect(
      registry
        .save()
        .split('\n')
        .filter((line) => line.startsWith('add')),
    ).toEqual(['add l b', 'add l c', 'add l a']);
  });
});
