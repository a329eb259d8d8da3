import { describe, expect, test } from 'vitest';
import { type Protocol, Traffic } from '../../bench/engine/traffic.js';
import { CtInfo } from '../../lib/wire/packet.js';
import { Verdict } from '../../lib/wire/verdict.js';

const FLOWS = 8;
const HOUR_MS = 3_600_000;

function destination(traffic: Traffic): number {
  return traffic.packet.addresses[4]!;
}

describe('saved connections', () => {
  test.each<Protocol>(['udp', 'tcp', 'icmp'])(
    'of %s go on in another engine, translated as before',
    async (protocol) => {
      const before = new Traffic(protocol, FLOWS);
      before.establish();
      const saved = await before.engine.saveConnections(4_000);

      const after = new Traffic(protocol, FLOWS);
      expect(after.sendReply(0, HOUR_MS)).toBe(Verdict.DROP); // it knows nothing of the flow
      expect(await after.engine.restoreConnections(saved, HOUR_MS)).toEqual({ restored: FLOWS, clashed: 0 });
      for (let flow = 0; flow < FLOWS; flow++) {
        expect(before.sendReply(flow, 4_000)).toBe(Verdict.ACCEPT);
        expect(after.sendReply(flow, HOUR_MS)).toBe(Verdict.ACCEPT);
        expect(after.packet.ctinfo).toBe(CtInfo.ESTABLISHED_REPLY);
        expect(destination(after)).toBe(destination(before));
        expect(after.sendOriginal(flow, HOUR_MS)).toBe(Verdict.ACCEPT);
        expect(after.packet.ctinfo).toBe(CtInfo.ESTABLISHED);
      }
      const list = (traffic: Traffic, nowMs: number) =>
        traffic.engine.connections
          .list({}, nowMs)
          .map(({ original, reply, state, status }) => ({ original, reply, state, status }));
      expect(list(after, HOUR_MS)).toEqual(list(before, 4_000));
    },
  );

  test('can be destroyed and made again: no index was left with a stale link', async () => {
    const before = new Traffic('udp', FLOWS);
    before.establish();
    const after = new Traffic('udp', FLOWS);
    await after.engine.restoreConnections(await before.engine.saveConnections(4_000), 0);
    expect(after.engine.connections.flush()).toBe(FLOWS);
    after.establish();
    expect(after.engine.connections.size).toBe(FLOWS);
  });
});
