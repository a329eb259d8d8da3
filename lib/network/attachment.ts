/**
 * What every adapter has in common: it owns a port's transmitting side until it is closed, and counts.
 */
import { ConfigurationError } from '../errors.js';
import type { OffloadKind } from './offload/features.js';
import type { LinkPort, Offload } from './port.js';

/** What went over a link, as an adapter saw it. */
export interface LinkCounters {
  /** Frames from the link that the port was given. */
  receivedFrames: number;
  /** Frames of the port that the link took. */
  transmittedFrames: number;
  /** Frames of the port that were thrown away: the peer is slow or gone, or the frame does not fit the link. */
  droppedFrames: number;
  /** What came from the link and was no frame: too short, too long, not bytes. */
  malformedFrames: number;
  /** Calls that failed on the way in or out; the newest is in `lastError`. */
  errors: number;
  lastError: Error | undefined;
}

/** A port that is plugged into something. */
export interface Attachment {
  readonly counters: Readonly<LinkCounters>;
  /**
   * Unplugs it: the port sends into the void from here on and may be attached again. Happens by itself when the port's
   * gateway closes.
   */
  close(): void | Promise<void>;
}

/** Shortest Ethernet frame that says where it goes: both addresses and the type. */
export const ETHERNET_HEADER_BYTES = 14;
/** Longest frame of any link here: the longest IP packet, an Ethernet header and two VLAN tags. */
export const LONGEST_FRAME_BYTES = 65_535 + ETHERNET_HEADER_BYTES + 8;

/** What a peer of ours does that gets frames together with what is left to do. */
export const EVERY_OFFLOAD: readonly OffloadKind[] = ['checksum', 'tcp4', 'tcp6', 'udp'];

export function noTraffic(): LinkCounters {
  return {
    receivedFrames: 0,
    transmittedFrames: 0,
    droppedFrames: 0,
    malformedFrames: 0,
    errors: 0,
    lastError: undefined,
  };
}

/**
 * Makes `transmit` what the port sends with; the returned function lets the port go again. `close` is called if the port
 * ends before. Throws a ConfigurationError if the port is plugged in elsewhere.
 */
export function claimPort(
  port: LinkPort,
  transmit: NonNullable<LinkPort['onTransmit']>,
  close: () => void,
): () => void {
  if (port.onTransmit !== undefined) {
    throw new ConfigurationError('conflict', 'this port is plugged in already', {
      expected: 'a port without onTransmit',
    });
  }
  port.onTransmit = transmit;
  const forget = port.onceClosed?.(close);
  return () => {
    forget?.();
    if (port.onTransmit === transmit) port.onTransmit = undefined;
  };
}

/** Throws a ConfigurationError unless the port speaks Ethernet. */
export function needEthernet(port: LinkPort, adapter: string): void {
  if (port.link === 'ethernet') return;
  throw new ConfigurationError('conflict', `${adapter} carries Ethernet frames`, {
    word: port.link,
    expected: "a port with link 'ethernet'",
  });
}

/** Shortest frame of a link: an Ethernet header, or the first byte of an IP packet. */
export function shortestFrameBytes(port: LinkPort): number {
  return port.link === 'ethernet' ? ETHERNET_HEADER_BYTES : 1;
}

/** A frame's bytes in a buffer of their own. Not `slice()`: that of a Node Buffer is a view. */
export function copyFrame(frame: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(frame);
}

/** Gives a message to the port if it is a frame; counts it either way. */
export function receiveFrame(
  port: LinkPort,
  message: unknown,
  counters: LinkCounters,
  offload?: Offload,
): void {
  const frame = message instanceof ArrayBuffer ? new Uint8Array(message) : message;
  if (
    !(frame instanceof Uint8Array) ||
    frame.length < shortestFrameBytes(port) ||
    frame.length > LONGEST_FRAME_BYTES
  ) {
    counters.malformedFrames++;
    return;
  }
  counters.receivedFrames++;
  port.receive(frame, offload);
}

/** True if the frame is whole and its checksums are right: nothing is left to do. */
export function isDone(offload: Offload): boolean {
  return offload.needsChecksum === 0 && offload.gsoType === 'none';
}

const GSO_TYPES: readonly unknown[] = ['none', 'tcp4', 'tcp6', 'udp'] satisfies Offload['gsoType'][];

/** True if this is an {@link Offload} whose fields lie within a frame of `lengthBytes`: peers are not believed. */
export function isSoundOffload(offload: unknown, lengthBytes: number): offload is Offload {
  if (typeof offload !== 'object' || offload === null) return false;
  const { needsChecksum, checksumStart, checksumOffset, gsoType, gsoSizeBytes, headerBytes } =
    offload as Partial<Record<keyof Offload, unknown>>;
  if (!isCount(needsChecksum) || !isCount(checksumStart) || !isCount(checksumOffset)) return false;
  if (!isCount(gsoSizeBytes) || !isCount(headerBytes) || !GSO_TYPES.includes(gsoType)) return false;
  if (needsChecksum !== 0 && checksumStart + checksumOffset + 2 > lengthBytes) return false;
  if (gsoType === 'none') return true;
  return needsChecksum !== 0 && gsoSizeBytes > 0 && headerBytes > checksumStart && headerBytes <= lengthBytes;
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff;
}
