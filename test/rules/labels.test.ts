import { describe, expect, it } from 'vitest';
import { Router } from '../../lib/network/router.js';
import { parsePacket } from '../../lib/scenario/notation.js';

const RULES = `*filter
:MARKED - [0:0]
-A FORWARD -p udp -m udp --dport 53 -m connlabel --label "5" --set -j ACCEPT
-A FORWARD -m connlabel --label "5" -j MARKED
-A FORWARD -m connlabel ! --label "5" -j ACCEPT
-A MARKED -m connlabel --label "127" --set
COMMIT
`;

function makeRouter(): Router {
  const router = new Router({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24'] },
      { name: 'wan', addresses: ['203.0.113.1/24'] },
    ],
    routes: ['default dev wan'],
  });
  router.engine.restore(4, RULES);
  return router;
}

describe('connlabel', () => {
  it('prints labels by number, in quotes, and takes numbers only', () => {
    const router = makeRouter();
    expect(router.engine.save(4)).toContain('-m connlabel --label "5" --set -j ACCEPT');
    const rules = (label: string) => `*filter\n-A INPUT -m connlabel --label ${label}\nCOMMIT\n`;
    expect(() => router.engine.restore(4, rules('128'))).toThrow(/128/);
    expect(() => router.engine.restore(4, rules('web'))).toThrow(/web/);
    expect(() => router.engine.restore(4, '*filter\n-A INPUT -m connlabel --set\nCOMMIT\n')).toThrow(/label/);
  });

  it('puts a label on the connection of a packet that met --set, and knows it again both ways', () => {
    const router = makeRouter();
    const updates: (readonly number[] | undefined)[] = [];
    router.engine.connections.events.on('update', ({ labels }) => updates.push(labels));
    router.receive(1, parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:53'), 0);
    router.receive(1, parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:54'), 0);
    expect(router.engine.connections.list().map(({ labels }) => labels)).toEqual([[5], undefined]);
    router.receive(2, parsePacket('udp 1.1.1.1:53 > 10.0.0.2:5000'), 1);
    expect(router.engine.connections.list()[0]?.labels).toEqual([5, 127]);
    expect(updates).toContainEqual([5, 127]);
    expect(router.engine.save(4, 'with')).toContain('[1:28] -A FORWARD -m connlabel ! --label "5" -j ACCEPT');
  });

  it('is gone with the connection', () => {
    const router = makeRouter();
    router.receive(1, parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:53'), 0);
    router.engine.connections.flush();
    router.receive(1, parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:54'), 1);
    expect(router.engine.connections.list()[0]?.labels).toBeUndefined();
  });
});
