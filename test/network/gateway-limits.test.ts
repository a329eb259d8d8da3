import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../lib/clock.js';
import { createGateway } from '../../lib/network/gateway.js';
import { SeededRandom } from '../../lib/random.js';
import { parsePacket } from '../../lib/scenario/notation.js';

/** A gateway of which only the number of ICMP errors that it sends to its `lan` counts. */
function makeGateway(sysctls: Record<string, number> = {}) {
  const clock = new ManualClock(5000);
  const gateway = createGateway({
    interfaces: [{ name: 'lan', addresses: ['10.0.0.1/16', 'fd00:a::1/64'] }],
    clock,
    random: new SeededRandom(3),
    maxConnections: 64,
    sysctls,
  });
  let sent = 0;
  gateway.interface('lan').onTransmit = () => {
    sent++;
  };
  /** Sends the packet `times` at once; returns how many answers there were. */
  const answersTo = (packet: string, times: number): number => {
    sent = 0;
    for (let n = 0; n < times; n++) gateway.interface('lan').receive(parsePacket(packet));
    return sent;
  };
  const pass = (ms: number) => {
    clock.advance(ms);
    gateway.advance();
  };
  return { answersTo, pass };
}

const CLOSED4 = 'udp 10.0.0.2:5000 > 10.0.0.1:9 len 4';
const CLOSED6 = 'udp [fd00:a::2]:5000 > [fd00:a::1]:9 len 4';

describe('ICMP errors', () => {
  it('come six at once for one peer, then one a second', () => {
    const { answersTo, pass } = makeGateway();
    expect(answersTo(CLOSED4, 50)).toBe(6);
    pass(999);
    expect(answersTo(CLOSED4, 50)).toBe(0);
    pass(1);
    expect(answersTo(CLOSED4, 50)).toBe(1);
    pass(3000);
    expect(answersTo(CLOSED4, 50)).toBe(3);
  });

  it('do not cost other peers theirs', () => {
    const { answersTo } = makeGateway();
    answersTo(CLOSED4, 50);
    expect(answersTo('udp 10.0.0.3:5000 > 10.0.0.1:9 len 4', 50)).toBe(6);
  });

  it('to a /64 come four times as often, as on Linux', () => {
    const { answersTo, pass } = makeGateway();
    expect(answersTo(CLOSED6, 50)).toBe(6);
    pass(250);
    expect(answersTo(CLOSED6, 50)).toBe(1);
    pass(1000);
    expect(answersTo(CLOSED6, 50)).toBe(4);
  });

  it('of all peers together are bounded too', () => {
    const { answersTo, pass } = makeGateway();
    const flood = (): number => {
      let answers = 0;
      for (let host = 2; host < 1002; host++) {
        answers += answersTo(`udp 10.0.${host >> 8}.${host & 255}:5000 > 10.0.0.1:9 len 4`, 1);
      }
      return answers;
    };
    const first = flood();
    expect(first).toBeGreaterThan(25);
    expect(first).toBeLessThan(100);
    pass(1000);
    expect(flood()).toBeLessThan(100);
  });

  it('are not limited for echo replies, nor at all when the limit is switched off', () => {
    const { answersTo } = makeGateway();
    expect(answersTo('icmp 10.0.0.2 > 10.0.0.1 echo-request id 7 seq 1', 100)).toBe(100);
    const free = makeGateway({ 'net.ipv4.icmp_ratelimit': 0 });
    expect(free.answersTo(CLOSED4, 100)).toBe(100);
  });
});
