/**
 * The words of the packet notation, shared by its reader and its writer. Cold. The grammar is described in
 * `notation.ts`.
 */
import { ICMP_TYPES, ICMP6_TYPES, type IcmpCodes } from '../rules/text/icmp-types.js';
import { Protocol } from './draft.js';

/** Words that begin a packet, with its protocol. */
export const KINDS: ReadonlyMap<string, number> = new Map([
  ['icmp', Protocol.ICMP],
  ['tcp', Protocol.TCP],
  ['udp', Protocol.UDP],
  ['icmpv6', Protocol.ICMPV6],
  ['sctp', Protocol.SCTP],
  ['udplite', Protocol.UDPLITE],
]);

/** TCP flags in the order of printing, with their bits. */
export const TCP_FLAGS: readonly (readonly [string, number])[] = [
  ['SYN', 2],
  ['FIN', 1],
  ['RST', 4],
  ['PSH', 8],
  ['ACK', 16],
  ['URG', 32],
  ['ECE', 64],
  ['CWR', 128],
];
export const NO_FLAGS = 'NONE';

export const TcpOption = { END: 0, NOP: 1, MSS: 2, WSCALE: 3, SACKOK: 4, SACK: 5, TS: 8 } as const;

/** Types whose bytes 4 to 7 are an identifier and a sequence number. */
const QUERIES4: ReadonlySet<number> = new Set([0, 8, 13, 14, 15, 16, 17, 18]);
const QUERIES6: ReadonlySet<number> = new Set([128, 129]);

export function isQuery(protocol: number, type: number): boolean {
  return (protocol === Protocol.ICMP ? QUERIES4 : QUERIES6).has(type);
}

function namesOf(protocol: number): ReadonlyMap<string, IcmpCodes> {
  return protocol === Protocol.ICMP ? ICMP_TYPES : ICMP6_TYPES;
}

/** Name of an ICMP type and code, in the rules' words; `type/code` where there is none. */
export function icmpWord(protocol: number, type: number, code: number): string {
  for (const [name, codes] of namesOf(protocol)) {
    const isWhole = codes.codeLow !== codes.codeHigh;
    if (name !== 'any' && codes.type === type && (isWhole ? code === 0 : codes.codeLow === code)) {
      if (!isWhole || !hasCodeNames(protocol, type)) return name;
    }
  }
  return `${type}/${code}`;
}

function hasCodeNames(protocol: number, type: number): boolean {
  for (const codes of namesOf(protocol).values()) {
    if (codes.type === type && codes.codeLow === codes.codeHigh) return true;
  }
  return false;
}

/** Type and code of such a word (code 0 where the name leaves it open), or undefined. */
export function icmpOfWord(protocol: number, word: string): { type: number; code: number } | undefined {
  const pair = /^(\d{1,3})\/(\d{1,3})$/.exec(word);
  if (pair !== null) return { type: Number(pair[1]), code: Number(pair[2]) };
  const codes = word === 'any' ? undefined : namesOf(protocol).get(word);
  return codes === undefined ? undefined : { type: codes.type, code: codes.codeLow };
}
