/**
 * Conditions on SCTP (RFC 9260) and DCCP (RFC 4340) headers. Hot.
 */
import type { Packet } from '../../wire/packet.js';
import type { DccpMatch, RangeCondition, SctpMatch } from '../ast.js';
import type { Match, RuleContext } from '../context.js';

const SCTP_HEADER_BYTES = 12;
const DCCP_HEADER_BYTES = 12;
const CHUNK_HEADER_BYTES = 4;

function inRange(condition: RangeCondition | undefined, port: number): boolean {
  return condition === undefined || (port >= condition.low && port <= condition.high) !== condition.negated;
}

const ANY = 0;
const ALL = 1;
const ONLY = 2;

/** Which chunks a packet has. */
class ChunkTest {
  readonly #scope: number;
  /** [256] 1 for types that are asked for. */
  readonly #wanted = new Uint8Array(256);
  /** [256] flags of a type that are looked at, and what they must be. */
  readonly #masks = new Uint8Array(256);
  readonly #flags = new Uint8Array(256);
  /** Number of types asked for. */
  readonly #count: number;
  /** [256] scratch: 1 for types found. */
  readonly #found = new Uint8Array(256);

  constructor(chunks: NonNullable<SctpMatch['chunks']>) {
    this.#scope = chunks.scope === 'any' ? ANY : chunks.scope === 'all' ? ALL : ONLY;
    for (const { type, mask, flags } of chunks.types) {
      this.#wanted[type] = 1;
      this.#masks[type] = mask;
      this.#flags[type] = flags;
    }
    this.#count = this.#wanted.reduce((sum, one) => sum + one, 0);
  }

  /** `from`: the first chunk. A chunk that cannot be read drops the packet. */
  holds(packet: Packet, context: RuleContext, from: number): 0 | 1 {
    const found = this.#found;
    if (this.#scope === ALL) found.fill(0);
    let missing = this.#count;
    let at = from;
    do {
      const length = at + CHUNK_HEADER_BYTES > packet.end ? 0 : packet.u16(at + 2);
      if (length === 0) {
        context.hotdrop = 1;
        return 0;
      }
      const type = packet.u8(at);
      const fits =
        this.#wanted[type] === 1 && (packet.u8(at + 1) & (this.#masks[type] as number)) === this.#flags[type];
      if (this.#scope === ONLY) {
        if (!fits) return 0;
      } else if (fits) {
        if (this.#scope === ANY) return 1;
        if (found[type] === 0) missing--;
        found[type] = 1;
      }
      at += (length + 3) & ~3;
    } while (at < packet.end);
    if (this.#scope === ALL) return missing === 0 ? 1 : 0;
    return this.#scope === ONLY ? 1 : 0;
  }
}

export class SctpHeaderMatch implements Match {
  readonly #source: RangeCondition | undefined;
  readonly #destination: RangeCondition | undefined;
  readonly #chunks: ChunkTest | undefined;
  readonly #chunksNegated: 0 | 1;

  constructor(spec: SctpMatch) {
    this.#source = spec.sourcePorts;
    this.#destination = spec.destinationPorts;
    this.#chunks = spec.chunks && new ChunkTest(spec.chunks);
    this.#chunksNegated = spec.chunks?.negated === true ? 1 : 0;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    if (context.fragmentOffset !== 0) return 0;
    const at = context.transport;
    if (at + SCTP_HEADER_BYTES > packet.end) {
      context.hotdrop = 1;
      return 0;
    }
    if (!inRange(this.#source, packet.u16(at)) || !inRange(this.#destination, packet.u16(at + 2))) return 0;
    if (this.#chunks === undefined) return 1;
    return (this.#chunks.holds(packet, context, at + SCTP_HEADER_BYTES) ^ this.#chunksNegated) as 0 | 1;
  }
}

/** Bytes of a DCCP header behind the generic one, by packet type (RFC 4340 section 5). */
const DCCP_TYPE_BYTES = Uint8Array.of(4, 12, 0, 8, 8, 8, 8, 12, 8, 8, 12, 12, 12, 12, 12, 12);

export class DccpHeaderMatch implements Match {
  readonly #spec: DccpMatch;

  constructor(spec: DccpMatch) {
    this.#spec = spec;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    if (context.fragmentOffset !== 0) return 0;
    const at = context.transport;
    if (at + DCCP_HEADER_BYTES > packet.end) {
      context.hotdrop = 1;
      return 0;
    }
    const spec = this.#spec;
    if (!inRange(spec.sourcePorts, packet.u16(at)) || !inRange(spec.destinationPorts, packet.u16(at + 2))) {
      return 0;
    }
    const type = (packet.u8(at + 8) >>> 1) & 15;
    if (spec.types !== undefined && ((spec.types.bits >>> type) & 1) === (spec.types.negated ? 1 : 0))
      return 0;
    if (spec.option === undefined) return 1;
    const found = hasDccpOption(packet, context, at, type, spec.option.value);
    return (found ^ (spec.option.negated ? 1 : 0)) as 0 | 1;
  }
}

function hasDccpOption(
  packet: Packet,
  context: RuleContext,
  at: number,
  type: number,
  option: number,
): 0 | 1 {
  const wide = packet.u8(at + 8) & 1;
  const from = at + DCCP_HEADER_BYTES + 4 * wide + (DCCP_TYPE_BYTES[type] as number);
  const end = at + (packet.u8(at + 4) << 2);
  if (end < from || (end > from && end > packet.end)) {
    context.hotdrop = 1;
    return 0;
  }
  for (let i = from; i < end; ) {
    const kind = packet.u8(i);
    if (kind === option) return 1;
    // Below 2 as in Linux, though DCCP has options of one byte up to 31.
    i += kind < 2 || i + 1 >= end ? 1 : packet.u8(i + 1) || 1;
  }
  return 0;
}
