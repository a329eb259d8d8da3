/**
 * What router and links tell each other about a packet.
 */

import type { Packet } from '../wire/packet.js';
import type { Offload } from './port.js';

/** Where a packet that leaves comes from. */
export type Origin = 'forwarded' | 'generated';

/** Where a packet lies in its frame, and what the frame's header told. */
export interface LinkHeader {
  /** Offset of the IP header. */
  readonly packetStart: number;
  /** A `PacketType`: whom the frame was for. */
  readonly packetType: number;
  /** Source address: its first 32 bits and its last 16. */
  readonly macHigh: number;
  readonly macLow: number;
}

/**
 * Takes the packets that leave a router: `bytes[start, end)` is one, borrowed until the call returns. `offload` says what
 * is left to be done, to packets for links that said they do it; its offsets are from `start`, and it is borrowed too.
 */
export interface RouterOutput {
  transmit(
    interfaceIndex: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    origin: Origin,
    offload: Offload | undefined,
  ): void;
}

/** Tells the view where its packet came from. */
export function noteLink(packet: Packet, interfaceIndex: number, header: LinkHeader | undefined): void {
  packet.inInterface = interfaceIndex;
  if (header === undefined) return;
  packet.packetType = header.packetType;
  packet.macHigh = header.macHigh;
  packet.macLow = header.macLow;
  packet.hasMac = 1;
}
