/**
 * By which of the router's interfaces a recorded packet came in. Cold.
 *
 * What the file says goes first: a packet recorded on its way out (pcapng's direction, a cooked capture's "outgoing")
 * never entered; an interface recorded under a name of the router's is that interface. Else the recording is of one
 * link, and the source address decides: the interface whose subnet has it, or, for a source from beyond, the interface
 * that leads there.
 */
import type { CapturedPacket } from '../capture/capture.js';
import { describeFrame, LinkFrame, LinkOutcome, PacketType } from '../capture/link.js';
import {
  type InterfaceAddress,
  type InterfaceOptions,
  inSubnet,
  parseInterfaceAddress,
} from '../network/interfaces.js';
import type { AddressWords } from '../rules/ast.js';
import { u32 } from './fields.js';

/** A packet that enters the router, or why it does not. */
export type Ingress =
  | {
      /** From 1, in the order of the interfaces. */
      readonly interface: number;
      /** The IP packet. Borrowed. */
      readonly bytes: Uint8Array;
    }
  | { readonly skipped: string };

export class IngressFinder {
  readonly #names: readonly string[];
  readonly #addresses: readonly (readonly Omit<InterfaceAddress, 'isSecondary'>[])[];
  readonly #uplink: number;
  readonly #frame = new LinkFrame();

  /** `uplink` is the interface (from 1) that leads to all sources which no subnet has. */
  constructor(interfaces: readonly InterfaceOptions[], uplink: number) {
    this.#names = interfaces.map(({ name }) => name);
    this.#addresses = interfaces.map(({ addresses }) => addresses.map(parseInterfaceAddress));
    this.#uplink = uplink;
  }

  find(packet: CapturedPacket): Ingress {
    const frame = this.#frame;
    const { bytes, linkType } = packet;
    if (frame.find(linkType, bytes, 0, bytes.length) !== LinkOutcome.IP) {
      return { skipped: describeFrame(frame, linkType) };
    }
    if (packet.direction === 'out' || frame.packetType === PacketType.OUTGOING) {
      return { skipped: 'sent by the machine that recorded' };
    }
    if (packet.originalLengthBytes > bytes.length) return { skipped: 'cut short in the capture' };
    const ip = bytes.subarray(frame.offset, frame.offset + frame.lengthBytes);
    const named = packet.interfaceName === undefined ? -1 : this.#names.indexOf(packet.interfaceName);
    return { interface: named >= 0 ? named + 1 : this.#bySource(ip), bytes: ip };
  }

  #bySource(ip: Uint8Array): number {
    const version = (ip[0] ?? 0) >> 4 === 6 ? 6 : 4;
    const at = version === 6 ? 8 : 12;
    const word = (i: number) => u32(ip, at + 4 * i) | 0;
    const source: AddressWords = version === 6 ? [word(0), word(1), word(2), word(3)] : [word(0), 0, 0, 0];
    for (const [i, addresses] of this.#addresses.entries()) {
      const fits = addresses.some(
        (one) => one.version === version && inSubnet({ ...one, isSecondary: false }, source),
      );
      if (fits) return i + 1;
    }
    return this.#uplink;
  }
}
