/**
 * What a link can do to packets that are not finished.
 */

/** Work that a link takes over: completing checksums, cutting super-packets. */
export type OffloadKind = 'checksum' | 'tcp4' | 'tcp6' | 'udp';

/** The same as bits, for the packet path. */
export const OffloadBit = { CHECKSUM: 1, TCP4: 2, TCP6: 4, UDP: 8 } as const;

const BITS: Readonly<Record<OffloadKind, number>> = {
  checksum: OffloadBit.CHECKSUM,
  tcp4: OffloadBit.TCP4 | OffloadBit.CHECKSUM,
  tcp6: OffloadBit.TCP6 | OffloadBit.CHECKSUM,
  udp: OffloadBit.UDP | OffloadBit.CHECKSUM,
};

/** Bits of the kinds; a link that cuts completes checksums too. */
export function offloadBits(kinds: readonly OffloadKind[]): number {
  return kinds.reduce((bits, kind) => bits | BITS[kind], 0);
}
