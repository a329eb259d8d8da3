/** DNS servers outside, asked for guests. */
import { createSocket, type Socket } from 'node:dgram';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { askDnsServers, readServer } from '../../lib/node/dns-servers.js';

/** A question for `a.` with the id 7. */
const QUERY = Uint8Array.of(0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1);
const open: (Socket | Server)[] = [];

afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

/** A server on a port of its own; returns its address. */
async function serve(answer: (query: Buffer) => Uint8Array | undefined): Promise<string> {
  const socket = createSocket('udp4');
  open.push(socket);
  socket.on('message', (query, { port, address }) => {
    const given = answer(query);
    if (given !== undefined) socket.send(given, port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return `127.0.0.1:${socket.address().port}`;
}

/** The query as a response with a byte more. */
function respond(query: Uint8Array, flags: number, more: number): Uint8Array {
  const answer = Uint8Array.of(...query, more);
  answer[2] = flags;
  return answer;
}

test('the answer has the id of the question, which was asked with other ids and from other ports', async () => {
  const ids = new Set<number>();
  const server = await serve((query) => {
    ids.add(query.readUInt16BE(0));
    return respond(query, 0x81, 42);
  });
  const ask = askDnsServers({ servers: [server] });
  for (let i = 0; i < 8; i++) expect(await ask(QUERY)).toEqual(respond(QUERY, 0x81, 42));
  expect(ids.size).toBeGreaterThan(4);
});

test('the next server is asked when one does not answer, or answers something else', async () => {
  const silent = await serve(() => undefined);
  const confused = await serve((query) => {
    const answer = respond(query, 0x81, 1);
    answer[0] = (answer[0] as number) ^ 1;
    return answer;
  });
  const good = await serve((query) => respond(query, 0x81, 2));
  const ask = askDnsServers({ servers: [silent, confused, good], timeoutMs: 100 });
  expect((await ask(QUERY))?.at(-1)).toBe(2);
});

test('nobody answers: there is no answer', async () => {
  const closed = createSocket('udp4');
  await new Promise<void>((resolve) => closed.bind(0, '127.0.0.1', resolve));
  const { port } = closed.address();
  closed.close();
  expect(await askDnsServers({ servers: [`127.0.0.1:${port}`], timeoutMs: 100 })(QUERY)).toBeUndefined();
  expect(await askDnsServers({ servers: ['127.0.0.1:1'] })(QUERY.subarray(0, 5))).toBeUndefined();
});

test('an answer that was cut is asked for again over TCP, in pieces or whole', async () => {
  const server = createServer((socket) => {
    socket.on('data', (asked: Buffer) => {
      const answer = respond(asked.subarray(2), 0x81, 9);
      const message = Uint8Array.of(0, answer.length, ...answer);
      socket.write(message.subarray(0, 1));
      setTimeout(() => socket.end(message.subarray(1)), 5);
    });
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const cut = createSocket('udp4');
  open.push(cut);
  cut.on('message', (query, from) => cut.send(respond(query, 0x83, 1), from.port, from.address));
  await new Promise<void>((resolve) => cut.bind(port, '127.0.0.1', resolve));
  expect(await askDnsServers({ servers: [`127.0.0.1:${port}`] })(QUERY)).toEqual(respond(QUERY, 0x81, 9));
});

test.each([
  ['1.1.1.1', { address: '1.1.1.1', port: 53 }],
  ['1.1.1.1:5353', { address: '1.1.1.1', port: 5353 }],
  ['2606:4700::1111', { address: '2606:4700::1111', port: 53 }],
  ['[2606:4700::1111]:54', { address: '2606:4700::1111', port: 54 }],
])('%s is a server', (text, expected) => {
  expect(readServer(text)).toEqual(expected);
});

test.each(['', 'one.one', '1.1.1.1:0', '1.1.1.1:65536', '[1.1.1.1]:53', '1.1.1.1:', ':53'])(
  "'%s' is none",
  (text) => {
    expect(() => readServer(text)).toThrow('not a server');
  },
);
