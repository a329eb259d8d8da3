/**
 * Where a link plugs in: what adapters (TUN, QEMU, v86, a message port) and interfaces know of each other.
 */

import type { OffloadKind } from './offload/features.js';

/**
 * What a frame leaves to be done by whoever gets it: the fields of a virtio-net header (Virtual I/O Device 1.2,
 * section 5.1.6). Offsets are from the start of the frame.
 */
export interface Offload {
  /** 1 if the checksum at `checksumStart + checksumOffset` covers the pseudo header only and must be completed. */
  readonly needsChecksum: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
  /** How to cut the frame into segments of `gsoSizeBytes` of payload each; `none`: it is one packet. */
  readonly gsoType: 'none' | 'tcp4' | 'tcp6' | 'udp';
  readonly gsoSizeBytes: number;
  /** Bytes of all headers, which every segment repeats. */
  readonly headerBytes: number;
}

/** One end of a link. Frames are borrowed: valid during the call only. */
export interface LinkPort {
  /** What a frame is: an IP packet, or an Ethernet frame without preamble and checksum. */
  readonly link: 'ip' | 'ethernet';
  /** Largest IP packet, bytes. */
  readonly mtu: number;
  /** Takes a frame that arrived from the link. */
  receive(frame: Uint8Array, offload?: Offload): void;
  /** Called with each frame that leaves for the link; set by the adapter. Without it frames are dropped. */
  onTransmit: ((frame: Uint8Array, offload?: Offload) => void) | undefined;
  /** For the adapter to say what it does to unfinished frames; until then every frame that leaves is finished. */
  acceptOffloads?(kinds: readonly OffloadKind[]): void;
  /** Has `close` called when the port ends with what it belongs to; the returned function forgets that. */
  onceClosed?(close: () => void): () => void;
}
