import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteRing } from '../../../lib/network/local/byte-ring.js';
import { Reassembly } from '../../../lib/network/local/reassembly.js';
import { TcpEndpoint } from '../../../lib/network/local/tcp-endpoint.js';
import type { TcpEndpointOptions } from '../../../lib/network/local/tcp-options.js';
import type { TcpSegment } from '../../../lib/network/local/tcp-segment.js';
import { SeededRandom } from '../../../lib/random.js';
import { TcpFlag } from '../../../lib/wire/tcp.js';

const { FIN, SYN, RST, ACK } = TcpFlag;
const NO_BYTES = new Uint8Array(0);

/** What happens to the n-th segment of a direction: lost, or delivered after so many ms, so often. */
interface Fate {
  readonly isLost: boolean;
  readonly delayMs: number;
  readonly copies: number;
}

const DIRECT: Fate = { isLost: false, delayMs: 1, copies: 1 };

/** Two endpoints and the time between them. */
class Wire {
  nowMs = 0;
  readonly a: TcpEndpoint;
  readonly b: TcpEndpoint;
  readonly log: string[] = [];
  readonly #fate: (name: string, n: number) => Fate;
  readonly #flying: { atMs: number; n: number; to: 'a' | 'b'; segment: TcpSegment }[] = [];
  #sent = 0;

  constructor(
    fate: (name: string, n: number) => Fate = () => DIRECT,
    optionsA: Partial<TcpEndpointOptions> = {},
    optionsB: Partial<TcpEndpointOptions> = {},
    seed = 1,
  ) {
    this.#fate = fate;
    const random = new SeededRandom(seed);
    const common = { mss: 1460, random };
    this.a = new TcpEndpoint({ ...common, ...optionsA, transmit: (segment) => this.#post('a', segment) });
    this.b = new TcpEndpoint({ ...common, ...optionsB, transmit: (segment) => this.#post('b', segment) });
  }

  #post(from: 'a' | 'b', segment: TcpSegment): void {
    const n = this.#sent++;
    const names = Object.entries({ SYN, FIN, RST, ACK }).filter(([, bit]) => (segment.flags & bit) !== 0);
    this.log.push(`${from} ${names.map(([name]) => name).join('+')} ${segment.payload.length}`);
    const { isLost, delayMs, copies } = this.#fate(from, n);
    if (isLost) return;
    const copy = { ...segment, payload: segment.payload.slice() };
    for (let i = 0; i < copies; i++) {
      this.#flying.push({ atMs: this.nowMs + delayMs + i, n, to: from === 'a' ? 'b' : 'a', segment: copy });
    }
  }

  /** Moves to the next thing that is due; false if nothing ever is. */
  step(): boolean {
    this.#flying.sort((x, y) => x.atMs - y.atMs || x.n - y.n);
    const flight = this.#flying[0];
    const dueMs = Math.min(flight?.atMs ?? Infinity, this.a.nextMs(), this.b.nextMs());
    if (dueMs === Infinity) return false;
    this.nowMs = Math.max(this.nowMs, dueMs);
    if (flight !== undefined && flight.atMs <= dueMs) {
      this.#flying.shift();
      const end = this[flight.to];
      const isFirst = end.state === 'CLOSED' && end.error === undefined && (flight.segment.flags & SYN) !== 0;
      if (isFirst && flight.to === 'b') end.accept(flight.segment, this.nowMs);
      else end.receive(flight.segment, this.nowMs);
    }
    for (const end of [this.a, this.b]) if (end.nextMs() <= this.nowMs) end.advance(this.nowMs);
    return true;
  }

  /** Runs until `isDone`, or nothing happens any more, or `most` steps. */
  run(isDone: () => boolean = () => false, most = 200_000): void {
    for (let i = 0; i < most && !isDone(); i++) if (!this.step()) return;
  }

  open(): void {
    this.a.connect(this.nowMs);
    this.run(() => this.a.state === 'ESTABLISHED' && this.b.state === 'ESTABLISHED');
    this.log.length = 0;
  }

  /** Waits `ms` whatever happens meanwhile. */
  wait(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const next = Math.min(this.a.nextMs(), this.b.nextMs(), ...this.#flying.map(({ atMs }) => atMs));
      if (next > untilMs) break;
      this.step();
    }
    this.nowMs = untilMs;
  }
}

/** All that can be read now. */
function drain(end: TcpEndpoint): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let part = end.read(); part !== undefined; part = end.read()) parts.push(part);
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function pattern(length: number, salt = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >>> 8) + salt) & 255);
}

/** Sends `out` from `from` to `to` while both do what they can; returns what arrived. */
function transfer(wire: Wire, from: TcpEndpoint, to: TcpEndpoint, out: Uint8Array, ends = true): Uint8Array {
  let at = 0;
  const arrived: Uint8Array[] = [];
  let total = 0;
  const turn = (): boolean => {
    at += from.write(out.subarray(at), wire.nowMs);
    if (at === out.length && ends) from.end(wire.nowMs);
    for (let part = to.read(); part !== undefined; part = to.read()) {
      arrived.push(part);
      total += part.length;
    }
    return (
      (total >= out.length && (!ends || to.isAtEnd)) || from.error !== undefined || to.error !== undefined
    );
  };
  wire.run(turn);
  const all = new Uint8Array(total);
  let offset = 0;
  for (const part of arrived) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}

describe('two TCP endpoints', () => {
  it('open with a three-way handshake and close with four segments', () => {
    const wire = new Wire();
    wire.a.connect(0);
    wire.run(() => wire.b.state === 'ESTABLISHED');
    expect(wire.log).toEqual(['a SYN 0', 'b SYN+ACK 0', 'a ACK 0']);
    wire.log.length = 0;
    wire.a.end(wire.nowMs);
    wire.run(() => wire.b.isAtEnd);
    expect([wire.a.state, wire.b.state]).toEqual(['FIN_WAIT_1', 'CLOSE_WAIT']);
    wire.b.end(wire.nowMs);
    wire.run(() => wire.b.state === 'CLOSED');
    expect(wire.log).toEqual(['a FIN+ACK 0', 'b ACK 0', 'b FIN+ACK 0', 'a ACK 0']);
    expect(wire.a.state).toBe('TIME_WAIT');
    const closedMs = wire.nowMs;
    wire.run();
    expect(wire.a.state).toBe('CLOSED');
    expect(wire.nowMs - closedMs).toBeGreaterThanOrEqual(59_990);
    expect([wire.a.error, wire.b.error]).toEqual([undefined, undefined]);
  });

  it('open when both begin, and end through CLOSING when both close', () => {
    const wire = new Wire();
    wire.a.connect(0);
    wire.b.connect(0);
    wire.run(() => wire.a.state === 'ESTABLISHED' && wire.b.state === 'ESTABLISHED');
    wire.a.end(wire.nowMs);
    wire.b.end(wire.nowMs);
    const seen = new Set<string>();
    wire.run(() => {
      seen.add(wire.a.state);
      return wire.a.state === 'TIME_WAIT' && wire.b.state === 'TIME_WAIT';
    });
    expect(seen).toContain('CLOSING');
  });

  it('carry a megabyte each way over a good wire, without a segment sent twice', () => {
    const wire = new Wire();
    wire.open();
    const out = pattern(1 << 20);
    expect(transfer(wire, wire.a, wire.b, out)).toEqual(out);
    const sent = wire.log
      .filter((line) => line.startsWith('a'))
      .reduce((sum, line) => sum + Number(line.split(' ')[2]), 0);
    expect(sent).toBe(1 << 20);
    expect(transfer(wire, wire.b, wire.a, out)).toEqual(out);
    expect(wire.a.state).toBe('TIME_WAIT');
  });

  it('acknowledge every second segment, and a single one after 40 ms', () => {
    const wire = new Wire();
    wire.open();
    wire.a.write(pattern(1460 * 4), wire.nowMs);
    wire.wait(10);
    expect(wire.log.filter((line) => line === 'b ACK 0')).toHaveLength(2);
    wire.log.length = 0;
    wire.a.write(pattern(10), wire.nowMs);
    wire.wait(39);
    expect(wire.log).toEqual(['a ACK 10']);
    wire.wait(10);
    expect(wire.log).toEqual(['a ACK 10', 'b ACK 0']);
  });

  it('stop at a closed window, probe it, and go on when it opens', () => {
    const wire = new Wire(undefined, {}, { receiveBufferBytes: 8192 });
    wire.open();
    const out = pattern(20_000);
    expect(wire.a.write(out, wire.nowMs)).toBe(20_000);
    wire.wait(5000);
    wire.log.length = 0;
    wire.wait(120_000);
    const probes = wire.log.filter((line) => line.startsWith('a'));
    expect(probes.length).toBeGreaterThan(1);
    expect(probes.length).toBeLessThan(12);
    expect(new Set(probes)).toEqual(new Set(['a ACK 1']));
    expect(wire.a.error, 'a peer that answers is not given up').toBe(undefined);
    wire.wait(3_600_000);
    expect(wire.a.error).toBe(undefined);
    expect(transfer(wire, wire.a, wire.b, NO_BYTES)).toEqual(out);
  });

  it('find an opened window even if the news of it was lost', () => {
    let isDeaf = false;
    const wire = new Wire(
      (name) => (name === 'b' && isDeaf ? { ...DIRECT, isLost: true } : DIRECT),
      {},
      { receiveBufferBytes: 4096 },
    );
    wire.open();
    wire.a.write(pattern(10_000), wire.nowMs);
    wire.wait(1000);
    isDeaf = true;
    const first = drain(wire.b);
    wire.wait(10);
    isDeaf = false;
    const rest = transfer(wire, wire.a, wire.b, NO_BYTES);
    expect(Uint8Array.from([...first, ...rest])).toEqual(pattern(10_000));
  });

  it('use windows beyond 64 KiB only if both scale', () => {
    const wire = new Wire(
      () => ({ ...DIRECT, delayMs: 50 }),
      { sendBufferBytes: 1 << 20 },
      { receiveBufferBytes: 1 << 20 },
    );
    wire.open();
    transfer(wire, wire.a, wire.b, pattern(1 << 20), false);
    wire.log.length = 0;
    wire.a.write(pattern(1 << 20), wire.nowMs);
    const burst = wire.log.reduce((sum, line) => sum + Number(line.split(' ')[2]), 0);
    expect(burst).toBeGreaterThan(65_535);
  });

  it('repeat a lost SYN after 1, 2, 4 s and give up', () => {
    const wire = new Wire(() => ({ ...DIRECT, isLost: true }));
    const sentMs: number[] = [];
    wire.a.connect(0);
    let seen = wire.log.length;
    wire.run(() => {
      if (wire.log.length > seen) sentMs.push(wire.nowMs);
      seen = wire.log.length;
      return false;
    });
    expect(sentMs).toEqual([1000, 3000, 7000, 15_000, 31_000]);
    expect(wire.a).toMatchObject({ state: 'CLOSED', error: 'ETIMEDOUT' });
  });

  it('make up for one lost segment by three duplicates, long before the timeout', () => {
    let data = 0;
    const wire = new Wire((name) => ({ ...DIRECT, delayMs: 20, isLost: name === 'a' && ++data === 5 }));
    wire.open();
    const beganMs = wire.nowMs;
    expect(transfer(wire, wire.a, wire.b, pattern(14_600), false)).toEqual(pattern(14_600));
    expect(wire.nowMs - beganMs).toBeLessThan(100);
  });

  it('give up after ten retransmissions without an answer', () => {
    let isCut = false;
    const wire = new Wire(() => ({ ...DIRECT, isLost: isCut }));
    wire.open();
    isCut = true;
    wire.a.write(pattern(10), wire.nowMs);
    wire.run(() => wire.a.state === 'CLOSED');
    expect(wire.a.error).toBe('ETIMEDOUT');
    expect(wire.log.filter((line) => line.startsWith('a'))).toHaveLength(11);
  });

  it('tell the other side of an abort by a reset', () => {
    const wire = new Wire();
    wire.open();
    wire.a.abort();
    wire.run();
    expect([wire.a.error, wire.b.error]).toEqual(['ECONNABORTED', 'ECONNRESET']);
    expect(wire.log).toEqual(['a RST+ACK 0']);
  });

  it('end for a peer that reads no more, and forget it', () => {
    const wire = new Wire();
    wire.open();
    wire.b.write(pattern(5000), wire.nowMs);
    wire.wait(100);
    wire.a.ignoreInput(wire.nowMs);
    wire.a.end(wire.nowMs);
    wire.b.write(pattern(5000), wire.nowMs);
    wire.wait(1000);
    expect([wire.a.state, wire.b.error]).toEqual(['FIN_WAIT_2', undefined]);
    wire.wait(60_000);
    expect(wire.a.state).toBe('CLOSED');
  });
});

describe('an established endpoint', () => {
  const make = (): { wire: Wire; segment(more: Partial<TcpSegment>): TcpSegment } => {
    let last: TcpSegment | undefined;
    const wire = new Wire();
    const receive = wire.b.receive.bind(wire.b);
    wire.b.receive = (segment, nowMs) => {
      last = segment;
      receive(segment, nowMs);
    };
    wire.open();
    wire.a.write(pattern(10), wire.nowMs);
    wire.wait(100);
    const base = last!;
    const next = (base.sequence + base.payload.length) | 0;
    return { wire, segment: (more) => ({ ...base, sequence: next, payload: NO_BYTES, ...more }) };
  };

  it('is reset only by the very next number; others in the window are challenged (RFC 5961)', () => {
    const { wire, segment } = make();
    const { sequence } = segment({});
    wire.log.length = 0;
    wire.b.receive(segment({ flags: RST, sequence: (sequence + 1) | 0 }), wire.nowMs);
    expect([wire.b.state, wire.log]).toEqual(['ESTABLISHED', ['b ACK 0']]);
    wire.b.receive(segment({ flags: RST, sequence: (sequence + 10_000_000) | 0 }), wire.nowMs);
    expect(wire.log).toHaveLength(1);
    wire.b.receive(segment({ flags: RST }), wire.nowMs);
    expect(wire.b.error).toBe('ECONNRESET');
  });

  it('challenges a SYN, and at most twice a second', () => {
    const { wire, segment } = make();
    wire.log.length = 0;
    for (let i = 0; i < 10; i++) wire.b.receive(segment({ flags: SYN }), wire.nowMs);
    expect(wire.log).toEqual(['b ACK 0']);
    expect(wire.b.state).toBe('ESTABLISHED');
  });

  it('takes nothing that acknowledges what was never sent', () => {
    const { wire, segment } = make();
    drain(wire.b);
    const acknowledgement = (segment({}).acknowledgement + 1) | 0;
    wire.b.receive(segment({ flags: ACK, acknowledgement, payload: pattern(5) }), wire.nowMs);
    expect(drain(wire.b)).toHaveLength(0);
  });

  it('takes no byte beyond its window, and no FIN either', () => {
    const { wire, segment } = make();
    drain(wire.b);
    const { sequence } = segment({});
    wire.b.receive(
      segment({ flags: ACK | FIN, sequence: (sequence + 300_000) | 0, payload: pattern(5) }),
      wire.nowMs,
    );
    wire.b.receive(segment({ payload: pattern(300_000) }), wire.nowMs);
    expect(drain(wire.b).length).toBeLessThanOrEqual(256 * 1024);
    expect(wire.b.state).toBe('ESTABLISHED');
  });

  it('lingers, and lets a new SYN of higher number begin another connection', () => {
    const { wire, segment } = make();
    wire.b.end(wire.nowMs);
    wire.a.end(wire.nowMs);
    drain(wire.b);
    wire.run(() => wire.b.state === 'TIME_WAIT');
    const { sequence } = segment({});
    expect(wire.b.mayReopen((sequence + 2) | 0)).toBe(true);
    expect(wire.b.mayReopen((sequence - 100) | 0)).toBe(false);
  });
});

describe('a stream', () => {
  const weather = fc.record({
    lossPercent: fc.integer({ min: 0, max: 25 }),
    doublePercent: fc.integer({ min: 0, max: 25 }),
    delayMs: fc.integer({ min: 1, max: 300 }),
  });

  it('arrives whole and in order both ways, however segments are lost, delayed, doubled and swapped', () => {
    fc.assert(
      fc.property(
        weather,
        fc.integer({ min: 0, max: 12_000 }),
        fc.integer({ min: 0, max: 12_000 }),
        fc.constantFrom(64, 536, 1460),
        fc.constantFrom(2048, 16_384, 262_144),
        fc.integer(),
        ({ lossPercent, doublePercent, delayMs }, lengthA, lengthB, mss, receiveBufferBytes, seed) => {
          // Longer than the last retransmissions are apart: nobody is there to answer with a reset afterwards.
          const timeWaitMs = 1_000_000;
          const dice = new SeededRandom(seed ^ 0x5eed);
          const choose = (_: string, n: number): Fate => ({
            isLost: dice.pick(0, 100) < lossPercent && n > 3,
            delayMs: dice.pick(1, delayMs),
            copies: dice.pick(0, 100) < doublePercent ? 2 : 1,
          });
          const wire = new Wire(
            choose,
            { mss, timeWaitMs },
            { receiveBufferBytes, mss: 1460, timeWaitMs },
            seed,
          );
          wire.a.connect(0);
          const outs = [pattern(lengthA, 1), pattern(lengthB, 2)] as const;
          const ins: number[][] = [[], []];
          const at = [0, 0];
          const isDone = (): boolean => {
            for (const [i, end, other] of [
              [0, wire.a, wire.b],
              [1, wire.b, wire.a],
            ] as const) {
              if (end.state !== 'CLOSED' && end.state !== 'SYN_SENT' && end.state !== 'SYN_RECEIVED') {
                at[i]! += end.write(outs[i].subarray(at[i]), wire.nowMs);
                if (at[i] === outs[i].length) end.end(wire.nowMs);
              }
              ins[i]!.push(...drain(other));
            }
            return wire.a.isGone && wire.b.isGone && wire.nowMs > 0;
          };
          wire.run(isDone);
          expect([wire.a.error, wire.b.error]).toEqual([undefined, undefined]);
          expect(Uint8Array.from(ins[0]!)).toEqual(outs[0]);
          expect(Uint8Array.from(ins[1]!)).toEqual(outs[1]);
          expect([wire.a.isAtEnd, wire.b.isAtEnd]).toEqual([true, true]);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('reassembly', () => {
  it('gives the bytes that came first, whatever order and overlap pieces come in', () => {
    const piece = fc.record({ from: fc.nat(60), length: fc.nat(20), salt: fc.nat(3) });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), fc.constantFrom(0, -30, 0x7ffffff0), (pieces, base) => {
        const reassembly = new Reassembly(base);
        const twin = new Map<number, number>();
        let next = 0;
        const read: number[] = [];
        for (const { from, length, salt } of pieces) {
          const bytes = pattern(length, salt * 50);
          reassembly.add((base + from) | 0, bytes);
          bytes.forEach((byte, i) => {
            if (!twin.has(from + i)) twin.set(from + i, byte);
          });
          while (twin.has(next)) next++;
          expect(reassembly.next).toBe((base + next) | 0);
          expect(reassembly.hasGap).toBe([...twin.keys()].some((key) => key > next));
          for (let part = reassembly.read(); part !== undefined; part = reassembly.read()) read.push(...part);
        }
        expect(read).toEqual(Array.from({ length: next }, (_, i) => twin.get(i)));
        expect(reassembly.readableBytes).toBe(0);
      }),
    );
  });

  it('holds a bounded number of pieces', () => {
    const reassembly = new Reassembly(0);
    for (let i = 1; i <= 5000; i++) reassembly.add(2 * i, new Uint8Array(1));
    for (let i = 0; i <= 1025; i++) reassembly.add(2 * i, new Uint8Array(2));
    expect(reassembly.next).toBe(2052);
  });
});

it('a ring of bytes is a queue', () => {
  const command = fc.oneof(
    fc.record({ push: fc.uint8Array({ maxLength: 3000 }) }),
    fc.record({ drop: fc.double({ min: 0, max: 1, noNaN: true }) }),
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const ring = new ByteRing(9000);
      let twin: number[] = [];
      for (const one of commands) {
        if ('push' in one) {
          const room = 9000 - twin.length;
          expect(ring.push(one.push)).toBe(Math.min(room, one.push.length));
          twin.push(...one.push.subarray(0, room));
        } else {
          const count = Math.floor(one.drop * twin.length);
          ring.drop(count);
          twin = twin.slice(count);
        }
        expect([...ring.copy(0, ring.length)]).toEqual(twin);
        const half = twin.length >> 1;
        expect([...ring.copy(half, twin.length - half)]).toEqual(twin.slice(half));
      }
    }),
  );
});
