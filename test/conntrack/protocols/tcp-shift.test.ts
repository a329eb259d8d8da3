import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Ends, Talk } from './talk.js';

const ENDS: Ends = { protocol: 'tcp', opener: '10.0.0.2:40000', peer: '198.51.100.7:80' };

/** A segment relative to what its sender would send next. */
interface Segment {
  readonly arrow: '<' | '>';
  readonly flags: string;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly window: number;
  readonly lengthBytes: number;
}

const NEAR = [0, 0, 0, 0, -1, 1, -100, 100, 5000, -5000, 66_000, -66_001, 1 << 20];

const segment: fc.Arbitrary<Segment> = fc.record({
  arrow: fc.constantFrom('<', '>'),
  flags: fc.constantFrom('ACK', 'ACK', 'ACK', 'ACK,PSH', 'FIN,ACK', 'RST', 'RST,ACK'),
  sequence: fc.constantFrom(...NEAR),
  acknowledgement: fc.constantFrom(...NEAR),
  window: fc.constantFrom(0, 100, 8000, 65_535),
  lengthBytes: fc.constantFrom(0, 0, 1, 100),
});

/** What the tracker said of the segments when the two sides count from the given numbers. */
function hear(segments: readonly Segment[], fromOpener: number, fromPeer: number): string[] {
  const talk = new Talk(ENDS);
  const next = { '>': (fromOpener + 1) >>> 0, '<': (fromPeer + 1) >>> 0 };
  talk.packet('>', `SYN seq ${fromOpener}`);
  talk.packet('<', `SYN,ACK seq ${fromPeer} ack ${next['>']}`);
  talk.packet('>', `ACK seq ${next['>']} ack ${next['<']}`);
  return segments.map(({ arrow, flags, sequence, acknowledgement, window, lengthBytes }) => {
    const other = arrow === '>' ? '<' : '>';
    const seq = (next[arrow] + sequence) >>> 0;
    const ack = flags === 'RST' ? 0 : (next[other] + acknowledgement) >>> 0;
    next[arrow] = (next[arrow] + lengthBytes + (flags === 'FIN,ACK' ? 1 : 0)) >>> 0;
    const rest = `${flags} seq ${seq} ack ${ack} win ${window} len ${lengthBytes}`;
    return talk.packet(arrow, rest);
  });
}

it('behind the handshake TCP judges by differences: no sequence number is special', () => {
  const start = fc.integer({ min: 0, max: 0xffffffff });
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 40 }), start, start, (segments, a, b) => {
      // Zero is special in a RST; how far a conversation gets from its start leaves that out.
      fc.pre(![a, b].some((from) => from < 2 ** 21 || from > 2 ** 32 - 2 ** 21));
      expect(hear(segments, a, b)).toEqual(hear(segments, 1_000_000_000, 2_000_000_000));
    }),
    { numRuns: 300 },
  );
});

it('TCP never throws, whatever the bytes', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 10 }), (payloads) => {
      const talk = new Talk(ENDS, { checksum: 0 });
      for (const payload of payloads) {
        const bytes = new Uint8Array(20 + payload.length);
        bytes.set([0x45, 0, 0, bytes.length, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 2, 198, 51, 100, 7]);
        bytes.set(payload, 20);
        let sum = 0;
        for (let i = 0; i < 20; i += 2) sum += ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
        sum = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
        bytes[10] = sum >>> 8;
        bytes[11] = sum & 255;
        expect(talk.bytes(bytes)).toMatch(/^(NEW|ESTABLISHED|INVALID) /);
      }
    }),
  );
});
