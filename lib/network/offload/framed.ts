/**
 * What is left to be done to a packet, as seen from the Ethernet frame around it: offsets are those of the packet and a
 * header more. Reused: valid until the next `of`.
 */
import type { Offload } from '../port.js';

const HEADER_BYTES = 14;

export class FramedOffload implements Offload {
  needsChecksum = 0;
  checksumStart = 0;
  checksumOffset = 0;
  gsoType: Offload['gsoType'] = 'none';
  gsoSizeBytes = 0;
  headerBytes = 0;

  /** Of a packet's offload. */
  of(packet: Offload): this {
    this.copy(packet);
    this.checksumStart += HEADER_BYTES;
    if (packet.gsoSizeBytes > 0) this.headerBytes += HEADER_BYTES;
    return this;
  }

  copy(other: Offload): this {
    this.needsChecksum = other.needsChecksum;
    this.checksumStart = other.checksumStart;
    this.checksumOffset = other.checksumOffset;
    this.gsoType = other.gsoType;
    this.gsoSizeBytes = other.gsoSizeBytes;
    this.headerBytes = other.headerBytes;
    return this;
  }
}
