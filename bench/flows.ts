/**
 * Flows for measurements: distinct IPv4 connections of 1,024 ports per client, each client with a server of its own,
 * so that MASQUERADE can keep every source port. Seeded, in a random order of use.
 */
import { KEY_WORDS } from '../lib/conntrack/tuples.js';
import { SeededRandom } from '../lib/random.js';
import { SEED } from './subject.js';

const TCP = 6;

export function clientOf(flow: number): number {
  return 0x0a010000 + (flow >>> 10);
}

export function serverOf(flow: number): number {
  return 0xc6120000 + (flow >>> 10);
}

export function clientPortOf(flow: number): number {
  return 20_000 + (flow & 1023);
}

/** Writes the original key of a flow to `key`; `port` is the server's. */
export function originalKey(key: Int32Array, flow: number, port = 443): void {
  key[0] = clientOf(flow);
  key[4] = serverOf(flow);
  key[8] = (clientPortOf(flow) << 16) | port;
  key[9] = TCP;
}

/** Writes the reply key of a flow to `key`. */
export function replyKey(key: Int32Array, flow: number, port = 443): void {
  key[0] = serverOf(flow);
  key[4] = clientOf(flow);
  key[8] = (port << 16) | clientPortOf(flow);
  key[9] = TCP;
}

/** A key array, all zero. */
export function emptyKey(): Int32Array {
  return new Int32Array(KEY_WORDS);
}

/** The numbers 0 to `count` - 1, shuffled. */
export function shuffled(count: number): Int32Array {
  const random = new SeededRandom(SEED);
  const order = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.pick(0, i + 1);
    const held = order[i] as number;
    order[i] = order[j] as number;
    order[j] = held;
  }
  return order;
}
