/**
 * QEMU's `-netdev stream` over a unix socket as a link: length-prefixed Ethernet frames, from either side.
 *
 *   listen:   -netdev stream,id=n,server=off,addr.type=unix,addr.path=PATH
 *   connect:  -netdev stream,id=n,server=on,addr.type=unix,addr.path=PATH
 *
 * One peer at a time. The path is the access control: whoever may write to the socket is on the network, so it
 * belongs into a folder of the guest's owner. Does not speak QEMU's `dgram` form.
 */
import { lstatSync, unlinkSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { type Attachment, needEthernet, noTraffic } from '../network/attachment.js';
import type { LinkPort } from '../network/port.js';
import { fileError } from './files.js';
import { claimForLink, FramedLink, type FramingOptions } from './framed-link.js';

export interface FramedPeerOptions extends FramingOptions {
  /** The unix socket. */
  readonly path: string;
  /** A peer has come, or gone. */
  readonly onPeer?: (state: 'connected' | 'disconnected') => void;
}

export interface ConnectOptions extends FramedPeerOptions {
  /** Try again this long after the connection ends or cannot be made; by default it is not tried again. */
  readonly reconnectMs?: number;
}

/** A port with a stream socket behind it. */
export interface FramedAttachment extends Attachment {
  readonly isConnected: boolean;
  /** Resolves when nothing of it is left. */
  close(): Promise<void>;
}

/**
 * Waits for QEMU on a socket that it makes; resolves once it listens. A socket that a dead process left behind is
 * replaced. A second peer is refused while the first is there. Throws a ConfigurationError if the path cannot be had.
 */
export async function listenForQemu(port: LinkPort, options: FramedPeerOptions): Promise<FramedAttachment> {
  needEthernet(port, 'QEMU');
  const counters = noTraffic();
  let link: FramedLink | undefined;
  let isClosed = false;
  const server = createServer((socket) => {
    if (link !== undefined || isClosed) {
      socket.destroy();
      return;
    }
    const made = new FramedLink(socket, port, counters, options);
    link = made;
    socket.on('close', () => {
      if (link === made) link = undefined;
      options.onPeer?.('disconnected');
    });
    options.onPeer?.('connected');
  });
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    isClosed = true;
    closing ??= new Promise((resolve) => {
      release();
      link?.close();
      link = undefined;
      server.close(() => resolve());
    });
    return closing;
  };
  const release = claimForLink(port, options, counters, () => link, close);
  try {
    await listen(server, options.path);
  } catch (error) {
    release();
    throw fileError(error, options.path);
  }
  return {
    counters,
    get isConnected() {
      return link !== undefined;
    },
    close,
  };
}

/**
 * Connects to a QEMU that listens, or to anything else that frames alike. Resolves once connected; with
 * `reconnectMs` at once. Throws a ConfigurationError if the first connection fails and is not tried again.
 */
export async function connectToQemu(port: LinkPort, options: ConnectOptions): Promise<FramedAttachment> {
  needEthernet(port, 'QEMU');
  if (options.reconnectMs !== undefined) return keepConnected(port, options);
  const counters = noTraffic();
  const socket = await connectSocket(options.path);
  return attachSocket(port, socket, options, counters);
}

/** An attachment for a connection that is already there; ends with it. */
export function attachSocket(
  port: LinkPort,
  socket: Socket,
  options: Omit<FramedPeerOptions, 'path'> = {},
  counters = noTraffic(),
): FramedAttachment {
  let link: FramedLink | undefined;
  const close = (): Promise<void> => {
    release();
    link?.close();
    return gone;
  };
  const release = claimForLink(port, options, counters, () => link, close);
  const gone = new Promise<void>((resolve) => {
    socket.on('close', () => {
      link = undefined;
      options.onPeer?.('disconnected');
      resolve();
    });
  });
  link = new FramedLink(socket, port, counters, options);
  options.onPeer?.('connected');
  return {
    counters,
    get isConnected() {
      return link !== undefined;
    },
    close,
  };
}

/** A connection to a unix socket. Throws a ConfigurationError. */
export function connectSocket(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path });
    const onError = (error: Error): void => reject(fileError(error, path));
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      resolve(socket);
    });
  });
}

function keepConnected(port: LinkPort, options: ConnectOptions): FramedAttachment {
  const counters = noTraffic();
  let link: FramedLink | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let connecting: Socket | undefined;
  let isClosed = false;
  const close = async (): Promise<void> => {
    isClosed = true;
    release();
    clearTimeout(timer);
    const socket = connecting;
    if (socket === undefined) return;
    const gone = new Promise((resolve) => socket.once('close', resolve));
    if (link === undefined) socket.destroy();
    else link.close();
    await gone;
  };
  const release = claimForLink(port, options, counters, () => link, close);
  const connect = (): void => {
    timer = undefined;
    const socket = createConnection({ path: options.path });
    connecting = socket;
    const note = (error: Error): void => {
      counters.errors++;
      counters.lastError = error;
    };
    socket.once('error', note);
    socket.once('connect', () => {
      socket.off('error', note);
      link = new FramedLink(socket, port, counters, options);
      options.onPeer?.('connected');
    });
    socket.once('close', () => {
      if (link !== undefined) options.onPeer?.('disconnected');
      link = undefined;
      connecting = undefined;
      if (!isClosed) timer = setTimeout(connect, options.reconnectMs);
    });
  };
  connect();
  return {
    counters,
    get isConnected() {
      return link !== undefined;
    },
    close,
  };
}

async function listen(server: Server, path: string): Promise<void> {
  try {
    await listenOnce(server, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || !(await isLeftBehind(path))) throw error;
    unlinkSync(path);
    await listenOnce(server, path);
  }
}

function listenOnce(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** True for a socket that nobody listens on. */
function isLeftBehind(path: string): Promise<boolean> {
  if (!lstatSync(path).isSocket()) return Promise.resolve(false);
  return new Promise((resolve) => {
    const socket = createConnection({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
}
