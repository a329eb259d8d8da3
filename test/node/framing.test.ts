import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameReader, FrameWriter } from '../../lib/node/framing.js';

/** Frames as they look on the stream. */
function framed(frames: readonly Uint8Array[]): Uint8Array {
  const bytes: number[] = [];
  for (const frame of frames) {
    bytes.push(frame.length >>> 24, (frame.length >>> 16) & 255, (frame.length >>> 8) & 255);
    bytes.push(frame.length & 255, ...frame);
  }
  return Uint8Array.from(bytes);
}

function readAll(chunks: readonly Uint8Array[], longestBytes: number) {
  const frames: Uint8Array[] = [];
  const reader = new FrameReader(longestBytes, (frame) => frames.push(frame.slice()));
  const isWhole = chunks.map((chunk) => reader.push(chunk)).every((sound) => sound);
  return { frames, isWhole };
}

const someFrames = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12 });

describe('the reader of frames', () => {
  it('finds the same frames however the stream is cut', () => {
    fc.assert(
      fc.property(someFrames, fc.array(fc.integer({ min: 1, max: 50 })), (frames, cuts) => {
        const stream = framed(frames);
        const chunks: Uint8Array[] = [];
        let at = 0;
        for (const cut of cuts) {
          chunks.push(stream.slice(at, at + cut));
          at += cut;
        }
        chunks.push(stream.slice(at));
        expect(readAll(chunks, 40)).toEqual({ frames, isWhole: true });
      }),
    );
  });

  it('reads a stream byte by byte', () => {
    const frames = [Uint8Array.of(1, 2, 3), new Uint8Array(0), Uint8Array.of(4)];
    const chunks = [...framed(frames)].map((byte) => Uint8Array.of(byte));
    expect(readAll(chunks, 3)).toEqual({ frames, isWhole: true });
  });

  it('takes the longest frame, and ends the stream at one byte more', () => {
    const longest = new Uint8Array(100).fill(7);
    expect(readAll([framed([longest])], 100)).toEqual({ frames: [longest], isWhole: true });
    expect(readAll([framed([longest, new Uint8Array(101), longest])], 100)).toEqual({
      frames: [longest],
      isWhole: false,
    });
  });

  it('does not take 4 GiB for a negative number, nor wait for them', () => {
    const reader = new FrameReader(100, () => {});
    expect(reader.push(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 2, 3))).toBe(false);
    expect(reader.frameBytes).toBe(0xffff_ffff);
    expect(reader.push(framed([Uint8Array.of(1)]))).toBe(false);
  });

  it('gives no more frames of a chunk once it is stopped', () => {
    const frames: number[] = [];
    const reader = new FrameReader(100, (frame) => {
      frames.push(frame[0]);
      if (frames.length === 2) reader.stop();
    });
    reader.push(framed([1, 2, 3].map((n) => Uint8Array.of(n))));
    expect(frames).toEqual([1, 2]);
  });

  it('lends whole frames out without copying them', () => {
    let lent: Uint8Array | undefined;
    const chunk = framed([Uint8Array.of(1, 2, 3)]);
    new FrameReader(100, (frame) => {
      lent = frame;
    }).push(chunk);
    expect(lent?.buffer).toBe(chunk.buffer);
  });
});

describe('the writer of frames', () => {
  it('gathers the frames of one task into one write that the reader understands', async () => {
    const writes: Uint8Array[] = [];
    const writer = new FrameWriter({ queueBytes: 0, write: (bytes) => writes.push(bytes.slice()) });
    const frames = [Uint8Array.of(1, 2), new Uint8Array(300).fill(9), new Uint8Array(0)];
    for (const frame of frames) expect(writer.add(frame)).toBe(true);
    expect(writes).toEqual([]);
    await Promise.resolve();
    expect(writes.length).toBe(1);
    expect(readAll(writes, 300).frames).toEqual(frames);
  });

  it('keeps the order over many buffers', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 65_557 }), { maxLength: 20 }), (lengths) => {
        const writes: Uint8Array[] = [];
        const writer = new FrameWriter({
          queueBytes: 0,
          write: (bytes, done) => {
            writes.push(bytes.slice());
            done();
          },
        });
        const frames = lengths.map((length, i) => new Uint8Array(length).fill(i));
        for (const frame of frames) expect(writer.add(frame)).toBe(true);
        writer.flush();
        const read = readAll(writes, 65_557).frames;
        expect(read.map((frame) => [frame.length, frame[0]])).toEqual(frames.map((f) => [f.length, f[0]]));
      }),
      { numRuns: 20 },
    );
  });

  it('drops frames when all buffers wait for the peer, and goes on when one is back', () => {
    const waiting: (() => void)[] = [];
    const writer = new FrameWriter({ queueBytes: 0x4_0000, write: (_, done) => waiting.push(done) });
    const frame = new Uint8Array(65_000);
    // Two buffers of 128 KiB, two frames in each.
    const taken = Array.from({ length: 6 }, () => writer.add(frame));
    expect(taken).toEqual([true, true, true, true, false, false]);
    waiting.shift()?.();
    expect(writer.add(frame)).toBe(true);
  });

  it('drops a frame that fits no buffer', () => {
    const writer = new FrameWriter({ queueBytes: 0, write: () => {} });
    expect(writer.add(new Uint8Array(0x2_0000))).toBe(false);
    expect(writer.add(new Uint8Array(60))).toBe(true);
  });
});
