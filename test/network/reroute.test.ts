import { describe, expect, test } from 'vitest';
import { Router } from '../../lib/network/router.js';
import { parsePacket } from '../../lib/scenario/notation.js';

/** Sends a packet of the router's own for the wide world; which rules counted, and where it left. */
function sent(rules: string) {
  const router = new Router({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24'] },
      { name: 'wan', addresses: ['203.0.113.1/24'] },
    ],
    routes: ['default dev wan'],
    maxConnections: 16,
    buckets: 16,
  });
  router.engine.restore(4, rules);
  const out: string[] = [];
  router.onTransmit = (index) => out.push(router.interfaces.name(index));
  router.sendLocal(parsePacket('udp 203.0.113.1:1 > 1.1.1.1:2'), 0);
  const counted = [...router.engine.rules4.counters()].filter(({ packets, number }) => {
    return packets > 0 && number !== 'policy';
  });
  return { out, counted: counted.map(({ table, chain, number }) => `${table}/${chain}/${number}`) };
}

describe('a packet of the router itself that DNAT in OUTPUT leads nowhere', () => {
  // The error numbers are those of sendto() on Linux with the same rules and routes.
  test.each([
    ['no route', '10.9.0.1', 101],
    ['a prohibited route', '10.7.0.1', 13],
    ['a black hole', '10.8.0.1', 22],
    ['an unreachable route', '10.6.0.1', 113],
  ])('by %s is dropped before filter and security see it, with an error', (_what, to, errno) => {
    const router = new Router({
      interfaces: [{ name: 'wan', addresses: ['203.0.113.1/24'] }],
      routes: ['prohibit 10.7.0.0/16', 'blackhole 10.8.0.0/16', 'unreachable 10.6.0.0/16'],
      maxConnections: 16,
      buckets: 16,
    });
    router.engine.restore(
      4,
      `*nat\n-A OUTPUT -j DNAT --to-destination ${to}\nCOMMIT\n*filter\n-A OUTPUT\nCOMMIT\n*security\n-A OUTPUT\nCOMMIT\n`,
    );
    expect(router.sendLocal(parsePacket('udp 203.0.113.1:1 > 203.0.113.9:2'), 0)).toBe(errno);
    const counted = [...router.engine.rules4.counters()].filter(({ packets }) => packets > 0);
    expect(counted.map(({ table }) => table)).toEqual(['nat']);
    expect(router.engine.drops.toObject()).toEqual({ 'no-route': 1 });
    expect(router.engine.connections.list()).toEqual([]);
  });
});

describe('a packet of the router itself whose way is found anew in OUTPUT', () => {
  test('is still to leave by the old interface for the rest of OUTPUT, as on Linux', () => {
    const rules =
      '*nat\n-A OUTPUT -d 1.1.1.1 -j DNAT --to-destination 10.0.0.9\nCOMMIT\n' +
      '*filter\n-A OUTPUT -o wan\n-A OUTPUT -o lan\nCOMMIT\n' +
      '*mangle\n-A POSTROUTING -o wan\n-A POSTROUTING -o lan\nCOMMIT\n';
    const { out, counted } = sent(rules);
    expect(out).toEqual(['lan']);
    expect(counted.filter((rule) => !rule.startsWith('nat'))).toEqual([
      'filter/OUTPUT/1',
      'mangle/POSTROUTING/2',
    ]);
  });
});
