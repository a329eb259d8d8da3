/**
 * DNS servers of the outside, asked on behalf of guests: what a gateway's DNS service answers with. Cold.
 *
 *   createGateway({ ..., dns: { answer: askDnsServers({ servers: ['1.1.1.1'] }) } })
 *
 * Each query leaves from a socket, and so a port, of its own, with an id that the guest did not choose: answers cannot be
 * guessed. Answers that were cut are asked for again over TCP. Nothing is cached.
 */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { getServers } from 'node:dns';
import { connect, isIP } from 'node:net';
import { ConfigurationError } from '../errors.js';

const DNS_PORT = 53;
const HEADER_BYTES = 12;
const TRUNCATED = 0x02;
const RESPONSE = 0x80;
const LONGEST_ANSWER = 0xffff;
const DEFAULT_TIMEOUT_MS = 2000;

export interface DnsServersOptions {
  /** Asked in turn until one answers: `1.1.1.1`, `1.1.1.1:5353`, `[2606:4700:4700::1111]:53`. Default: the machine's. */
  readonly servers?: readonly string[];
  /** How long one server may take. Default 2000. */
  readonly timeoutMs?: number;
}

export interface DnsServer {
  readonly address: string;
  readonly port: number;
}

/** A server's address as text. Throws a ConfigurationError. */
export function readServer(text: string): DnsServer {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? text;
  const port = digits === undefined ? DNS_PORT : Number(digits);
  const isGood = bracketed === undefined ? isIP(address) !== 0 : isIP(address) === 6;
  if (!isGood || port < 1 || port > 0xffff) {
    throw new ConfigurationError('value', 'not a server', {
      word: text,
      expected: 'ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT',
    });
  }
  return { address, port };
}

/** A function for the gateway's option `dns.answer`. Throws a ConfigurationError. */
export function askDnsServers(
  options: DnsServersOptions = {},
): (query: Uint8Array) => Promise<Uint8Array | undefined> {
  const servers = (options.servers ?? getServers()).map(readServer);
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  return async (query) => {
    if (query.length < HEADER_BYTES) return undefined;
    for (const server of servers) {
      const answer = await ask(server, query, timeoutMs);
      if (answer !== undefined) return answer;
    }
    return undefined;
  };
}

async function ask(server: DnsServer, query: Uint8Array, timeoutMs: number): Promise<Uint8Array | undefined> {
  const id = randomInt(0x1_0000);
  const asked = withId(query, id);
  const signal = AbortSignal.timeout(timeoutMs);
  let answer = await overUdp(server, asked, signal);
  if (answer !== undefined && ((answer[2] as number) & TRUNCATED) !== 0) {
    answer = (await overTcp(server, asked, signal)) ?? answer;
  }
  return answer === undefined
    ? undefined
    : withId(answer, ((query[0] as number) << 8) | (query[1] as number));
}

function withId(message: Uint8Array, id: number): Uint8Array {
  const copy = new Uint8Array(message);
  copy[0] = id >> 8;
  copy[1] = id;
  return copy;
}

function isAnswer(message: Uint8Array, asked: Uint8Array): boolean {
  return (
    message.length >= HEADER_BYTES &&
    message[0] === asked[0] &&
    message[1] === asked[1] &&
    ((message[2] as number) & RESPONSE) !== 0
  );
}

function overUdp(
  { address, port }: DnsServer,
  asked: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  return new Promise((done) => {
    const socket = createSocket({ type: isIP(address) === 6 ? 'udp6' : 'udp4' });
    const end = (answer?: Uint8Array): void => {
      signal.removeEventListener('abort', onAbort);
      socket.removeAllListeners().on('error', () => {});
      socket.close();
      done(answer);
    };
    const onAbort = (): void => end();
    signal.addEventListener('abort', onAbort);
    socket.on('error', () => end());
    socket.on('message', (message) => {
      if (isAnswer(message, asked)) end(message);
    });
    // Connected: answers of others are not heard, and a closed port is an error at once.
    socket.connect(port, address, () => socket.send(asked));
  });
}

/** Over TCP messages have two bytes of length before them (RFC 7766 section 8). */
function overTcp(
  { address, port }: DnsServer,
  asked: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  return new Promise((done) => {
    const socket = connect({ host: address, port, signal });
    let received = new Uint8Array(0);
    const end = (answer?: Uint8Array): void => {
      socket.removeAllListeners().on('error', () => {});
      socket.destroy();
      done(answer);
    };
    socket.on('error', () => end());
    socket.on('close', () => end());
    socket.on('data', (piece: Uint8Array) => {
      const joined = new Uint8Array(received.length + piece.length);
      joined.set(received);
      joined.set(piece, received.length);
      received = joined;
      const length =
        received.length < 2 ? LONGEST_ANSWER : ((received[0] as number) << 8) | (received[1] as number);
      if (received.length < 2 + length) return;
      const message = received.subarray(2, 2 + length);
      end(isAnswer(message, asked) ? message : undefined);
    });
    socket.write(Uint8Array.of(asked.length >> 8, asked.length & 0xff, ...asked));
  });
}
