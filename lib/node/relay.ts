/**
 * A WebSocket relay: guests in browsers (v86 and others) send each Ethernet frame as one binary message, and get
 * frames alike. Each guest is a link of its own: to a port of an {@link EthernetSwitch}, or to an interface.
 *
 * Listens on the loopback address unless told otherwise, and takes browsers from pages of this host only: any page
 * could otherwise reach the network behind. Guests that are slow lose frames, guests that are gone without a word are
 * noticed. Needs the package `ws`, loaded when the first relay is made.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { WebSocket, WebSocketServer } from 'ws';
import { ConfigurationError } from '../errors.js';
import {
  type Attachment,
  claimPort,
  ETHERNET_HEADER_BYTES,
  isDone,
  LONGEST_FRAME_BYTES,
  needEthernet,
  noTraffic,
} from '../network/attachment.js';
import type { LinkPort, Offload } from '../network/port.js';

/** What is known of a guest that asks to come in. */
export interface RelayVisitor {
  readonly remoteAddress: string;
  /** The page that it runs in, if it is a browser. */
  readonly origin: string | undefined;
  /** Path and query: a place for a token or the name of a network. */
  readonly url: string;
}

/** A guest that is in. */
export interface RelayGuest extends RelayVisitor, Attachment {
  close(): void;
}

export interface RelayOptions {
  /**
   * The port that a new guest is plugged into, or undefined to refuse it: `() => segment.addPort()`. Ports with a
   * `close` are closed when the guest goes.
   */
  readonly admit: (visitor: RelayVisitor) => RelayPort | undefined;
  /** Address to listen on, `127.0.0.1` by default. */
  readonly host?: string;
  /** 0, the default, takes a free one. */
  readonly port?: number;
  /** Serve upgrades of this server instead; `host` and `port` are its own then. */
  readonly server?: Server;
  /** Path that is served; any by default. */
  readonly path?: string;
  /**
   * Pages that may connect, as `https://example.com`, or `any`. By default those that this host serves itself
   * (localhost, 127.0.0.1, [::1]), and programs that are no browsers and name no page.
   */
  readonly origins?: readonly string[] | 'any';
  /** Guests at a time, 64 by default; more are refused. */
  readonly maxGuests?: number;
  /** Bytes that may wait for a guest that does not read, 1 MiB by default; further frames are dropped. */
  readonly queueBytes?: number;
  /** A guest that has not answered a ping for this long is gone; 30 s by default, 0 never asks. */
  readonly pingMs?: number;
}

export type RelayPort = LinkPort & { close?(): void };

export interface Relay {
  /** Where it listens: `ws://127.0.0.1:8080`. */
  readonly url: string;
  readonly guests: ReadonlySet<RelayGuest>;
  /** Sends all guests away and stops listening. A `server` that was given goes on. */
  close(): Promise<void>;
}

const LOCAL_PAGES = new Set(['localhost', '127.0.0.1', '[::1]']);
/** Close codes (RFC 6455 section 7.4.1). */
const GOING_AWAY = 1001;
const UNSUPPORTED_DATA = 1003;
/** Text messages that are forgiven: some clients greet. */
const TEXT_LIMIT = 16;

/** Listens for guests. Throws a ConfigurationError: no `ws`, an address that cannot be had. */
export async function serveRelay(options: RelayOptions): Promise<Relay> {
  const { WebSocketServer } = await importWs();
  const guests = new Set<RelayGuest>();
  const maxGuests = options.maxGuests ?? 64;
  const place = options.server ?? { host: options.host ?? '127.0.0.1', port: options.port ?? 0 };
  const server = new WebSocketServer({
    ...('host' in place ? place : { server: place as Server }),
    ...(options.path === undefined ? {} : { path: options.path }),
    clientTracking: true,
    maxPayload: LONGEST_FRAME_BYTES,
    // Frames are small or already compressed; a deflate window per guest costs more than it saves.
    perMessageDeflate: false,
    verifyClient: ({ origin, req }, decide) => {
      if (!isAllowed(origin ?? req.headers.origin, options.origins)) decide(false, 403, 'Origin not allowed');
      else if (server.clients.size >= maxGuests) decide(false, 503, 'Full');
      else decide(true);
    },
  });
  server.on('connection', (socket, request) => {
    const visitor = visitorOf(request);
    let port: RelayPort | undefined;
    let guest: RelayGuest;
    try {
      port = options.admit(visitor);
      if (port === undefined) {
        socket.close(1008, 'Not admitted');
        return;
      }
      guest = attachGuest(port, socket, visitor, options);
    } catch (error) {
      // A port that is taken, or an `admit` that failed: this guest's trouble, not the relay's.
      socket.close(1011, error instanceof ConfigurationError ? error.message.slice(0, 100) : 'Failed');
      port?.close?.();
      return;
    }
    guests.add(guest);
    socket.once('close', () => {
      guests.delete(guest);
      port?.close?.();
    });
  });
  if (options.server === undefined) await listening(server);
  const pings = startPings(server, options.pingMs ?? 30_000);
  return {
    guests,
    get url() {
      return urlOf(server, options);
    },
    close: async () => {
      clearInterval(pings);
      for (const guest of guests) guest.close();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // A guest that does not say goodbye would hold the server.
      for (const socket of server.clients) socket.terminate();
      await closed;
    },
  };
}

/** Plugs an open WebSocket into an Ethernet port. */
function attachWebSocket(
  port: LinkPort,
  socket: WebSocket,
  options: Pick<RelayOptions, 'queueBytes'> = {},
): Attachment {
  needEthernet(port, 'the relay');
  const counters = noTraffic();
  const queueBytes = options.queueBytes ?? 0x10_0000;
  const binary = { binary: true };
  let texts = 0;
  const transmit = (frame: Uint8Array, offload?: Offload): void => {
    const isOpen = socket.readyState === socket.OPEN;
    const fits = socket.bufferedAmount + frame.length <= queueBytes;
    if (!isOpen || !fits || (offload !== undefined && !isDone(offload))) {
      counters.droppedFrames++;
      return;
    }
    counters.transmittedFrames++;
    // What does not leave at once is kept by reference.
    socket.send(Buffer.from(frame), binary);
  };
  const close = (): void => {
    release();
    socket.off('message', onMessage);
    socket.close(GOING_AWAY);
  };
  const release = claimPort(port, transmit, close);
  const onMessage = (message: unknown, isBinary: boolean): void => {
    if (!isBinary || !(message instanceof Uint8Array)) {
      counters.malformedFrames++;
      if (++texts > TEXT_LIMIT) socket.close(UNSUPPORTED_DATA, 'Ethernet frames, please');
      return;
    }
    if (message.length < ETHERNET_HEADER_BYTES) {
      counters.malformedFrames++;
      return;
    }
    counters.receivedFrames++;
    port.receive(new Uint8Array(message.buffer, message.byteOffset, message.length));
  };
  const onError = (error: Error): void => {
    counters.errors++;
    counters.lastError = error;
  };
  socket.on('message', onMessage);
  socket.on('error', onError);
  socket.once('close', release);
  return { counters, close };
}

function attachGuest(
  port: LinkPort,
  socket: WebSocket,
  visitor: RelayVisitor,
  options: RelayOptions,
): RelayGuest {
  const { counters, close } = attachWebSocket(port, socket, options);
  return { ...visitor, counters, close };
}

async function importWs() {
  try {
    return await import('ws');
  } catch (error) {
    throw new ConfigurationError(
      'unsupported',
      'a WebSocket relay needs the package ws',
      { word: 'ws', expected: 'npm install ws' },
      { cause: error },
    );
  }
}

function isAllowed(origin: string | undefined, origins: RelayOptions['origins']): boolean {
  if (origins === 'any' || origin === undefined) return true;
  if (origins !== undefined) return origins.includes(origin);
  try {
    return LOCAL_PAGES.has(new URL(origin).hostname);
  } catch {
    return false;
  }
}

function visitorOf(request: IncomingMessage): RelayVisitor {
  return {
    remoteAddress: request.socket.remoteAddress ?? '',
    origin: request.headers.origin,
    url: request.url ?? '/',
  };
}

function listening(server: WebSocketServer): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('listening', resolve);
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(new ConfigurationError('io', error.message, {}, { cause: error }));
    });
  });
}

function urlOf(server: WebSocketServer, options: RelayOptions): string {
  const address = server.address() as AddressInfo | string | null;
  if (address === null || typeof address === 'string') return `ws+unix:${address ?? ''}`;
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `ws://${host}:${address.port}${options.path ?? ''}`;
}

/** Asks all guests in turn; whoever has not answered by the next time is gone. */
function startPings(server: WebSocketServer, pingMs: number): ReturnType<typeof setInterval> | undefined {
  if (pingMs <= 0) return undefined;
  const silent = new WeakSet<WebSocket>();
  server.on('connection', (socket) => {
    socket.on('pong', () => silent.delete(socket));
  });
  const timer = setInterval(() => {
    for (const socket of server.clients) {
      if (silent.has(socket)) socket.terminate();
      else {
        silent.add(socket);
        socket.ping();
      }
    }
  }, pingMs);
  timer.unref();
  return timer;
}
