import { describe, expect, it } from 'vitest';
import { noTraffic } from '../../lib/network/attachment.js';
import { attachBroadcastChannel } from '../../lib/network/broadcast-channel.js';
import { FrameViews } from '../../lib/network/frame-views.js';
import { attachMessagePort, type MessageEndpoint } from '../../lib/network/message-port.js';
import type { Offload } from '../../lib/network/port.js';
import { attachStreams, linkStreams } from '../../lib/network/streams.js';
import { attachV86, type V86Emulator } from '../../lib/network/v86.js';
import { frameOf, KeepingPort } from './adapter-ports.js';

const TO_SEGMENT: Offload = {
  needsChecksum: 1,
  checksumStart: 34,
  checksumOffset: 16,
  gsoType: 'tcp4',
  gsoSizeBytes: 1448,
  headerBytes: 54,
};
const DONE: Offload = { ...TO_SEGMENT, needsChecksum: 0, gsoType: 'none' };

/** What v86 has of a bus: listeners by event, called at once. */
class FakeV86 implements V86Emulator {
  readonly listeners = new Map<string, Set<(frame: Uint8Array) => void>>();
  readonly sent: [string, Uint8Array][] = [];
  readonly bus = { send: (event: string, frame: Uint8Array) => void this.sent.push([event, frame]) };

  add_listener(event: string, listener: (frame: Uint8Array) => void): void {
    const set = this.listeners.get(event) ?? new Set();
    this.listeners.set(event, set.add(listener));
  }

  remove_listener(event: string, listener: (frame: Uint8Array) => void): void {
    this.listeners.get(event)?.delete(listener);
  }

  guestSends(event: string, frame: Uint8Array): void {
    for (const listener of this.listeners.get(event) ?? []) listener(frame);
  }
}

describe('a v86 guest', () => {
  it('is heard, and hears frames that are its own to keep', () => {
    const [port, emulator] = [new KeepingPort(), new FakeV86()];
    const link = attachV86(port, emulator);
    emulator.guestSends('net0-send', frameOf(1));
    expect(port.frames).toEqual([[...frameOf(1)]]);
    const borrowed = frameOf(2);
    port.onTransmit?.(borrowed);
    borrowed.fill(0);
    expect(emulator.sent).toEqual([['net0-receive', frameOf(2)]]);
    expect(link.counters).toEqual({ ...noTraffic(), receivedFrames: 1, transmittedFrames: 1 });
  });

  it('may have several cards', () => {
    const [port, emulator] = [new KeepingPort(), new FakeV86()];
    attachV86(port, emulator, { card: 1 });
    emulator.guestSends('net0-send', frameOf(1));
    emulator.guestSends('net1-send', frameOf(2));
    port.onTransmit?.(frameOf(3));
    expect(port.frames).toEqual([[...frameOf(2)]]);
    expect(emulator.sent.map(([event]) => event)).toEqual(['net1-receive']);
  });

  it('is not heard any more after close, and its port is free', () => {
    const [port, emulator] = [new KeepingPort(), new FakeV86()];
    attachV86(port, emulator).close();
    emulator.guestSends('net0-send', frameOf(1));
    expect(port.received).toEqual([]);
    attachV86(port, emulator);
    emulator.guestSends('net0-send', frameOf(2));
    expect(port.received.length).toBe(1);
  });

  it('gets no frame that is not finished, and its runts are counted', () => {
    const [port, emulator] = [new KeepingPort(), new FakeV86()];
    const { counters } = attachV86(port, emulator);
    port.onTransmit?.(frameOf(1), TO_SEGMENT);
    port.onTransmit?.(frameOf(2), DONE);
    emulator.guestSends('net0-send', new Uint8Array(13));
    expect(emulator.sent.map(([, frame]) => frame)).toEqual([frameOf(2)]);
    expect(counters).toMatchObject({ droppedFrames: 1, transmittedFrames: 1, malformedFrames: 1 });
  });

  it('is refused by a port of IP packets, by a port that is plugged in, and without a bus', () => {
    const emulator = new FakeV86();
    expect(() => attachV86(new KeepingPort('ip'), emulator)).toThrow(
      "a v86 guest carries Ethernet frames ('ip'); expected a port with link 'ethernet'",
    );
    const port = new KeepingPort();
    attachV86(port, emulator);
    expect(() => attachV86(port, emulator)).toThrow('this port is plugged in already');
    const { add_listener, remove_listener } = emulator;
    expect(() => attachV86(new KeepingPort(), { add_listener, remove_listener })).toThrow('has no bus');
  });
});

describe('a message port', () => {
  /** Both ends of a channel between two ports. */
  function linked(options = {}) {
    const channel = new MessageChannel();
    const [near, far] = [new KeepingPort(), new KeepingPort()];
    const links = [
      attachMessagePort(near, channel.port1 as MessageEndpoint, options),
      attachMessagePort(far, channel.port2 as MessageEndpoint, options),
    ];
    const end = () => {
      for (const link of links) link.close();
      channel.port1.close();
    };
    return { channel, near, far, links, end };
  }

  it('carries frames both ways, in order', async () => {
    const { near, far, end } = linked();
    for (let i = 0; i < 100; i++) near.onTransmit?.(frameOf(i, 60 + i));
    far.onTransmit?.(frameOf(200));
    await Promise.all([far.until(100), near.until(1)]);
    expect(far.frames).toEqual(Array.from({ length: 100 }, (_, i) => [...frameOf(i, 60 + i)]));
    expect(near.frames).toEqual([[...frameOf(200)]]);
    end();
  });

  it('transfers a buffer of its own, of exactly the frame, and leaves the borrowed one alone', () => {
    const posted: [unknown, ArrayBuffer[]][] = [];
    const endpoint: MessageEndpoint = {
      postMessage: (message, transfer) => void posted.push([message, transfer]),
      addEventListener: () => {},
      removeEventListener: () => {},
    };
    const port = new KeepingPort();
    attachMessagePort(port, endpoint);
    const buffer = new Uint8Array(4096);
    port.onTransmit?.(buffer.subarray(100, 160));
    const [[message, transfer]] = posted;
    expect(transfer).toEqual([(message as Uint8Array).buffer]);
    expect(transfer[0].byteLength).toBe(60);
    expect(transfer[0]).not.toBe(buffer.buffer);
  });

  it('hands on what is left to do to a peer that takes it, and drops such frames for others', async () => {
    const ours = linked({ offload: 'pass' });
    expect(ours.near.offloads).toEqual(['checksum', 'tcp4', 'tcp6', 'udp']);
    ours.near.onTransmit?.(frameOf(1, 5000), TO_SEGMENT);
    await ours.far.until(1);
    expect(ours.far.received).toEqual([{ frame: frameOf(1, 5000), offload: TO_SEGMENT }]);
    ours.end();
    expect(ours.near.offloads).toEqual([]);
    const plain = linked();
    plain.near.onTransmit?.(frameOf(1, 5000), TO_SEGMENT);
    plain.near.onTransmit?.(frameOf(2));
    await plain.far.until(1);
    expect(plain.far.frames).toEqual([[...frameOf(2)]]);
    expect(plain.links[0].counters).toMatchObject({ droppedFrames: 1, transmittedFrames: 1 });
    plain.end();
  });

  /** An end that keeps what is posted to the other one, which says something now and then. */
  function silentPeer() {
    const posted: unknown[] = [];
    let listener: (event: { data: unknown }) => void = () => {};
    const endpoint: MessageEndpoint = {
      postMessage: (message) => void posted.push(message),
      addEventListener: (_, heard) => {
        listener = heard;
      },
      removeEventListener: () => {},
    };
    return { endpoint, posted, say: (data: unknown) => listener({ data }) };
  }
  const send = (port: KeepingPort, count: number) => {
    for (let i = 0; i < count; i++) port.onTransmit?.(frameOf(i));
  };

  it('has a bounded number of frames under way to a peer of ours that takes none', () => {
    const { endpoint, posted, say } = silentPeer();
    const port = new KeepingPort();
    const { counters } = attachMessagePort(port, endpoint, { acknowledge: 'frames' });
    expect(posted.splice(0)).toEqual([{ acknowledged: 'all' }]);
    send(port, 5000);
    expect([posted.length, counters.transmittedFrames, counters.droppedFrames]).toEqual([1024, 1024, 3976]);
    say({ acknowledged: 32 });
    send(port, 100);
    expect(posted.length).toBe(1024 + 32);
    // Somebody else listens there now.
    say({ acknowledged: 'all' });
    send(port, 2000);
    expect(posted.length).toBe(1024 + 32 + 1024);
    // What no peer of ours would say changes nothing.
    for (const wrong of [-5, 0, 1.5, Number.NaN, '7']) say({ acknowledged: wrong });
    say({ acknowledged: 1e9 });
    send(port, 2000);
    expect(posted.length).toBe(1024 + 32 + 2 * 1024);
    expect(port.frames).toEqual([]);
  });

  it('says what it has taken, and ends of ours carry any number of frames', async () => {
    const { near, far, links, end } = linked({ acknowledge: 'frames', queueFrames: 64 });
    for (let i = 0; i < 40; i++) {
      send(near, 32);
      await far.until(32 * (i + 1));
      // The acknowledgements are behind the frames.
      far.onTransmit?.(frameOf(i));
      await near.until(i + 1);
    }
    expect(links.map(({ counters }) => counters.droppedFrames)).toEqual([0, 0]);
    expect([far.received.length, near.received.length]).toEqual([1280, 40]);
    end();
  });

  it('sends so many frames to another peer that says nothing as it is told, and by default any number', () => {
    const limited = silentPeer();
    const port = new KeepingPort();
    const { counters } = attachMessagePort(port, limited.endpoint, { queueFrames: 100 });
    send(port, 300);
    expect([limited.posted.length, counters.droppedFrames]).toEqual([100, 200]);
    limited.say(frameOf(9));
    send(port, 300);
    expect(limited.posted.length).toBe(200);
    expect(port.frames).toEqual([[...frameOf(9)]]);
    const any = silentPeer();
    const other = new KeepingPort();
    attachMessagePort(other, any.endpoint);
    send(other, 5000);
    expect(any.posted.length).toBe(5000);
    for (const queueFrames of [0, 63, 1.5, 1 << 21])
      expect(() => attachMessagePort(new KeepingPort(), any.endpoint, { queueFrames })).toThrow(
        '64 to 1048576',
      );
  });

  it('counts messages that are no frames, and believes no offsets', async () => {
    const { channel, near, links, end } = linked({ offload: 'pass' });
    const wrong: unknown[] = [
      'text',
      null,
      42,
      new Uint8Array(13),
      new Uint8Array(70_000),
      { frame: frameOf(1), offload: { ...TO_SEGMENT, checksumStart: 50 } },
      { frame: frameOf(1), offload: { ...TO_SEGMENT, gsoSizeBytes: 0 } },
      { frame: frameOf(1), offload: { ...TO_SEGMENT, headerBytes: 61 } },
      { frame: frameOf(1), offload: { ...TO_SEGMENT, gsoType: 'sctp' } },
      { frame: frameOf(1), offload: { ...TO_SEGMENT, checksumOffset: '6' } },
      { frame: frameOf(1), offload: null },
    ];
    for (const message of wrong) channel.port2.postMessage(message);
    channel.port2.postMessage(frameOf(7).buffer);
    await near.until(1);
    expect(near.frames).toEqual([[...frameOf(7)]]);
    expect(links[0].counters).toMatchObject({ malformedFrames: wrong.length, receivedFrames: 1 });
    end();
  });
});

describe('a broadcast channel', () => {
  it('is a segment: all others hear a frame, the sender does not', async () => {
    const channels = [1, 2, 3].map(() => new BroadcastChannel('segment'));
    const ports = channels.map(() => new KeepingPort());
    const links = ports.map((port, i) => attachBroadcastChannel(port, channels[i] as never));
    const [first, second, third] = ports;
    const buffer = new Uint8Array(8192);
    buffer.set(frameOf(5), 64);
    first.onTransmit?.(buffer.subarray(64, 124));
    second.onTransmit?.(frameOf(6));
    await Promise.all([first.until(1), second.until(1), third.until(2)]);
    expect(first.frames).toEqual([[...frameOf(6)]]);
    expect(second.frames).toEqual([[...frameOf(5)]]);
    expect(third.frames).toEqual([[...frameOf(5)], [...frameOf(6)]]);
    for (const link of links) link.close();
    for (const channel of channels) channel.close();
  });

  it('sends so many frames to a segment that says nothing as it is told', () => {
    const posted: unknown[] = [];
    let listener: (event: { data: unknown }) => void = () => {};
    const port = new KeepingPort();
    const channel = {
      postMessage: (message: unknown) => void posted.push(message),
      addEventListener: (_: 'message', heard: typeof listener) => {
        listener = heard;
      },
      removeEventListener: () => {},
    };
    const { counters } = attachBroadcastChannel(port, channel, { queueFrames: 100 });
    for (let i = 0; i < 300; i++) port.onTransmit?.(frameOf(i));
    expect([posted.length, counters.transmittedFrames, counters.droppedFrames]).toEqual([100, 100, 200]);
    listener({ data: frameOf(7) });
    for (let i = 0; i < 300; i++) port.onTransmit?.(frameOf(i));
    expect(posted.length).toBe(200);
  });

  it('posts no more than the frame: a view would be cloned with its buffer', () => {
    const posted: Uint8Array[] = [];
    const port = new KeepingPort();
    attachBroadcastChannel(port, {
      postMessage: (message) => void posted.push(message as Uint8Array),
      addEventListener: () => {},
      removeEventListener: () => {},
    });
    port.onTransmit?.(new Uint8Array(8192).subarray(0, 60));
    expect(posted[0].buffer.byteLength).toBe(60);
  });
});

describe('a pair of streams', () => {
  it('yields what the port sends and takes what the port is to get', async () => {
    const port = new KeepingPort('ip');
    const { readable, writable, close } = linkStreams(port);
    const borrowed = frameOf(1);
    port.onTransmit?.(borrowed);
    borrowed.fill(0);
    const reader = readable.getReader();
    expect((await reader.read()).value).toEqual(frameOf(1));
    const writer = writable.getWriter();
    await writer.write(frameOf(2));
    expect(port.frames).toEqual([[...frameOf(2)]]);
    close();
    expect((await reader.read()).done).toBe(true);
    await expect(writer.write(frameOf(3))).rejects.toThrow('unplugged');
    expect(port.onTransmit).toBeUndefined();
  });

  it('drops frames for a reader that does not read, and goes on when it does', async () => {
    const port = new KeepingPort('ip');
    const { readable, counters } = linkStreams(port, { queueFrames: 4 });
    for (let i = 0; i < 10; i++) port.onTransmit?.(frameOf(i));
    expect(counters).toMatchObject({ transmittedFrames: 4, droppedFrames: 6 });
    const reader = readable.getReader();
    for (let i = 0; i < 4; i++) expect((await reader.read()).value).toEqual(frameOf(i));
    port.onTransmit?.(frameOf(11));
    expect((await reader.read()).value).toEqual(frameOf(11));
  });

  it('is unplugged by a reader that cancels or a writer that closes', async () => {
    const [one, other] = [new KeepingPort('ip'), new KeepingPort('ip')];
    await linkStreams(one).readable.cancel();
    expect(one.onTransmit).toBeUndefined();
    await linkStreams(other).writable.close();
    expect(other.onTransmit).toBeUndefined();
  });

  it('is piped to a stack of another make, until either ends', async () => {
    const [ours, theirs] = [new KeepingPort('ip'), new KeepingPort('ip')];
    const stack = linkStreams(theirs);
    const link = attachStreams(ours, stack);
    for (let i = 0; i < 50; i++) ours.onTransmit?.(frameOf(i));
    theirs.onTransmit?.(frameOf(99));
    await Promise.all([theirs.until(50), ours.until(1)]);
    expect(theirs.frames).toEqual(Array.from({ length: 50 }, (_, i) => [...frameOf(i)]));
    stack.close();
    await link.done;
    expect(ours.onTransmit).toBeUndefined();
  });

  it('tells of an error of the other stack', async () => {
    const port = new KeepingPort('ip');
    const readable = new ReadableStream<Uint8Array>({ start: (c) => c.error(new Error('stack fell')) });
    const link = attachStreams(port, { readable, writable: new WritableStream() });
    await link.done;
    expect(link.counters).toMatchObject({ errors: 1, lastError: { message: 'stack fell' } });
  });

  it('ends both pipes on close', async () => {
    const port = new KeepingPort('ip');
    let isCancelled = false;
    const readable = new ReadableStream<Uint8Array>({
      cancel: () => {
        isCancelled = true;
      },
    });
    const link = attachStreams(port, { readable, writable: new WritableStream() });
    await link.close();
    expect(isCancelled).toBe(true);
    expect(link.counters.errors).toBe(0);
    expect(port.onTransmit).toBeUndefined();
  });
});

describe('a frame that is borrowed as a Node Buffer', () => {
  it('is copied like any other', async () => {
    const pooled = Buffer.from('a frame in a pool that others share');
    const posted: Uint8Array[] = [];
    const ports = [new KeepingPort(), new KeepingPort(), new KeepingPort(), new KeepingPort()];
    const endpoint = {
      postMessage: (message: unknown) => void posted.push(message as Uint8Array),
      addEventListener: () => {},
      removeEventListener: () => {},
    };
    const emulator = new FakeV86();
    attachMessagePort(ports[0], endpoint);
    attachBroadcastChannel(ports[1], endpoint);
    attachV86(ports[2], emulator);
    const { readable } = linkStreams(ports[3]);
    for (const port of ports) port.onTransmit?.(pooled);
    const read = await readable.getReader().read();
    const copies = [...posted, ...emulator.sent.map(([, frame]) => frame), read.value as Uint8Array];
    expect(copies.map(({ buffer }) => buffer.byteLength)).toEqual([35, 35, 35, 35]);
  });
});

describe('views of a receive buffer', () => {
  it('are made once for each length of an ordinary frame', () => {
    const buffer = new Uint8Array(65_600);
    const views = new FrameViews(buffer, 12);
    expect(views.of(60)).toBe(views.of(60));
    expect(views.of(60).byteOffset).toBe(12);
    expect(views.of(60).length).toBe(60);
    expect(views.of(60).buffer).toBe(buffer.buffer);
    expect(views.of(2047)).toBe(views.of(2047));
    expect(views.of(9000)).not.toBe(views.of(9000));
    expect(views.of(0).length).toBe(0);
  });
});
