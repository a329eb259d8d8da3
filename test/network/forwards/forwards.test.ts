import { describe, expect, it } from 'vitest';
import { DropReason } from '../../../lib/counters.js';
import { ConfigurationError } from '../../../lib/errors.js';
import { type ForwardRequest, ForwardsError } from '../../../lib/network/forwards/forwards.js';
import { PortProtocol } from '../../../lib/network/local/registry.js';
import { Lab, MASQUERADE } from './lab.js';

const SYN = 'SYN seq 1';

describe('a forward', () => {
  it('leads connections from outside to its target, and answers back', () => {
    const lab = new Lab();
    lab.forwards().add('tcp', '8080:10.0.0.2/80');
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8080 ${SYN}`)).toEqual([
      expect.stringMatching(/^lan: tcp 198\.51\.100\.7:4000 > 10\.0\.0\.2:80 SYN/),
    ]);
    expect(lab.send('lan', 'tcp 10.0.0.2:80 > 198.51.100.7:4000 SYN,ACK seq 9 ack 2')).toEqual([
      expect.stringMatching(/^wan: tcp 203\.0\.113\.1:8080 > 198\.51\.100\.7:4000 SYN,ACK/),
    ]);
  });

  it('shifts the ports of a range', () => {
    const lab = new Lab();
    lab.forwards().add('udp', '0.0.0.0/5000-5010:10.0.0.2/6000-6010');
    expect(lab.send('wan', 'udp 198.51.100.7:4000 > 203.0.113.1:5003 len 1')[0]).toContain('10.0.0.2:6003');
    expect(lab.send('wan', 'udp 198.51.100.7:4000 > 203.0.113.1:5010 len 1')[0]).toContain('10.0.0.2:6010');
  });

  it('keeps the ports of a range that goes to the same ports', () => {
    const lab = new Lab();
    lab.forwards({ to: '10.0.0.2' }).add('udp', '5000-5010');
    expect(lab.send('wan', 'udp 198.51.100.7:4000 > 203.0.113.1:5003 len 1')[0]).toContain('10.0.0.2:5003');
    expect(lab.send('wan', 'udp 198.51.100.7:4000 > 203.0.113.1:5011 len 1')[0]).toMatch(/^wan: icmp /);
  });

  it('of both families goes to a target of each', () => {
    const lab = new Lab();
    const forwards = lab.forwards({ to: ['10.0.0.2', 'fd00:a::2'] });
    forwards.add('tcp', '22:2222');
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:22 ${SYN}`)[0]).toContain('> 10.0.0.2:2222');
    expect(lab.send('wan', `tcp [2001:db8:9::7]:4000 > [2001:db8:1::1]:22 ${SYN}`)[0]).toContain(
      '> [fd00:a::2]:2222',
    );
    expect(forwards.list().map(({ family, rule }) => `${family} ${rule}`)).toEqual([
      '4 0.0.0.0:22 -> 10.0.0.2:2222',
      '6 [::]:22 -> [fd00:a::2]:2222',
    ]);
  });

  it('on an interface is for packets that come in by it', () => {
    const lab = new Lab();
    lab.forwards({ to: '10.0.0.2' }).apply(['tcp %wan/22', 'tcp %dmz/22:2222']);
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:22 ${SYN}`)[0]).toContain('> 10.0.0.2:22 ');
    expect(lab.send('dmz', `tcp 10.0.1.7:4000 > 203.0.113.1:22 ${SYN}`)[0]).toContain('> 10.0.0.2:2222 ');
    expect(lab.send('lan', `tcp 10.0.0.7:4000 > 203.0.113.1:22 ${SYN}`)[0]).toMatch(/^lan: .* RST/);
  });

  it('on an address leaves the other addresses alone', () => {
    const lab = new Lab();
    lab.forwards({ to: '10.0.0.2' }).add('tcp', '203.0.113.1/22');
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:22 ${SYN}`)[0]).toContain('> 10.0.0.2:22');
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 10.0.1.1:22 ${SYN}`)[0]).toContain('RST');
  });

  it('passes a FORWARD chain that drops by default, both ways, and lets nothing else pass', () => {
    const lab = new Lab(`${MASQUERADE}*filter\n:FORWARD DROP [0:0]\nCOMMIT\n`);
    lab.forwards().add('udp', '53:10.0.0.2/5353');
    expect(lab.send('wan', 'udp 198.51.100.7:4000 > 203.0.113.1:53 len 1')).toHaveLength(1);
    expect(lab.send('lan', 'udp 10.0.0.2:5353 > 198.51.100.7:4000 len 1')).toHaveLength(1);
    expect(lab.send('lan', 'udp 10.0.0.2:5353 > 198.51.100.7:4001 len 1')).toHaveLength(0);
    expect(lab.send('wan', 'udp 198.51.100.7:4000 > 10.0.0.2:5353 len 1')).toHaveLength(0);
  });

  it('is seen among the rules, and gone with them when it is removed', () => {
    const lab = new Lab();
    const before = lab.save();
    const handle = lab.forwards().add('tcp', '0.0.0.0/8080-8090:10.0.0.2/80-90');
    expect(lab.save()).toContain(
      '-A CONNTIDE-FWD ! -i lan -p tcp -m tcp --dport 8080:8090 -m addrtype --dst-type LOCAL ' +
        '-j DNAT --to-destination 10.0.0.2:80-90/8080',
    );
    handle.remove();
    handle.remove();
    expect(lab.save()).not.toContain('CONNTIDE');
    expect(lab.save()).toContain(before.trim().split('\n').slice(-2)[0]);
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8080 ${SYN}`)[0]).toContain('RST');
  });

  it('leaves a service of the router on one of its addresses alone', () => {
    const lab = new Lab();
    let received = 0;
    lab.router.ports.reserve({
      version: 4,
      protocol: PortProtocol.UDP,
      address: [0x0a000101, 0, 0, 0],
      port: 53,
      owner: 'dns',
      receive: () => received++,
    });
    lab.forwards().add('udp', '53:10.0.0.2/53');
    expect(lab.send('dmz', 'udp 10.0.1.7:4000 > 10.0.1.1:53 len 1')).toEqual([]);
    expect(received).toBe(1);
    expect(lab.send('dmz', 'udp 10.0.1.7:4000 > 203.0.113.1:53 len 1')[0]).toContain('> 10.0.0.2:53');
  });

  it('leaves a service of the router on one of its interfaces alone', () => {
    const lab = new Lab();
    const index = lab.router.interfaceIndex('dmz');
    const common = { version: 4, protocol: PortProtocol.UDP, port: 53 } as const;
    lab.router.ports.reserve({ ...common, interface: index, owner: 'dns' });
    lab.forwards().add('udp', '53:10.0.0.2/53');
    expect(lab.send('dmz', 'udp 10.0.1.7:4000 > 203.0.113.1:53 len 1')).toEqual([]);
    expect(lab.send('wan', 'udp 198.51.100.7:4000 > 203.0.113.1:53 len 1')).toHaveLength(1);
  });

  it.each([
    ['tcp 22', /no target/],
    ['tcp %eth9/22', /no such interface/],
    ['tcp 22:10.0.0.1/22', /no way to the target/],
    ['sctp 22', /no such protocol/],
    ['22', /no such protocol/],
    ['tcp auto', /which ports are open/],
  ])("'%s' is refused when nothing else is said", (input, message) => {
    const lab = new Lab();
    const forwards = lab.forwards(input.includes('%') ? { to: '10.0.0.2' } : {});
    expect(() => forwards.apply([input])).toThrow(message);
    expect(forwards.list()).toEqual([]);
  });
});

it.each([
  [{ protocol: 'tcp', spec: '22', harpin: 'on' }, /forward: no such option \('harpin'\)/],
  [{ protocol: 'tcp' }, /forward: no spec \('undefined'\); expected ports and a target/],
  [{ protocol: 'tcp', spec: '22', hairpin: true }, /forward: hairpin \('true'\); expected on, off/],
])('a forward with %j is refused', (request, message) => {
  const forwards = new Lab().forwards({ to: '10.0.0.2' });
  expect(() => forwards.apply([request as ForwardRequest])).toThrow(message);
});

describe('hairpin', () => {
  const forward = (hairpin: 'on' | 'off') => {
    const lab = new Lab();
    lab.forwards({ hairpin }).add('tcp', '8080:10.0.0.2/80');
    return lab;
  };

  it('off: a peer of the target finds the port closed', () => {
    const lab = forward('off');
    expect(lab.send('lan', `tcp 10.0.0.3:4000 > 203.0.113.1:8080 ${SYN}`)).toEqual([
      expect.stringMatching(/^lan: tcp 203\.0\.113\.1:8080 > 10\.0\.0\.3:4000 RST/),
    ]);
  });

  it('off: another network behind the router may use it', () => {
    const lab = forward('off');
    expect(lab.send('dmz', `tcp 10.0.1.3:4000 > 203.0.113.1:8080 ${SYN}`)[0]).toMatch(
      /^lan: tcp 10\.0\.1\.3:4000 > 10\.0\.0\.2:80 SYN/,
    );
  });

  it.each([
    ['a peer', '10.0.0.3'],
    ['the target itself', '10.0.0.2'],
  ])('on: %s reaches the target, and is answered through the router', (_, host) => {
    const lab = forward('on');
    expect(lab.send('lan', `tcp ${host}:4000 > 203.0.113.1:8080 ${SYN}`)).toEqual([
      expect.stringMatching(/^lan: tcp 10\.0\.0\.1:4000 > 10\.0\.0\.2:80 SYN/),
    ]);
    expect(lab.send('lan', 'tcp 10.0.0.2:80 > 10.0.0.1:4000 SYN,ACK seq 9 ack 2')).toEqual([
      expect.stringMatching(new RegExp(`^lan: tcp 203\\.0\\.113\\.1:8080 > ${host}:4000 SYN,ACK`)),
    ]);
  });

  it('on: hosts elsewhere keep their address', () => {
    const lab = forward('on');
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8080 ${SYN}`)[0]).toContain(
      '198.51.100.7:4000',
    );
    expect(lab.send('dmz', `tcp 10.0.1.3:4000 > 203.0.113.1:8080 ${SYN}`)[0]).toContain('10.0.1.3:4000');
  });

  it('on: a program of the router itself reaches the target', () => {
    const lab = forward('on');
    expect(lab.send('local', `tcp 203.0.113.1:4000 > 203.0.113.1:8080 ${SYN}`)[0]).toMatch(
      /^lan: .* > 10\.0\.0\.2:80 SYN/,
    );
  });
});

describe('a set of forwards', () => {
  it('is replaced as a whole', () => {
    const lab = new Lab();
    const forwards = lab.forwards({ to: '10.0.0.2' });
    forwards.apply(['tcp 22', 'udp 53']);
    forwards.apply(['tcp 22:2222', { protocol: 'udp', spec: '54' }]);
    expect(forwards.list().map(({ protocol, rule }) => `${protocol} ${rule}`)).toEqual([
      'tcp 0.0.0.0:22 -> 10.0.0.2:2222',
      'udp 0.0.0.0:54 -> 10.0.0.2:54',
    ]);
    expect(lab.router.ports.count).toBe(2);
  });

  it('with two rules for the same packets is refused, naming both, and the old set stays', () => {
    const lab = new Lab();
    const forwards = lab.forwards({ to: '10.0.0.2' });
    forwards.apply(['tcp 22']);
    const before = lab.save();
    const error = caught(() => forwards.apply(['tcp 1.2.3.4/22', 'udp 22', 'tcp 20-25']));
    expect(error).toBeInstanceOf(ForwardsError);
    expect(error.errno).toBe('EEXIST');
    expect(error.message).toContain("'1.2.3.4:22 -> 22' and '*:20-25 -> 20-25'");
    expect(lab.save()).toBe(before);
    expect(lab.router.ports.count).toBe(1);
  });

  it('may have a port in both protocols', () => {
    const lab = new Lab();
    expect(() => lab.forwards({ to: '10.0.0.2' }).apply(['tcp 53', 'udp 53'])).not.toThrow();
  });

  it('whose ports others have is refused with a list of all of them, and nothing has changed', () => {
    const lab = new Lab();
    const forwards = lab.forwards({ to: '10.0.0.2' });
    forwards.apply(['tcp 22']);
    for (const port of [81, 83]) {
      lab.router.ports.reserve({ version: 4, protocol: PortProtocol.TCP, port, owner: `socket ${port}` });
    }
    const before = lab.save();
    const error = caught(() => forwards.apply(['tcp 80-84', 'tcp 443']));
    expect(error.errno).toBe('EADDRINUSE');
    expect(error.failures.map(({ protocol, port, rival }) => [protocol, port, rival])).toEqual([
      ['tcp', 81, 'socket 81'],
      ['tcp', 83, 'socket 83'],
    ]);
    expect(error.message).toContain('tcp 81 (socket 81), tcp 83 (socket 83)');
    expect(lab.save()).toBe(before);
    expect(lab.router.ports.count).toBe(3);
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:22 ${SYN}`)[0]).toContain('10.0.0.2:22');
  });

  it('gives the ports that it does not need any more back', () => {
    const lab = new Lab();
    const forwards = lab.forwards({ to: '10.0.0.2' });
    forwards.apply(['tcp 80-84']);
    forwards.apply(['tcp 82-86']);
    expect([...lab.router.ports.list()].map(({ port, last }) => [port, last])).toEqual([[82, 86]]);
    expect(lab.router.ports.count).toBe(5);
  });

  it('that takes what is free leaves out what others have', () => {
    const lab = new Lab();
    lab.router.ports.reserve({ version: 4, protocol: PortProtocol.UDP, port: 67, owner: 'dhcp' });
    const forwards = lab.forwards({ to: '10.0.0.2' });
    forwards.add('udp', 'all');
    expect(forwards.list().map(({ ports }) => ports)).toEqual([
      [
        { first: 1, last: 66 },
        { first: 68, last: 32767 },
      ],
      [{ first: 61000, last: 65535 }],
    ]);
    expect(lab.send('wan', 'udp 198.51.100.7:4000 > 203.0.113.1:66 len 1')[0]).toContain('10.0.0.2:66');
    expect(lab.send('wan', 'udp 198.51.100.7:4000 > 203.0.113.1:67 len 1')).toEqual([]);
  });

  it.each<['per-rule' | 'any', boolean]>([
    ['per-rule', false],
    ['any', true],
  ])('that takes what is free needs a port %s: %s', (usable, isEnough) => {
    const lab = new Lab();
    for (let port = 61000; port <= 65535; port++) {
      lab.router.ports.reserve({ version: 4, protocol: PortProtocol.TCP, port, owner: 'socket' });
    }
    const forwards = lab.forwards({ to: '10.0.0.2', usable });
    const apply = () => forwards.apply(['tcp ~6000']);
    if (isEnough) {
      apply();
      expect(forwards.list().map(({ ports }) => ports.length)).toEqual([1, 1, 0]);
    } else {
      const error = caught(apply);
      expect(error.failures).toHaveLength(4536);
      expect(error.failures[0]).toMatchObject({ port: 61000, rival: 'socket' });
      expect(lab.router.ports.count).toBe(4536);
    }
  });

  it('with no free port at all is refused either way', () => {
    const lab = new Lab();
    lab.router.ports.reserve({ version: 4, protocol: PortProtocol.TCP, port: 1, owner: 'socket' });
    const forwards = lab.forwards({
      to: '10.0.0.2',
      usable: 'any',
      ephemeral: { first: 2, last: 65535 },
    });
    expect(caught(() => forwards.apply(['tcp all'])).failures).toHaveLength(1);
  });

  it('with auto forwards the ports that the target has open, and follows them', () => {
    const lab = new Lab();
    let open = [8001, 8002, 9999];
    const asked: unknown[] = [];
    const forwards = lab.forwards({
      to: '10.0.0.2',
      scan: (target) => {
        asked.push(target);
        return open;
      },
    });
    forwards.add('tcp', '8000-8010,auto');
    expect(asked[0]).toEqual({ protocol: 'tcp', version: 4, address: '10.0.0.2' });
    expect(forwards.list()[0]?.ports).toEqual([{ first: 8001, last: 8002 }]);
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8002 ${SYN}`)[0]).toContain('10.0.0.2:8002');
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8005 ${SYN}`)[0]).toContain('RST');
    open = [8005];
    forwards.scan();
    expect(lab.send('wan', `tcp 198.51.100.7:4001 > 203.0.113.1:8005 ${SYN}`)[0]).toContain('10.0.0.2:8005');
    expect(lab.send('wan', `tcp 198.51.100.7:4001 > 203.0.113.1:8001 ${SYN}`)[0]).toContain('RST');
  });
});

describe('a connection through a forward', () => {
  const packet = (port: number) => `udp 198.51.100.7:${port} > 203.0.113.1:53 len 1`;

  it('remembers the rule that made it', () => {
    const lab = new Lab();
    const forwards = lab.forwards({ to: '10.0.0.2' });
    forwards.apply(['tcp 22', 'udp 53']);
    lab.send('wan', packet(4000));
    const table = lab.router.engine.tracker.table(4);
    expect(forwards.forwardOf(table, table.entries.entryOfSlot(0))).toMatchObject({
      rule: '0.0.0.0:53 -> 10.0.0.2:53',
      index: 1,
      generation: 1,
    });
  });

  it('goes to the new target with the next packet after its rule has changed', () => {
    const lab = new Lab();
    const forwards = lab.forwards();
    const ended: string[] = [];
    lab.router.engine.connections.events.on('destroy', (_, reason) => ended.push(reason));
    forwards.apply(['udp 53:10.0.0.2/53']);
    expect(lab.send('wan', packet(4000))[0]).toContain('> 10.0.0.2:53');
    forwards.apply(['udp 53:10.0.0.9/53']);
    expect(ended).toEqual([]);
    expect(lab.flows()).toHaveLength(1);
    expect(lab.send('wan', packet(4000))[0]).toContain('> 10.0.0.9:53');
    expect(ended).toEqual(['rule-changed']);
    expect(lab.flows()).toHaveLength(1);
  });

  it('is untouched while other rules change, keeping generation and connection', () => {
    const lab = new Lab();
    const forwards = lab.forwards();
    forwards.apply(['udp 53:10.0.0.2/53', 'tcp 22:10.0.0.2/22']);
    lab.send('wan', packet(4000));
    const id = lab.router.engine.connections.list({}, lab.nowMs)[0]?.id;
    forwards.apply(['tcp 23:10.0.0.2/22', 'udp 53:10.0.0.2/53', 'udp 54:10.0.0.3/53']);
    lab.send('wan', packet(4000));
    expect(lab.router.engine.connections.list({}, lab.nowMs)[0]?.id).toBe(id);
    expect(forwards.list().find(({ rule }) => rule.startsWith('0.0.0.0:53'))?.generation).toBe(1);
  });

  it('stays when another rule leads it to the same place', () => {
    const lab = new Lab();
    const forwards = lab.forwards();
    forwards.apply(['udp 53:10.0.0.2/53']);
    lab.send('wan', packet(4000));
    const id = lab.router.engine.connections.list({}, lab.nowMs)[0]?.id;
    forwards.apply(['udp 50-59:10.0.0.2/50-59']);
    expect(lab.send('wan', packet(4000))[0]).toContain('> 10.0.0.2:53');
    expect(lab.router.engine.connections.list({}, lab.nowMs)[0]?.id).toBe(id);
  });

  it('ends when its rule is gone, and a late answer of the target is dropped', () => {
    const lab = new Lab();
    const forwards = lab.forwards();
    const handle = forwards.add('tcp', '8080:10.0.0.2/80');
    lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8080 ${SYN}`);
    handle.remove();
    expect(lab.send('lan', 'tcp 10.0.0.2:80 > 198.51.100.7:4000 SYN,ACK seq 9 ack 2')).toEqual([]);
    expect(lab.router.engine.drops.get(DropReason.RULE_CHANGED)).toBe(1);
    expect(lab.flows()).toEqual([]);
    expect(lab.send('wan', 'tcp 198.51.100.7:4000 > 203.0.113.1:8080 ACK seq 2 ack 10')[0]).toContain('RST');
  });

  it('begins anew where there was none: a talkative peer does not stay on the closed port', () => {
    const lab = new Lab();
    lab.router.ports.reserve({ version: 4, protocol: PortProtocol.UDP, port: 99, owner: 'sink' });
    const ask = 'udp 198.51.100.7:4000 > 203.0.113.1:99 len 1';
    expect(lab.send('wan', ask)).toEqual([]);
    expect(lab.flows()).toHaveLength(1);
    lab.forwards().add('udp', '203.0.113.1%wan/99:10.0.0.2/99');
    expect(lab.send('wan', ask)[0]).toContain('> 10.0.0.2:99');
  });

  it('made by the rules of the user is not judged', () => {
    const lab = new Lab('*nat\n-A PREROUTING -p udp --dport 53 -j DNAT --to 10.0.0.5\nCOMMIT\n');
    lab.send('wan', packet(4000));
    lab.forwards().add('udp', '50-60:10.0.0.2/50-60');
    expect(lab.send('wan', packet(4000))[0]).toContain('> 10.0.0.5:53');
    expect(lab.send('wan', packet(4001))[0]).toContain('> 10.0.0.2:53');
  });
});

describe('chains among the rules of the user', () => {
  const RULES = [
    '*nat',
    ':PREROUTING ACCEPT [0:0]',
    ':MINE - [0:0]',
    '[3:180] -A PREROUTING -p tcp --dport 9 -j MINE',
    '-A POSTROUTING -o wan -j MASQUERADE',
    'COMMIT',
    '',
  ].join('\n');

  it('leave them as they are, counters and order', () => {
    const lab = new Lab(RULES);
    lab.forwards().add('tcp', '8080:10.0.0.2/80');
    const saved = lab.save(4, 'with');
    expect(saved).toContain('[3:180] -A PREROUTING -p tcp -m tcp --dport 9 -j MINE');
    expect(saved.indexOf('-A PREROUTING -j CONNTIDE-FORWARDS')).toBeLessThan(
      saved.indexOf('--dport 9 -j MINE'),
    );
  });

  it('keep the counters of rules that stay', () => {
    const lab = new Lab(RULES);
    const forwards = lab.forwards();
    forwards.add('tcp', '8080:10.0.0.2/80');
    lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8080 ${SYN}`);
    forwards.add('tcp', '8081:10.0.0.2/81');
    expect(lab.save(4, 'with')).toMatch(/\[1:40\] -A CONNTIDE-FWD .*--dport 8080 /);
  });

  it('stay when the user restores rules, also rules that were saved with them', () => {
    const lab = new Lab(RULES);
    const forwards = lab.forwards();
    forwards.add('tcp', '8080:10.0.0.2/80');
    const saved = lab.save();
    forwards.add('tcp', '8081:10.0.0.2/81');
    lab.chains.restore(4, saved);
    expect(lab.save().match(/-A PREROUTING -j CONNTIDE-FORWARDS/g)).toHaveLength(1);
    expect(lab.save()).toContain('--dport 8081 ');
    lab.chains.restore(4, MASQUERADE);
    expect(lab.save()).toContain('-A PREROUTING -j CONNTIDE-FORWARDS');
    expect(lab.save()).not.toContain('MINE');
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8081 ${SYN}`)[0]).toContain('10.0.0.2:81');
  });

  it('are asked where the user says, if he says where', () => {
    const lab = new Lab();
    lab.chains.restore(
      4,
      [
        '*filter',
        ':CONNTIDE-FORWARDS - [0:0]',
        '-A FORWARD -s 198.51.100.66/32 -j DROP',
        '-A FORWARD -j CONNTIDE-FORWARDS',
        '-A FORWARD -j DROP',
        'COMMIT',
        '',
      ].join('\n'),
    );
    lab.forwards().add('tcp', '8080:10.0.0.2/80');
    expect(lab.save().match(/-A FORWARD -j CONNTIDE-FORWARDS/g)).toHaveLength(1);
    expect(lab.send('wan', `tcp 198.51.100.66:4000 > 203.0.113.1:8080 ${SYN}`)).toEqual([]);
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8080 ${SYN}`)).toHaveLength(1);
  });

  it('stay when what the user restores is refused', () => {
    const lab = new Lab(RULES);
    lab.forwards().add('tcp', '8080:10.0.0.2/80');
    const before = lab.save();
    expect(() => lab.chains.restore(4, '*nat\n-A PREROUTING -j NOWHERE\nCOMMIT\n')).toThrow(
      ConfigurationError,
    );
    expect(lab.save()).toBe(before);
  });
});

function caught(run: () => unknown): ForwardsError {
  try {
    run();
  } catch (error) {
    return error as ForwardsError;
  }
  throw new Error('nothing was thrown');
}
