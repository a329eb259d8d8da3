/**
 * IPv6 hop-by-hop and destination options (RFC 8200 section 4.2): padding, unknown options and what they ask for.
 * Hop-by-hop options are read at the door, destination options only by the router's own stack.
 */
import type { Packet } from '../wire/packet.js';

/** What {@link readOptions6} found. */
export const OptionsFault = {
  NONE: 0,
  /** The packet goes without an answer. */
  DISCARD: 1,
  /** The packet goes, and `optionsFault` says what parameter problem is to be sent. */
  ANSWER: 2,
} as const;
export type OptionsFault = (typeof OptionsFault)[keyof typeof OptionsFault];

/** Code and pointer of the parameter problem after ANSWER; valid until the next call. */
export const optionsFault = { code: 0, pointer: 0 };

const PAD1 = 0;
const PADN = 1;
const ROUTER_ALERT = 5;
/** Security label (CALIPSO, RFC 5570). */
const LABEL = 0x07;
const JUMBO = 0xc2;
/** In-situ OAM (RFC 9486), which starts at a multiple of 4 bytes. */
const IOAM = 0x31;
/** Longest run of padding (RFC 4942 section 2.1.9.5). */
const MAX_PADDING = 7;
/** Options in one header that are not padding; a header with more is refused, as Linux's default has it. */
const MAX_OPTIONS = 8;
const HEADER_FIELD = 0;
const UNKNOWN_OPTION = 2;

/** Reads the options header of `length` bytes at `at`, which the packet has in full. */
export function readOptions6(
  packet: Packet,
  at: number,
  length: number,
  kind: 'hop-by-hop' | 'destination',
): OptionsFault {
  const bytes = packet.bytes;
  const end = at + length;
  let option = at + 2;
  let padding = 0;
  let count = 0;
  while (option < end) {
    const type = bytes[option] as number;
    if (type === PAD1) {
      if (++padding > MAX_PADDING) return OptionsFault.DISCARD;
      option++;
      continue;
    }
    if (option + 2 > end) return OptionsFault.DISCARD;
    const size = (bytes[option + 1] as number) + 2;
    if (option + size > end) return OptionsFault.DISCARD;
    if (type === PADN) {
      padding += size;
      if (padding > MAX_PADDING) return OptionsFault.DISCARD;
      for (let i = option + 2; i < option + size; i++) if (bytes[i] !== 0) return OptionsFault.DISCARD;
    } else {
      if (++count > MAX_OPTIONS) return OptionsFault.DISCARD;
      padding = 0;
      if (kind === 'hop-by-hop' && type === ROUTER_ALERT) {
        if (size !== 4) return OptionsFault.DISCARD;
      } else if (kind === 'hop-by-hop' && type === LABEL) {
        // No domain of interpretation is configured here, and labels of unknown ones are refused.
        return OptionsFault.DISCARD;
      } else if (kind === 'hop-by-hop' && type === IOAM) {
        // Not switched on, and passed over then; but a stray one is refused first, as on Linux.
        if (((option - packet.start) & 3) !== 0) return OptionsFault.DISCARD;
      } else if (kind === 'hop-by-hop' && type === JUMBO) {
        const fault = readJumbo(packet, option);
        if (fault !== OptionsFault.NONE) return fault;
      } else {
        const fault = unknownOption(packet, option, type);
        if (fault !== OptionsFault.NONE) return fault;
      }
    }
    option += size;
  }
  return OptionsFault.NONE;
}

/** The upper two bits of an unknown option's type say what to do with its packet. */
function unknownOption(packet: Packet, option: number, type: number): OptionsFault {
  switch (type >>> 6) {
    case 0:
      return OptionsFault.NONE;
    case 1:
      return OptionsFault.DISCARD;
    case 3:
      if ((packet.addresses[4] as number) >>> 24 === 0xff) return OptionsFault.DISCARD;
  }
  return answer(packet, option, UNKNOWN_OPTION);
}

/** Jumbograms (RFC 2675) do not occur; their option is checked and refused. */
function readJumbo(packet: Packet, option: number): OptionsFault {
  const isAligned = ((option - packet.start) & 3) === 2;
  if (packet.u8(option + 1) !== 4 || !isAligned) return OptionsFault.DISCARD;
  if (packet.i32(option + 2) >>> 0 <= 0xffff) return answer(packet, option + 2, HEADER_FIELD);
  if (packet.u16(packet.start + 4) !== 0) return answer(packet, option, HEADER_FIELD);
  return OptionsFault.DISCARD;
}

function answer(packet: Packet, at: number, code: number): OptionsFault {
  optionsFault.code = code;
  optionsFault.pointer = at - packet.start;
  return OptionsFault.ANSWER;
}
