/**
 * hashlimit: a token bucket per address or port, in tables that rules share by name. Hot on the packets that the rule's
 * other conditions let through; a new key allocates its bucket.
 *
 * Credits are those of Linux, so that the same packets pass. Of packets they are 64-bit numbers, a tick of the clock
 * (4 ms) brings 2^39: they are kept as whole ticks and the rest below. Of bytes a tick brings 2^24, and a bucket is
 * full with one second's; a burst is a number of times that an empty bucket is filled up at once.
 * A key that no packet had for the table's time of expiry goes when the table is next swept, not before.
 */
import type { Packet } from '../../wire/packet.js';
import type { HashlimitMatch } from '../ast.js';
import type { Match, RuleContext } from '../context.js';
import type { Release, SharedStates } from '../shared.js';

const TICK_MS = 4;
const TICKS_PER_SECOND = 250;
/** Credits of a tick: 2^39 = REST_SIZE. */
const REST_SIZE = 2 ** 39;
/** Credits of a millionth of a second: 2^39 * 250 / 10^6, rounded down as Linux does. */
const CREDITS_PER_MICROSECOND = 137_438_953n;
const BYTE_CREDITS_PER_TICK = 2 ** 24;
const BYTE_CREDITS_FULL = BYTE_CREDITS_PER_TICK * TICKS_PER_SECOND;
/** Bytes are counted in chunks of 16. */
const CHUNK_SHIFT = 4;
const UINT32_MAX = 0xffffffff;
const MICROSECONDS = 1_000_000;

const KEY_WORDS = 9;
const SOURCE_PORT = 8;

const TCP = 6;
const UDP = 17;
const DCCP = 33;
const ESP = 50;
const AUTHENTICATION = 51;
const SCTP = 132;
const UDPLITE = 136;

/** Credits of so many millionths of a second, by 64-bit arithmetic, as ticks and the rest. */
function creditsOf(microseconds: bigint): { readonly ticks: number; readonly rest: number } {
  const credits = BigInt.asUintN(64, BigInt.asUintN(64, microseconds) * CREDITS_PER_MICROSECOND);
  return { ticks: Number(credits >> 39n), rest: Number(credits & BigInt(REST_SIZE - 1)) };
}

class Bucket {
  readonly key: Int32Array;
  expiresTick = 0;
  lastTick: number;
  /** Packets: ticks and rest. Bytes: credits in `ticks`, and fillings left in `rest`. Rate: count in `ticks`. */
  ticks = 0;
  rest = 0;
  /** With a rate: 1 if the interval before was above it. */
  wasAbove = 0;

  constructor(key: Int32Array, tick: number) {
    this.key = key.slice();
    this.lastTick = tick;
  }

  is(key: Int32Array): boolean {
    for (let i = 0; i < KEY_WORDS; i++) if (this.key[i] !== key[i]) return false;
    return true;
  }
}

/** The settings are those of the rule that made the table. */
export class HashlimitTable {
  readonly spec: HashlimitMatch;
  readonly #cost: { readonly ticks: number; readonly rest: number };
  readonly #cap: { readonly ticks: number; readonly rest: number };
  /** Bytes: credits that a chunk costs. */
  readonly #chunkCost: number;
  readonly #fillings: number;
  /** Rate: packets or bytes per second, and the most that may come at once. */
  readonly #rate: number;
  readonly #rateBurst: number;
  readonly #intervalTicks: number;
  readonly #expireTicks: number;
  readonly #sweepTicks: number;
  #nextSweep = Number.NaN;
  readonly #buckets = new Map<number, Bucket[]>();
  #count = 0;

  constructor(spec: HashlimitMatch) {
    this.spec = spec;
    const isBytes = spec.unit === 'bytes';
    const byteCost = Math.floor(UINT32_MAX / (Math.floor(spec.average / 16) + 1));
    this.#cost = creditsOf(BigInt(spec.average));
    this.#cap = creditsOf(BigInt(spec.average) * BigInt(spec.burst));
    this.#chunkCost = Number((BigInt(byteCost) * BigInt(BYTE_CREDITS_FULL)) >> 32n);
    this.#fillings = isBytes && spec.average > 0 ? Math.ceil(spec.burst / spec.average) : 0;
    if (isBytes) {
      this.#rate = (Math.floor(UINT32_MAX / byteCost) - 1) * 16;
      this.#rateBurst = this.#fillings > 0 ? this.#fillings * this.#rate : this.#rate;
    } else {
      this.#rate = Math.floor(MICROSECONDS / spec.average);
      this.#rateBurst = spec.burst + this.#rate;
    }
    this.#intervalTicks = spec.rateIntervalSeconds * TICKS_PER_SECOND;
    this.#expireTicks = Math.ceil(spec.expireMs / TICK_MS);
    this.#sweepTicks = Math.max(1, Math.ceil(spec.gcIntervalMs / TICK_MS));
  }

  /** The bucket of a key, made if there is none; undefined if the table is full. Its time is brought up to now. */
  bucket(key: Int32Array, tick: number): Bucket | undefined {
    this.#sweep(tick);
    const hash = hashOf(key);
    let found = this.#buckets.get(hash);
    if (found !== undefined) {
      for (let i = 0; i < found.length; i++) {
        const bucket = found[i] as Bucket;
        if (!bucket.is(key)) continue;
        bucket.expiresTick = tick + this.#expireTicks;
        this.#refill(bucket, tick);
        return bucket;
      }
    }
    if (this.spec.max > 0 && this.#count >= this.spec.max) return undefined;
    const bucket = new Bucket(key, tick);
    bucket.expiresTick = tick + this.#expireTicks;
    this.#fill(bucket);
    if (found === undefined) this.#buckets.set(hash, (found = []));
    found.push(bucket);
    this.#count++;
    return bucket;
  }

  /** Takes what a packet of so many bytes costs; 1 if there was enough. */
  take(bucket: Bucket, bytes: number): 0 | 1 {
    if (this.spec.rateMatch) {
      bucket.ticks += this.spec.unit === 'bytes' ? bytes : 1;
      return bucket.wasAbove === 0 && bucket.ticks <= this.#rateBurst ? 1 : 0;
    }
    return this.spec.unit === 'bytes' ? this.#takeBytes(bucket, bytes) : this.#takePacket(bucket);
  }

  #takePacket(bucket: Bucket): 0 | 1 {
    const { ticks, rest } = this.#cost;
    if (bucket.ticks < ticks || (bucket.ticks === ticks && bucket.rest < rest)) return 0;
    bucket.ticks -= ticks;
    bucket.rest -= rest;
    if (bucket.rest < 0) {
      bucket.rest += REST_SIZE;
      bucket.ticks--;
    }
    return 1;
  }

  #takeBytes(bucket: Bucket, bytes: number): 0 | 1 {
    const cost = Math.min(((bytes >>> CHUNK_SHIFT) + 1) * this.#chunkCost, BYTE_CREDITS_FULL);
    if (bucket.ticks < cost && bucket.rest > 0) {
      bucket.rest--;
      bucket.ticks = BYTE_CREDITS_FULL;
    }
    if (bucket.ticks < cost) return 0;
    bucket.ticks -= cost;
    return 1;
  }

  #fill(bucket: Bucket): void {
    if (this.spec.rateMatch) return;
    if (this.spec.unit === 'bytes') {
      bucket.ticks = BYTE_CREDITS_FULL;
      bucket.rest = this.#fillings;
    } else {
      bucket.ticks = this.#cap.ticks;
      bucket.rest = this.#cap.rest;
    }
  }

  #refill(bucket: Bucket, tick: number): void {
    const passed = tick - bucket.lastTick;
    if (passed === 0) return;
    if (this.spec.rateMatch) {
      if (passed < this.#intervalTicks) return;
      bucket.lastTick = tick;
      bucket.wasAbove = bucket.ticks * this.#intervalTicks > passed * this.#rate ? 1 : 0;
      bucket.ticks = 0;
      return;
    }
    bucket.lastTick = tick;
    if (this.spec.unit === 'bytes') {
      bucket.ticks = Math.min(bucket.ticks + passed * BYTE_CREDITS_PER_TICK, BYTE_CREDITS_FULL);
      return;
    }
    bucket.ticks += passed;
    const { ticks, rest } = this.#cap;
    if (bucket.ticks > ticks || (bucket.ticks === ticks && bucket.rest > rest)) this.#fill(bucket);
  }

  /** Removes what has expired when the table was last due to be swept. */
  #sweep(tick: number): void {
    if (Number.isNaN(this.#nextSweep)) this.#nextSweep = tick + this.#sweepTicks;
    if (tick < this.#nextSweep) return;
    const swept = tick - ((tick - this.#nextSweep) % this.#sweepTicks);
    this.#nextSweep = swept + this.#sweepTicks;
    for (const [hash, buckets] of this.#buckets) {
      const kept = buckets.filter(({ expiresTick }) => swept < expiresTick);
      this.#count -= buckets.length - kept.length;
      if (kept.length === 0) this.#buckets.delete(hash);
      else if (kept.length < buckets.length) this.#buckets.set(hash, kept);
    }
  }
}

function hashOf(key: Int32Array): number {
  let hash = 0x9e3779b1 | 0;
  for (let i = 0; i < KEY_WORDS; i++) {
    hash = Math.imul(hash ^ (key[i] as number), 0x85ebca6b);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** [4] words with the first `prefix` bits set. */
function prefixWords(prefix: number): Int32Array {
  return Int32Array.from([0, 1, 2, 3], (i) => {
    const bits = Math.min(32, Math.max(0, prefix - 32 * i));
    return bits === 0 ? 0 : -1 << (32 - bits);
  });
}

export class HashlimitTableMatch implements Match {
  readonly #table: HashlimitTable;
  readonly #negated: 0 | 1;
  /** [8] masks of source and destination, zero for an end that is no key. */
  readonly #mask = new Int32Array(8);
  readonly #sourcePort: boolean;
  readonly #destinationPort: boolean;
  readonly #key = new Int32Array(KEY_WORDS);

  constructor(spec: HashlimitMatch, family: number, shared: SharedStates, releases: Release[]) {
    const name = `hashlimit/${family}/${spec.name}`;
    this.#table = shared.use(name, () => new HashlimitTable(spec), releases);
    this.#negated = spec.compare === 'above' ? 1 : 0;
    const settings = this.#table.spec;
    if (settings.keys.includes('srcip')) this.#mask.set(prefixWords(settings.sourcePrefix), 0);
    if (settings.keys.includes('dstip')) this.#mask.set(prefixWords(settings.destinationPrefix), 4);
    this.#sourcePort = settings.keys.includes('srcport');
    this.#destinationPort = settings.keys.includes('dstport');
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    const tick = Math.floor(context.nowMs / TICK_MS);
    const bucket = this.#readKey(packet, context) === 1 ? this.#table.bucket(this.#key, tick) : undefined;
    if (bucket === undefined) {
      context.hotdrop = 1;
      return 0;
    }
    return (this.#table.take(bucket, packet.end - packet.start) ^ this.#negated) as 0 | 1;
  }

  /** Fills the key in scratch; 0 if the packet ends before its ports. */
  #readKey(packet: Packet, context: RuleContext): 0 | 1 {
    const key = this.#key;
    for (let i = 0; i < 8; i++) key[i] = (packet.addresses[i] as number) & (this.#mask[i] as number);
    key[SOURCE_PORT] = 0;
    if (!this.#sourcePort && !this.#destinationPort) return 1;
    if (context.protocol < 0) return 0;
    if (packet.version === 6 && context.fragmentOffset !== 0) return 1;
    const offset = portsOffset(context.protocol);
    if (offset < 0) return 1;
    const at = context.transport + offset;
    if (at + 4 > packet.end) return 0;
    key[SOURCE_PORT] =
      (this.#sourcePort ? packet.u16(at) << 16 : 0) | (this.#destinationPort ? packet.u16(at + 2) : 0);
    return 1;
  }
}

/** Where a protocol's ports, or what Linux takes for them, stand in its header; -1 without. */
function portsOffset(protocol: number): number {
  switch (protocol) {
    case TCP:
    case UDP:
    case DCCP:
    case ESP:
    case SCTP:
    case UDPLITE:
      return 0;
    case AUTHENTICATION:
      return 4;
    default:
      return -1;
  }
}
