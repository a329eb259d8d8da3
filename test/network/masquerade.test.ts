import { describe, expect, it } from 'vitest';
import { Router } from '../../lib/network/router.js';
import { parsePacket } from '../../lib/scenario/notation.js';

describe('a masqueraded connection', () => {
  function makeRouter(): Router {
    const router = new Router({
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'] },
        { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'] },
      ],
      routes: ['default dev wan', '-6 default dev wan'],
    });
    const rules = '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n';
    router.engine.restore(4, rules);
    router.engine.restore(6, rules);
    router.receive(1, parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:53'), 0);
    router.receive(1, parsePacket('udp [fd00:a::2]:5000 > [2001:db8:2::1]:53'), 0);
    return router;
  }

  it('ends when the address that it was given is taken from its interface, and no other does', () => {
    const router = makeRouter();
    const ended: [string, string][] = [];
    router.engine.connections.events.on('destroy', ({ original }, reason) => {
      ended.push([original.source, reason]);
    });
    router.removeAddress(2, '203.0.113.1/24');
    expect(ended).toEqual([['10.0.0.2', 'address-gone']]);
    expect(router.engine.connections.list().map(({ family }) => family)).toEqual([6]);
    router.removeAddress(2, '2001:db8:1::1/64');
    expect(router.engine.connections.size).toBe(0);
  });

  it('stays when an address is refused to be taken away', () => {
    const router = makeRouter();
    expect(() => router.removeAddress(2, '203.0.113.9/24')).toThrow(/no such address/);
    expect(router.engine.connections.size).toBe(2);
  });
});
