import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { EthernetSwitch } from '../../lib/network/switch.js';
import { type Relay, type RelayOptions, type RelayVisitor, serveRelay } from '../../lib/node/relay.js';
import { frameOf, KeepingPort } from '../network/adapter-ports.js';

const relays: Relay[] = [];
const sockets: WebSocket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.terminate();
  await Promise.all(relays.splice(0).map((relay) => relay.close()));
});

async function relayOf(options: RelayOptions): Promise<Relay> {
  const relay = await serveRelay(options);
  relays.push(relay);
  return relay;
}

/** A guest; resolves once it is in. Frames it gets are in `frames`. */
async function guestAt(url: string, origin?: string) {
  const socket = new WebSocket(url, origin === undefined ? {} : { origin });
  sockets.push(socket);
  const frames: Uint8Array[] = [];
  let wake: () => void = () => {};
  socket.on('message', (message: Buffer) => {
    frames.push(new Uint8Array(message));
    wake();
  });
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  const until = async (count: number): Promise<void> => {
    while (frames.length < count) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { socket, frames, closed, until };
}

/** Waits for what happens on the other side of a socket. */
async function eventually(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

describe('a relay', () => {
  it('carries a binary message for each frame, both ways', async () => {
    const port = new KeepingPort();
    const relay = await relayOf({ admit: () => port });
    const guest = await guestAt(relay.url);
    guest.socket.send(frameOf(1, 1514));
    guest.socket.send(frameOf(2));
    await port.until(2);
    expect(port.received.map(({ frame }) => frame)).toEqual([frameOf(1, 1514), frameOf(2)]);
    const borrowed = frameOf(3);
    port.onTransmit?.(borrowed);
    borrowed.fill(0);
    await guest.until(1);
    expect(guest.frames).toEqual([frameOf(3)]);
    const [inside] = relay.guests;
    expect(inside.counters).toMatchObject({ receivedFrames: 2, transmittedFrames: 1, droppedFrames: 0 });
  });

  it('joins its guests and a gateway in one segment', async () => {
    const segment = new EthernetSwitch();
    const gateway = new KeepingPort();
    segment.connect(gateway);
    const relay = await relayOf({ admit: () => segment.addPort() });
    const [one, other] = [await guestAt(relay.url), await guestAt(relay.url)];
    const to = (target: number, from: number) =>
      Uint8Array.from([...new Array(6).fill(target), 2, 0, 0, 0, 0, from, ...new Array(48).fill(from)]);
    one.socket.send(to(255, 1));
    await Promise.all([gateway.until(1), other.until(1)]);
    expect(other.frames[0]).toEqual(to(255, 1));
    gateway.onTransmit?.(Uint8Array.from([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, ...new Array(48).fill(9)]));
    await one.until(1);
    expect(one.frames[0][11]).toBe(9);
    expect(other.frames.length).toBe(1);
    expect(segment.portCount).toBe(3);
    one.socket.close();
    await eventually(() => segment.portCount === 2);
    expect(relay.guests.size).toBe(1);
  });

  it('takes browsers from pages of this host only, unless told which', async () => {
    const relay = await relayOf({ admit: () => new KeepingPort() });
    await guestAt(relay.url, 'http://localhost:3000');
    await guestAt(relay.url, 'http://[::1]:3000');
    await expect(guestAt(relay.url, 'https://evil.example')).rejects.toThrow('403');
    await expect(guestAt(relay.url, 'https://localhost.evil.example')).rejects.toThrow('403');
    await expect(guestAt(relay.url, 'null')).rejects.toThrow('403');
    const named = await relayOf({ admit: () => new KeepingPort(), origins: ['https://lab.example'] });
    await guestAt(named.url, 'https://lab.example');
    await expect(guestAt(named.url, 'http://localhost')).rejects.toThrow('403');
    const any = await relayOf({ admit: () => new KeepingPort(), origins: 'any' });
    await guestAt(any.url, 'https://evil.example');
  });

  it('asks for each guest, with what is known of it', async () => {
    const seen: RelayVisitor[] = [];
    const relay = await relayOf({
      path: '/net',
      admit: (visitor) => {
        seen.push(visitor);
        return visitor.url.endsWith('token=right') ? new KeepingPort() : undefined;
      },
    });
    await guestAt(`${relay.url}?token=right`, 'http://localhost');
    const wrong = await guestAt(`${relay.url}?token=wrong`);
    expect(await wrong.closed).toBe(1008);
    expect(seen).toEqual([
      { remoteAddress: '127.0.0.1', origin: 'http://localhost', url: '/net?token=right' },
      { remoteAddress: '127.0.0.1', origin: undefined, url: '/net?token=wrong' },
    ]);
    await expect(guestAt(relay.url.replace('/net', '/other'))).rejects.toThrow('400');
  });

  it('has room for so many guests', async () => {
    const relay = await relayOf({ admit: () => new KeepingPort(), maxGuests: 2 });
    const first = await guestAt(relay.url);
    await guestAt(relay.url);
    await expect(guestAt(relay.url)).rejects.toThrow('503');
    first.socket.close();
    await first.closed;
    await eventually(() => relay.guests.size === 1);
    await guestAt(relay.url);
  });

  it('sends a guest away whose port is taken, and goes on', async () => {
    const port = new KeepingPort();
    const relay = await relayOf({ admit: () => port });
    await guestAt(relay.url);
    const second = await guestAt(relay.url);
    expect(await second.closed).toBe(1011);
    expect(relay.guests.size).toBe(1);
  });

  it('counts what is no frame; who goes on with text is sent away', async () => {
    const port = new KeepingPort();
    const relay = await relayOf({ admit: () => port });
    const guest = await guestAt(relay.url);
    const [inside] = relay.guests;
    guest.socket.send('hello');
    guest.socket.send(new Uint8Array(13));
    guest.socket.send(frameOf(1));
    await port.until(1);
    expect(inside.counters).toMatchObject({ malformedFrames: 2, receivedFrames: 1 });
    for (let i = 0; i < 20; i++) guest.socket.send('hello');
    expect(await guest.closed).toBe(1003);
  });

  it('ends a guest that sends more than a frame can be', async () => {
    const port = new KeepingPort();
    const relay = await relayOf({ admit: () => port });
    const guest = await guestAt(relay.url);
    const [inside] = relay.guests;
    guest.socket.send(new Uint8Array(65_558));
    expect(await guest.closed).toBe(1009);
    expect(port.received).toEqual([]);
    expect(inside.counters.errors).toBe(1);
  });

  it('drops frames for a guest that does not read', async () => {
    const port = new KeepingPort();
    const relay = await relayOf({ admit: () => port, queueBytes: 100_000 });
    const guest = await guestAt(relay.url);
    guest.socket.pause();
    const [inside] = relay.guests;
    const frame = frameOf(1, 60_000);
    // The system's own buffers take some megabytes.
    for (let i = 0; i < 500; i++) {
      port.onTransmit?.(frame);
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(inside.counters.droppedFrames).toBeGreaterThan(300);
    expect(inside.counters.droppedFrames + inside.counters.transmittedFrames).toBe(500);
  });

  it('notices a guest that is gone without a word', async () => {
    const port = new KeepingPort();
    const relay = await relayOf({ admit: () => port, pingMs: 5 });
    const { port: tcpPort } = new URL(relay.url);
    // Shakes hands, then never answers.
    const silent = connect(Number(tcpPort), '127.0.0.1');
    const hello = ['GET / HTTP/1.1', 'Host: x', 'Upgrade: websocket', 'Connection: Upgrade'];
    hello.push('Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', '', '');
    silent.write(hello.join('\r\n'));
    silent.resume();
    await eventually(() => relay.guests.size === 1);
    const alive = port;
    await new Promise((resolve) => silent.once('close', resolve));
    await eventually(() => relay.guests.size === 0);
    expect(alive.onTransmit).toBeUndefined();
  });

  it('keeps a guest that answers', async () => {
    const port = new KeepingPort();
    const relay = await relayOf({ admit: () => port, pingMs: 5 });
    const guest = await guestAt(relay.url);
    let pings = 0;
    await new Promise<void>((resolve) => {
      guest.socket.on('ping', () => {
        if (++pings === 5) resolve();
      });
    });
    expect(relay.guests.size).toBe(1);
  });

  it('serves upgrades of a server that is there already, and leaves it alone when it closes', async () => {
    const server = createServer((_, response) => response.end('page'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port: httpPort } = server.address() as AddressInfo;
    const port = new KeepingPort();
    const relay = await serveRelay({ admit: () => port, server, path: '/net' });
    expect(relay.url).toBe(`ws://127.0.0.1:${httpPort}/net`);
    const guest = await guestAt(relay.url);
    await relay.close();
    await guest.closed;
    expect(port.onTransmit).toBeUndefined();
    const page = await fetch(`http://127.0.0.1:${httpPort}/`);
    expect(await page.text()).toBe('page');
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('says which address it cannot have', async () => {
    const relay = await relayOf({ admit: () => undefined });
    const taken = Number(new URL(relay.url).port);
    await expect(serveRelay({ admit: () => undefined, port: taken })).rejects.toThrow(
      new RegExp(`EADDRINUSE.*127.0.0.1:${taken}`),
    );
  });
});
