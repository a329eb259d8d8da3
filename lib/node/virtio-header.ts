/**
 * The virtio-net header before a frame (Virtual I/O Device 1.2, section 5.1.6), little-endian, as TUN devices with
 * IFF_VNET_HDR have it: 12 bytes, the last two (buffers) unused. Hot: one reused object, no views.
 *
 *   flags  gso type  header length  segment size  checksum start  checksum offset  buffers
 *   u8     u8        u16            u16           u16             u16              u16
 */
import type { Offload } from '../network/port.js';

export const VIRTIO_HEADER_BYTES = 12;

const NEEDS_CSUM = 1;

const GSO_NONE = 0;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;
const GSO_UDP_L4 = 5;
/** The segments carry congestion notification: CWR belongs to the first of them only. */
const GSO_ECN = 0x80;

const TCP_OFFSET_BYTE = 12;
const TCP_FLAGS_BYTE = 13;
const TCP_CWR = 0x80;
const TCP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;

/** A reused {@link Offload}, filled from the header before a frame. */
export class VirtioHeader implements Offload {
  needsChecksum = 0;
  checksumStart = 0;
  checksumOffset = 0;
  gsoType: Offload['gsoType'] = 'none';
  gsoSizeBytes = 0;
  headerBytes = 0;

  /**
   * Reads the header at the beginning of `bytes`, of which `lengthBytes` are valid, header and frame. Returns false if
   * there is no frame behind it, a field points out of the frame or the segmentation is of a kind not understood here
   * (fragmented UDP). The header length field is not believed, it is a hint: it is counted from the frame's headers.
   */
  read(bytes: Uint8Array, lengthBytes: number): boolean {
    const frameBytes = lengthBytes - VIRTIO_HEADER_BYTES;
    if (frameBytes <= 0) return false;
    this.needsChecksum = bytes[0] & NEEDS_CSUM;
    this.checksumStart = bytes[6] | (bytes[7] << 8);
    this.checksumOffset = bytes[8] | (bytes[9] << 8);
    this.gsoType = 'none';
    this.gsoSizeBytes = 0;
    this.headerBytes = 0;
    const start = this.checksumStart;
    if (this.needsChecksum === 0) {
      this.checksumStart = 0;
      this.checksumOffset = 0;
    } else if (start + this.checksumOffset + 2 > frameBytes) {
      return false;
    }
    const gso = bytes[1] & ~GSO_ECN;
    if (gso === GSO_NONE) return true;
    if (this.needsChecksum === 0) return false;
    this.gsoSizeBytes = bytes[4] | (bytes[5] << 8);
    if (gso === GSO_UDP_L4) {
      this.gsoType = 'udp';
      this.headerBytes = start + UDP_HEADER_BYTES;
    } else if (gso === GSO_TCPV4 || gso === GSO_TCPV6) {
      if (start + TCP_HEADER_BYTES > frameBytes) return false;
      this.gsoType = gso === GSO_TCPV4 ? 'tcp4' : 'tcp6';
      const tcpBytes = (bytes[VIRTIO_HEADER_BYTES + start + TCP_OFFSET_BYTE] >> 4) << 2;
      if (tcpBytes < TCP_HEADER_BYTES) return false;
      this.headerBytes = start + tcpBytes;
    } else {
      return false;
    }
    return this.gsoSizeBytes > 0 && this.headerBytes <= frameBytes;
  }
}

/** Writes the header of `frame` at the beginning of `bytes`. Without `offload`: nothing is left to do. */
export function writeVirtioHeader(bytes: Uint8Array, frame: Uint8Array, offload: Offload | undefined): void {
  for (let i = 0; i < VIRTIO_HEADER_BYTES; i++) bytes[i] = 0;
  if (offload === undefined || offload.needsChecksum === 0) return;
  bytes[0] = NEEDS_CSUM;
  bytes[6] = offload.checksumStart;
  bytes[7] = offload.checksumStart >>> 8;
  bytes[8] = offload.checksumOffset;
  bytes[9] = offload.checksumOffset >>> 8;
  if (offload.gsoType === 'none') return;
  if (offload.gsoType === 'udp') {
    bytes[1] = GSO_UDP_L4;
  } else {
    const flags = frame[offload.checksumStart + TCP_FLAGS_BYTE];
    bytes[1] = (offload.gsoType === 'tcp4' ? GSO_TCPV4 : GSO_TCPV6) | ((flags & TCP_CWR) === 0 ? 0 : GSO_ECN);
  }
  bytes[2] = offload.headerBytes;
  bytes[3] = offload.headerBytes >>> 8;
  bytes[4] = offload.gsoSizeBytes;
  bytes[5] = offload.gsoSizeBytes >>> 8;
}
