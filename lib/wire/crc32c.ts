/**
 * CRC32c (Castagnoli), the checksum of SCTP (RFC 9260 section 6.8 and appendix A). Hot.
 *
 * The register is reflected: SCTP sends its least significant byte first.
 */

/** Reflected form of the polynomial 0x1edc6f41. */
const POLYNOMIAL = 0x82f63b78;

/** [256] register after one byte. */
const TABLE = new Int32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let register = byte;
  for (let bit = 0; bit < 8; bit++) register = (register >>> 1) ^ ((register & 1) === 0 ? 0 : POLYNOMIAL);
  TABLE[byte] = register;
}

/** Register after `bytes[from, to)`; begin with -1, the CRC is the inverse of the last register. */
export function crc32cRange(bytes: Uint8Array, from: number, to: number, register: number): number {
  for (let at = from; at < to; at++) {
    register = (register >>> 8) ^ (TABLE[(register ^ (bytes[at] as number)) & 255] as number);
  }
  return register;
}

/** Register after `count` zero bytes. */
export function crc32cZeros(count: number, register: number): number {
  for (; count > 0; count--) register = (register >>> 8) ^ (TABLE[register & 255] as number);
  return register;
}
