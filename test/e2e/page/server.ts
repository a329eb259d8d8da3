/** Serves the page with its modules and the guest, and is the other end of its uplink: a TUN device. */
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import type { LinkPort } from '../../../lib/network/port.js';

const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
/** By the first folder of a path, where its files are. */
const FOLDERS: Readonly<Record<string, string>> = {
  dist: PROJECT,
  node_modules: PROJECT,
  page: join(PROJECT, 'test/e2e'),
  seabios: '/usr/share',
};
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

/** A port whose other side is the page that is connected. */
export class PagePort implements LinkPort {
  readonly link = 'ip';
  readonly mtu = 1500;
  onTransmit: LinkPort['onTransmit'];
  readonly #sockets: WebSocketServer;

  constructor(server: Server) {
    this.#sockets = new WebSocketServer({ server, path: '/uplink' });
    this.#sockets.on('connection', (socket) => {
      socket.on('message', (packet: Buffer) => this.onTransmit?.(packet));
    });
  }

  receive(packet: Uint8Array): void {
    for (const socket of this.#sockets.clients) socket.send(packet.slice());
  }

  close(): void {
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#sockets.close();
  }
}

/** Serves files; `files` has those that are not on the disk, by path. */
export function servePage(files: Readonly<Record<string, Uint8Array>>): Promise<Server> {
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url ?? '/', 'http://page').pathname);
    const folder = FOLDERS[path.split('/')[1] ?? ''];
    try {
      const bytes = files[path] ?? (folder === undefined ? undefined : await readFile(join(folder, path)));
      if (bytes === undefined) throw new Error('no such folder');
      response
        .writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream' })
        .end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

export function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
