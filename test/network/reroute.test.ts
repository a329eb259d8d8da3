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
