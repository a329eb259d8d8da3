/**
 * connlimit: how many connections the packet's network has open through this rule. Hot on the packets that the rule's
 * other conditions let through, usually one per connection.
 *
 * Each rule remembers the tuples that it has counted, per masked address and zone; a tuple whose connection is gone, or
 * is a TCP connection that has closed, is forgotten when its network is counted again. The lists are arrays that only
 * grow; a network without connections is taken out when it is met.
 */
import type { EntryId } from '../../conntrack/entries.js';
import type { Tracker } from '../../conntrack/tracker.js';
import { copyKey, equalKeys, KEY_KIND, KEY_WORDS, packKey } from '../../conntrack/tuples.js';
import type { Packet } from '../../wire/packet.js';
import type { ConnlimitMatch } from '../ast.js';
import type { Match, RuleContext } from '../context.js';

const NIL = -1;
const TCP = 6;
const TCP_TIME_WAIT = 7;
const TCP_CLOSE = 8;
const TICK_SHIFT = 2;
/** Linux stops looking after it has forgotten more than so many at a time. */
const FORGET_MOST = 8;

/** Connections of one network. */
class Network {
  readonly address = new Int32Array(4);
  readonly zone: number;
  /** Tuples counted; the first `count` are valid. */
  readonly keys: Int32Array[] = [];
  count = 0;
  /** Tick of the last time that something was added; within it nothing is looked at again. */
  tick = 0;

  constructor(address: Int32Array, zone: number) {
    this.address.set(address);
    this.zone = zone;
  }

  has(address: Int32Array, zone: number): boolean {
    if (zone !== this.zone) return false;
    for (let i = 0; i < 4; i++) if (this.address[i] !== address[i]) return false;
    return true;
  }

  add(key: Int32Array, tick: number): void {
    if (this.count === this.keys.length) this.keys.push(new Int32Array(KEY_WORDS));
    copyKey(this.keys[this.count++] as Int32Array, key);
    this.tick = tick;
  }

  removeAt(index: number): void {
    const removed = this.keys[index] as Int32Array;
    this.count--;
    for (let i = index; i < this.count; i++) this.keys[i] = this.keys[i + 1] as Int32Array;
    this.keys[this.count] = removed;
  }
}

export class ConnectionLimitMatch implements Match {
  readonly #tracker: Tracker;
  readonly #limit: number;
  readonly #negated: 0 | 1;
  readonly #mask: Int32Array;
  readonly #at: number;
  /** By hash of the masked address. */
  readonly #networks = new Map<number, Network[]>();
  readonly #address = new Int32Array(4);
  readonly #key = new Int32Array(KEY_WORDS);

  constructor(spec: ConnlimitMatch, tracker: Tracker) {
    this.#tracker = tracker;
    this.#limit = spec.limit;
    this.#negated = spec.compare === 'upto' ? 1 : 0;
    this.#mask = Int32Array.from(spec.mask);
    this.#at = spec.side === 'source' ? 0 : 4;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    const key = this.#key;
    const table = this.#tracker.table(packet.version);
    if (packet.entry !== NIL) {
      table.entries.getKey(packet.entry as EntryId, 0, key);
    } else if (
      packKey(key, packet.addresses, packet.protocol, packet, packet.transport, packet.end, 0) === 0
    ) {
      context.hotdrop = 1;
      return 0;
    }
    const zone = (key[KEY_KIND] as number) >>> 8;
    for (let i = 0; i < 4; i++) {
      this.#address[i] = (packet.addresses[this.#at + i] as number) & (this.#mask[i] as number);
    }
    const network = this.#network(zone);
    this.#count(network, packet.version, context.now);
    return ((network.count > this.#limit ? 1 : 0) ^ this.#negated) as 0 | 1;
  }

  #network(zone: number): Network {
    const address = this.#address;
    const hash =
      ((address[0] as number) ^ (address[1] as number) ^ (address[2] as number) ^ (address[3] as number)) | 0;
    let found = this.#networks.get(hash);
    if (found === undefined) this.#networks.set(hash, (found = []));
    for (let i = 0; i < found.length; i++) {
      const network = found[i] as Network;
      if (network.has(address, zone)) return network;
    }
    const network = new Network(address, zone);
    found.push(network);
    return network;
  }

  /** Adds the tuple in scratch if it is not there, and forgets those that are over. */
  #count(network: Network, version: number, now: number): void {
    const tick = now >> TICK_SHIFT;
    const key = this.#key;
    if (network.count > 0 && network.tick !== tick) {
      const table = this.#tracker.table(version);
      const entries = table.entries;
      let i = 0;
      let forgotten = 0;
      while (i < network.count && forgotten <= FORGET_MOST) {
        const counted = network.keys[i] as Int32Array;
        const tuple = table.find(counted, now);
        if (tuple === NIL) {
          network.removeAt(i);
          forgotten++;
          continue;
        }
        if (equalKeys(counted, key) === 1) return;
        const entry = entries.entryOf(tuple);
        const state = entries.state(entry);
        if (entries.protocol(entry) === TCP && (state === TCP_TIME_WAIT || state === TCP_CLOSE)) {
          network.removeAt(i);
          forgotten++;
          continue;
        }
        i++;
      }
    }
    network.add(key, tick);
  }
}
