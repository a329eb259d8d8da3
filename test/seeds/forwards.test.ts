/**
 * Rows P4 to P7: passt's forwarding table, by `gateway.forward` and `gateway.forwards`. The grammar alone, rule by rule, is
 * in `test/network/forwards/spec.test.ts`.
 */
import { describe, expect, it } from 'vitest';
import { ForwardsError, type ForwardsOptions } from '../../lib/index.js';
import { Lab, MASQUERADE } from './lab.js';

/** A gateway with the interfaces of the specs, whose forwards lead to one host unless they say where. */
function gateway(options: ForwardsOptions = {}): Lab {
  return new Lab(MASQUERADE, {
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/16', 'fd00:a::1/64'] },
      { name: 'wan', addresses: ['203.0.113.1/24', '192.0.2.1/24', '2001:db8:1::1/64'] },
      { name: 'eth0', addresses: ['192.0.3.1/24'] },
      { name: 'eth1', addresses: ['192.0.4.1/24'] },
    ],
    forwarding: { to: '10.0.0.2', scan: () => [22, 8004, 8005, 50_000], ...options },
  });
}

/** What a set of forwards is refused with. */
function refusal(lab: Lab, ...forwards: string[]): ForwardsError {
  try {
    lab.gateway.forwards.apply(forwards);
  } catch (error) {
    return error as ForwardsError;
  }
  throw new Error(`${forwards} is not refused`);
}

const SYN = 'SYN seq 1';
const open = (lab: Lab, port: number, from = '198.51.100.7:4000') =>
  lab.send('wan', `tcp ${from} > 203.0.113.1:${port} ${SYN}`);

describe('P4: the forwarding table', () => {
  it('has rules of listen address, interface, ports, target and its first port, for a protocol', () => {
    const lab = gateway();
    lab.gateway.forwards.apply(['tcp 203.0.113.1%wan/8080-8090:10.0.0.9/80-90', 'udp %eth0/53:5353']);
    expect(lab.gateway.forwards.list().map(({ protocol, rule }) => `${protocol} ${rule}`)).toEqual([
      'tcp 203.0.113.1%wan:8080-8090 -> 10.0.0.9:80-90',
      'udp 0.0.0.0%eth0:53 -> 10.0.0.2:5353',
    ]);
    expect(open(lab, 8085)).toEqual([expect.stringContaining('> 10.0.0.9:85 SYN')]);
    expect(lab.send('wan', 'udp 198.51.100.7:4000 > 203.0.113.1:53 len 1').join()).toContain(
      'port-unreachable',
    );
  });

  it.each([
    ['tcp 1.2.3.4/22', 'tcp 22', '1.2.3.4:22 -> 22', '*:22 -> 22'],
    ['tcp 10-20', 'tcp 20-30:40-50', '*:10-20 -> 10-20', '*:20-30 -> 40-50'],
    ['tcp %eth0/22', 'tcp 22', '*%eth0:22 -> 22', '*:22 -> 22'],
  ])('refuses %s beside %s: EEXIST, naming both', (one, other, ...rules) => {
    const error = refusal(gateway(), one, other);
    expect(error).toBeInstanceOf(ForwardsError);
    expect(error.errno).toBe('EEXIST');
    for (const rule of rules) expect(error.message).toContain(`'${rule}'`);
  });
});

describe('P5: specs in the grammar of passt', () => {
  it.each([
    ['22', 1],
    ['22:23', 1],
    ['22,25', 2],
    ['22-80:32-90', 59],
    ['192.0.2.1/22', 1],
    ['192.0.2.1%eth0/22', 1],
    ['%eth0/22', 1],
    ['0.0.0.0/5000:192.0.2.5/6000', 1],
    ['127.0.0.6/all:192.0.2.6', 37_303],
    ['2000-5000,~3000-3010', 2990],
    ['192.0.2.1/20-30,~25', 10],
    ['~6000', 37_302],
    ['all', 37_303],
    ['all,~9999', 37_302],
    ['all,33000', 37_304],
    ['*/22', 1],
    ['/22', 1],
    ['none', 0],
  ])('%s is %i ports', (spec, count) => {
    const lab = gateway();
    lab.gateway.forwards.apply([`tcp ${spec}`]);
    const ports = lab.gateway.forwards.list().flatMap((one) => one.ports);
    expect(ports.reduce((sum, { first, last }) => sum + last - first + 1, 0)).toBe(count);
    lab.gateway.close();
  });

  it.each([
    ['auto', [22, 8004, 8005]],
    ['8000-8010,auto', [8004, 8005]],
    ['8000-8010,auto,~8005', [8004]],
  ])('%s forwards those that are open at the target', (spec, expected) => {
    const lab = gateway();
    lab.gateway.forward('tcp', spec);
    const ports = lab.gateway.forwards.list().flatMap((one) => one.ports);
    expect(ports.flatMap(({ first, last }) => [...new Set([first, last])])).toEqual(expected);
  });

  it('[::1]/8000-8010,auto looks among eleven ports of IPv6', () => {
    const asked: unknown[] = [];
    const scan: ForwardsOptions['scan'] = (target) => {
      asked.push(target);
      return [7999, 8000, 8010, 8011];
    };
    const lab = gateway({ to: 'fd00:a::2', scan });
    lab.gateway.forward('tcp', '[::1]/8000-8010,auto');
    expect(asked).toEqual([{ protocol: 'tcp', version: 6, address: 'fd00:a::2' }]);
    expect(lab.gateway.forwards.list().flatMap(({ ports }) => ports.map(({ first }) => first))).toEqual([
      8000, 8010,
    ]);
  });

  it('::/53 and 0.0.0.0/53 are both, and so are %eth0/22 and %eth1/22', () => {
    const lab = gateway({ to: ['10.0.0.2', 'fd00:a::2'] });
    lab.gateway.forwards.apply(['udp ::/53', 'udp 0.0.0.0/53', 'tcp %eth0/22', 'tcp %eth1/22']);
    expect(new Set(lab.gateway.forwards.list().map(({ request }) => request.spec)).size).toBe(4);
  });

  it.each(
    [
      ...[
        '22-80:32-91',
        '5000:192.0.2.5',
        '22,22',
        '22,~22',
        '22:2001:db8::1/80',
        ' 22',
        '+22',
        '0',
        '22:0',
        '65536',
      ],
      ...[
        '80-70',
        '22:',
        '22,',
        '',
        '65530-65535:65535-65540',
        '0.0.0.0/22:[2001:db8::1]/80',
        '0.0.0.0/1:224.0.0.1/1',
      ],
      '*/22:10.0.0.2/80',
    ].map((spec) => [spec]),
  )("'%s' is refused, and nothing has changed", (spec) => {
    const lab = gateway();
    lab.gateway.forward('tcp', '23');
    const before = lab.gateway.rules.save(4);
    expect(() => lab.gateway.forward('tcp', spec)).toThrow();
    expect(lab.gateway.forwards.list()).toHaveLength(1);
    expect(lab.gateway.rules.save(4)).toBe(before);
  });

  it('the error of a target without a family of its own names the form to use', () => {
    expect(refusal(gateway(), 'tcp 5000:192.0.2.5').message).toContain('0.0.0.0/');
    expect(refusal(gateway(), 'tcp 22:2001:db8::1/80').message).toContain('brackets');
  });
});

describe('P6: a new set of forwards', () => {
  it('is all or nothing: the old one stays, untouched, and the error lists each port that failed', () => {
    const lab = gateway();
    lab.gateway.forwards.apply(['tcp 22']);
    for (const port of [81, 83]) lab.gateway.reserve('tcp', undefined, port);
    const before = [lab.gateway.rules.save(4), lab.gateway.forwards.list()];
    const error = refusal(lab, 'tcp 80-84', 'tcp 443');
    expect(error.errno).toBe('EADDRINUSE');
    expect(error.failures.map(({ port }) => port)).toEqual([81, 83]);
    expect([lab.gateway.rules.save(4), lab.gateway.forwards.list()]).toEqual(before);
    expect(open(lab, 22)).toEqual([expect.stringContaining('> 10.0.0.2:22 SYN')]);
    // Ports of the refused set were given back.
    for (const port of [80, 82, 84, 443]) lab.gateway.reserve('tcp', undefined, port);
  });

  it.each([
    ['per-rule', 'refused'],
    ['any', 'taken'],
  ] as const)('~6000 with one of its blocks taken is, by %s, %s', (usable, fate) => {
    const lab = gateway({ usable, ephemeral: { first: 6010, last: 65_530 } });
    for (let port = 65_531; port <= 65_535; port++) lab.gateway.reserve('tcp', undefined, port);
    if (fate === 'refused') {
      expect(refusal(lab, 'tcp ~6000').failures.map(({ port }) => port)).toEqual([
        65_531, 65_532, 65_533, 65_534, 65_535,
      ]);
      expect(lab.gateway.forwards.list()).toEqual([]);
    } else {
      lab.gateway.forwards.apply(['tcp ~6000']);
      expect(lab.gateway.forwards.list().map(({ ports }) => ports)).toEqual([
        [{ first: 1, last: 5999 }],
        [{ first: 6001, last: 6009 }],
        [],
      ]);
    }
  });
});

describe('P7: a flow remembers the rule that made it', () => {
  const ask = (lab: Lab, port: number) =>
    lab
      .send('wan', `udp 198.51.100.7:4000 > 203.0.113.1:${port} len 1`)
      .join()
      .replace(/.*> (\S+) .*/, '$1');

  it('by index and generation; a change is seen at its next packet, and flows of other rules stay as they are', () => {
    const lab = gateway();
    const ended: string[] = [];
    lab.gateway.engine.connections.events.on('destroy', ({ original }, why) =>
      ended.push(`${original.destinationPort} ${why}`),
    );
    lab.gateway.forwards.apply(['udp 53:10.0.0.2/53', 'udp 54:10.0.0.3/54']);
    expect([ask(lab, 53), ask(lab, 54)]).toEqual(['10.0.0.2:53', '10.0.0.3:54']);
    const [first, second] = lab.list();
    const places = () => lab.gateway.forwards.list().map((one) => [one.rule, one.index, one.generation]);
    expect(places()).toEqual([
      ['0.0.0.0:53 -> 10.0.0.2:53', 0, 1],
      ['0.0.0.0:54 -> 10.0.0.3:54', 1, 1],
    ]);
    lab.gateway.forwards.apply(['udp 53:10.0.0.9/53', 'udp 54:10.0.0.3/54']);
    expect(ended, 'nothing has happened yet').toEqual([]);
    expect(lab.list().map(({ id }) => id)).toEqual([first!.id, second!.id]);
    expect(places()).toContainEqual(['0.0.0.0:54 -> 10.0.0.3:54', 1, 1]);
    expect([ask(lab, 54), ask(lab, 53)]).toEqual(['10.0.0.3:54', '10.0.0.9:53']);
    expect(ended).toEqual(['53 rule-changed']);
    expect(lab.list().find(({ original }) => original.destinationPort === 54)!.id).toBe(second!.id);
  });

  it('an answer of the old target to a flow whose rule is gone goes nowhere', () => {
    const lab = gateway();
    const handle = lab.gateway.forward('udp', '53:10.0.0.2/53');
    ask(lab, 53);
    handle.remove();
    expect(lab.send('lan', 'udp 10.0.0.2:53 > 198.51.100.7:4000 len 1')).toEqual([]);
    expect(lab.gateway.drops.toObject()).toEqual({ 'rule-changed': 1 });
    expect(lab.list()).toEqual([]);
  });
});
