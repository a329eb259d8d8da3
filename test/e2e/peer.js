/**
 * The lab's own program for stations.
 *
 *   node peer.js http ADDRESS PORT       serves; see below
 *   node peer.js udp ADDRESS PORT        tells each sender its address, and what it sent
 *   node peer.js ask-udp ADDRESS PORT TEXT...          sends each from one socket, prints the answers
 *   node peer.js many URL COUNT          COUNT connections at once, all open before the first request; prints JSON
 *   node peer.js send ADDRESS PORT BYTES           sends so many random bytes over TCP; prints both ends' SHA-256
 *   node peer.js sink ADDRESS PORT       takes them
 *
 * HTTP: `/who` the client's address as the server sees it; `/bytes/N` N bytes that look random; POST `/sum` the
 * SHA-256 of what came.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer, get } from 'node:http';
import { connect, createServer as createTcpServer, isIPv6 } from 'node:net';

const [kind, ...words] = process.argv.slice(2);

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const family = (address) => (isIPv6(address) ? 'udp6' : 'udp4');

function serveHttp(address, port) {
  const server = createServer((request, response) => {
    const [, what, count] = request.url.split('/');
    const { remoteAddress, remotePort } = request.socket;
    if (what === 'who') response.end(`${remoteAddress} ${remotePort}\n`);
    else if (what === 'bytes') {
      const bytes = randomBytes(Number(count));
      response.setHeader('x-sha256', sha256(bytes));
      response.end(bytes);
    } else if (what === 'sum') {
      const hash = createHash('sha256');
      request.on('data', (chunk) => hash.update(chunk));
      request.on('end', () => response.end(hash.digest('hex')));
    } else response.writeHead(404).end();
  });
  server.listen({ host: address, port: Number(port), backlog: 4096 }, () => console.log('ready'));
}

function serveUdp(address, port) {
  const socket = createSocket(family(address));
  socket.on('message', (message, from) => {
    socket.send(`${from.address} ${from.port} ${sha256(message)}`, from.port, from.address);
  });
  socket.bind(Number(port), address, () => console.log('ready'));
}

function askUdp(address, port, ...sizes) {
  const socket = createSocket(family(address));
  const expected = sizes.map((size) => randomBytes(Number(size)));
  let answers = 0;
  socket.on('message', (message) => {
    const [host, from, sum] = String(message).split(' ');
    const index = expected.findIndex((bytes) => sha256(bytes) === sum);
    console.log(index < 0 ? 'changed' : `${sizes[index]} ${host} ${from}`);
    if (++answers === sizes.length) socket.close();
  });
  for (const bytes of expected) socket.send(bytes, Number(port), address);
  setTimeout(() => process.exit(answers === sizes.length ? 0 : 1), 8000).unref();
}

async function connectMany(url, count) {
  const { hostname, port } = new URL(url);
  const to = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80) };
  const sockets = await Promise.all(
    Array.from(
      { length: Number(count) },
      () =>
        new Promise((resolve, reject) => {
          const socket = connect(to, () => resolve(socket));
          socket.on('error', reject);
        }),
    ),
  );
  const seen = await Promise.all(
    sockets.map(
      (socket) =>
        new Promise((resolve, reject) => {
          const request = get(url, { createConnection: () => socket }, (response) => {
            let text = '';
            response.on('data', (chunk) => (text += chunk));
            response.on('end', () => resolve(text.trim()));
          });
          request.on('error', reject);
        }),
    ),
  );
  console.log(JSON.stringify({ answers: seen.length, clients: new Set(seen).size, first: seen[0] }));
  process.exit(0);
}

function serveSink(address, port) {
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    const hash = createHash('sha256');
    socket.on('error', () => {});
    socket.on('data', (chunk) => hash.update(chunk));
    socket.on('end', () => socket.end(hash.digest('hex')));
  });
  server.listen({ host: address, port: Number(port) }, () => console.log('ready'));
}

function send(address, port, count) {
  const bytes = randomBytes(Number(count));
  console.log(sha256(bytes));
  const socket = connect({ host: address, port: Number(port) }, () => socket.end(bytes));
  socket.on('data', (chunk) => console.log(String(chunk)));
}

const kinds = {
  http: serveHttp,
  udp: serveUdp,
  'ask-udp': askUdp,
  many: connectMany,
  sink: serveSink,
  send,
};
await kinds[kind](...words);
