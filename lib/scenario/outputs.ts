/**
 * Packets that came out of the router, in the form in which traces record them. Cold.
 *
 * A packet counts as made by the router (`gen`) if its IPv4 id is none of those injected so far, or if it leaves with
 * a TTL or hop limit of exactly 64 while the injected packet's own was not 65: what a recorder outside the router can
 * know. Random IPv4 ids of such packets, and IPv6 fragment ids that were not injected, are replaced by 0.
 * Neighbour discovery and MLD are no reaction to a step and are left out.
 */
import { checksum, setU16, u16, u32 } from './fields.js';
import { formatHex } from './hex.js';
import type { TracePacket } from './trace.js';

const FRAGMENT = 44;
const ICMPV6 = 58;
const OWN_TTL = 64;

/** A packet as the router sent it; `bytes` is a copy. */
export interface SentPacket {
  /** Place of the interface in the trace's list. */
  readonly interface: number;
  readonly bytes: Uint8Array;
}

export class OutputRecorder {
  readonly #names: readonly string[];
  readonly #ids4 = new Set<number>();
  readonly #ids6 = new Set<number>();

  /** `names` of the interfaces in the trace's order. */
  constructor(names: readonly string[]) {
    this.#names = names;
  }

  /** Notes the ids of a packet that is about to be injected. */
  inject(packet: Uint8Array): void {
    const version = (packet[0] ?? 0) >> 4;
    if (version === 4 && packet.length >= 6) this.#ids4.add(u16(packet, 4));
    if (version === 6 && packet.length >= 48 && packet[6] === FRAGMENT) this.#ids6.add(u32(packet, 44));
  }

  /**
   * The packets that came out after `injected` (empty when only time went by), by interface, in order within one.
   */
  record(sent: readonly SentPacket[], injected: Uint8Array, origin: 'link' | 'local'): TracePacket[] {
    let ttl = 0;
    if (injected.length >= 20) ttl = injected[0]! >> 4 === 4 ? injected[8]! : injected[7]!;
    const mayMake = origin === 'link' && ttl !== OWN_TTL + 1;
    const recorded: TracePacket[] = [];
    for (const [place, name] of this.#names.entries()) {
      for (const one of sent) {
        if (one.interface === place && !isNoise(one.bytes))
          recorded.push(this.#one(name, one.bytes, mayMake));
      }
    }
    return recorded;
  }

  #one(name: string, packet: Uint8Array, mayMake: boolean): TracePacket {
    const version = (packet[0] ?? 0) >> 4;
    let isMade = false;
    let ipid: { ipid?: 'norm' } = {};
    let fragid: { fragid?: 'norm' } = {};
    let bytes = packet;
    if (version === 4 && packet.length >= 20) {
      const id = u16(packet, 4);
      isMade = !this.#ids4.has(id) || (mayMake && packet[8] === OWN_TTL);
      if (isMade && id !== 0) {
        bytes = packet.slice();
        setU16(bytes, 4, 0);
        setU16(bytes, 10, 0);
        setU16(bytes, 10, checksum(bytes.subarray(0, ((bytes[0] as number) & 15) * 4)));
        ipid = { ipid: 'norm' };
      }
    } else if (version === 6 && packet.length >= 48) {
      if (packet[6] === FRAGMENT && !this.#ids6.has(u32(packet, 44))) {
        bytes = packet.slice();
        bytes.fill(0, 44, 48);
        fragid = { fragid: 'norm' };
      }
      isMade = mayMake && packet[7] === OWN_TTL;
    }
    return { if: name, ...fragid, ...(isMade ? { gen: true } : {}), ...ipid, packet: formatHex(bytes) };
  }
}

/** MLD, neighbour and router discovery: types 130 to 134 and 143. */
function isNoise(packet: Uint8Array): boolean {
  if (packet.length < 40 || packet[0]! >> 4 !== 6) return false;
  if (packet[6] === 0 && packet.length > 48 && packet[40] === ICMPV6) {
    return [130, 131, 132, 143].includes(packet[48] as number);
  }
  return packet[6] === ICMPV6 && packet.length > 40 && [130, 131, 132, 133, 134, 143].includes(packet[40]!);
}
