/**
 * A glance at a transport header: reads a UDP datagram or an ordinary TCP segment without a packet view. Hot.
 *
 * "Ordinary" is a segment of class ACK (no SYN, FIN or RST) with no options but timestamps, as most segments of most
 * connections are. Whatever else it is: the packet has to be parsed.
 */
import { sumRange, sumView } from './checksum.js';

const UDP = 17;
const UDP_BYTES = 8;
const TCP_BYTES = 20;
/** A TCP header with timestamps: no-op, no-op, kind 8, ten bytes (RFC 7323 appendix A). */
const TIMESTAMPED_BYTES = 32;
const NO_OPS = 0x0101;
const TIMESTAMPS = 0x080a;
/** FIN, SYN, RST and ACK, of which the last alone must be set. */
const CONTROL = 0x17;
const ACK = 0x10;
/** Bytes from which on a view pays. */
const LONG = 192;

export class Glance {
  /** Offset of the checksum field, -1 for a datagram without one. */
  checksumAt = 0;
  sequence = 0;
  acknowledgement = 0;
  /** Not scaled. */
  window = 0;
  payloadBytes = 0;
  #bytes: Uint8Array | undefined;
  #view: DataView | undefined;

  /**
   * Reads the header at `transport` of a packet that ends at `end`, whose transport part is sound if its checksum is with
   * the pseudo header's sum; `verifies` is 0 if that is not to be asked. Returns 0 if it is not ordinary, or wrong.
   */
  read(
    bytes: Uint8Array,
    protocol: number,
    transport: number,
    end: number,
    pseudoSum: number,
    verifies: number,
  ): 0 | 1 {
    const transportBytes = end - transport;
    let checksumAt = transport + 6;
    if (protocol === UDP) {
      if (transportBytes < UDP_BYTES) return 0;
      const udpBytes = ((bytes[transport + 4] as number) << 8) | (bytes[transport + 5] as number);
      if (udpBytes < UDP_BYTES || udpBytes > transportBytes) return 0;
      if (((bytes[checksumAt] as number) | (bytes[checksumAt + 1] as number)) === 0) {
        this.checksumAt = -1;
        return 1;
      }
    } else {
      if (transportBytes < TCP_BYTES || ((bytes[transport + 13] as number) & CONTROL) !== ACK) return 0;
      const headerBytes = ((bytes[transport + 12] as number) >>> 4) << 2;
      if (headerBytes !== TCP_BYTES) {
        if (headerBytes !== TIMESTAMPED_BYTES || transportBytes < TIMESTAMPED_BYTES) return 0;
        if (u16(bytes, transport + 20) !== NO_OPS || u16(bytes, transport + 22) !== TIMESTAMPS) return 0;
      }
      this.sequence = (u16(bytes, transport + 4) << 16) | u16(bytes, transport + 6);
      this.acknowledgement = (u16(bytes, transport + 8) << 16) | u16(bytes, transport + 10);
      this.window = u16(bytes, transport + 14);
      this.payloadBytes = transportBytes - headerBytes;
      checksumAt = transport + 16;
    }
    this.checksumAt = checksumAt;
    if (verifies === 0) return 1;
    const sum =
      transportBytes < LONG
        ? sumRange(bytes, transport, end, pseudoSum)
        : this.#sumLong(bytes, transport, end, pseudoSum);
    return sum === 0xffff ? 1 : 0;
  }

  /** The sum of a long range; with a view if the bytes are those of the long range before, as a reused buffer's are. */
  #sumLong(bytes: Uint8Array, from: number, to: number, initial: number): number {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = undefined;
      return sumRange(bytes, from, to, initial);
    }
    this.#view ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return sumView(this.#view, from, to, initial);
  }
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}
