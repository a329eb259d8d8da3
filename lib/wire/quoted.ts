/**
 * The packet that an ICMP error quotes: a view like `Packet`, of another packet's bytes. Hot.
 *
 *    outer IP | ICMP | start: quoted IP header | transport: as much as was quoted | end = the outer packet's end
 *
 * A quotation is the beginning of a packet, so nothing is validated that only the whole could tell: no header
 * checksum, no total length, no version. Later fragments have no transport header and are refused.
 */
import type { Packet } from './packet.js';

const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;
const IPV4_OFFSET_MASK = 0x1fff;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const NO_NEXT = 59;
const DESTINATION = 60;

export class Quoted {
  /** Offset of the quoted IP header in the outer packet's bytes. */
  start = 0;
  /** Offset of the quoted transport header, at most `end` for IPv4; may lie behind it for IPv6. */
  transport = 0;
  /** One past the last quoted byte. */
  end = 0;
  /** Transport protocol number. */
  protocol = 0;
  /** [8] source words 0-3, destination words 4-7, as in `Packet`. */
  readonly addresses = new Int32Array(8);

  /**
   * Points the view at the packet quoted from offset `start` of the outer packet on, of the outer one's IP version.
   * Returns 1, or 0 when the quotation does not reach a transport header.
   */
  parse(outer: Packet, start: number): 0 | 1 {
    this.start = start;
    this.end = outer.end;
    return outer.version === 4 ? this.#parseIpv4(outer) : this.#parseIpv6(outer);
  }

  #parseIpv4(outer: Packet): 0 | 1 {
    const start = this.start;
    if (start + IPV4_HEADER_BYTES > this.end) return 0;
    if ((outer.u16(start + 6) & IPV4_OFFSET_MASK) !== 0) return 0;
    const transport = start + ((outer.u8(start) & 15) << 2);
    if (transport > this.end) return 0;
    this.transport = transport;
    this.protocol = outer.u8(start + 9);
    const addresses = this.addresses;
    for (let i = 1; i < 8; i++) addresses[i] = 0;
    addresses[0] = outer.i32(start + 12);
    addresses[4] = outer.i32(start + 16);
    return 1;
  }

  #parseIpv6(outer: Packet): 0 | 1 {
    const start = this.start;
    if (start + IPV6_HEADER_BYTES > this.end) return 0;
    for (let i = 0; i < 8; i++) this.addresses[i] = outer.i32(start + 8 + (i << 2));
    let next = outer.u8(start + 6);
    let at = start + IPV6_HEADER_BYTES;
    while (
      next === HOP_BY_HOP ||
      next === ROUTING ||
      next === FRAGMENT ||
      next === AUTHENTICATION ||
      next === DESTINATION
    ) {
      if (at + 2 > this.end) return 0;
      let headerBytes = (outer.u8(at + 1) + 1) << 3;
      if (next === FRAGMENT) {
        if (at + 4 > this.end || (outer.u16(at + 2) & 0xfff8) !== 0) return 0;
        headerBytes = 8;
      } else if (next === AUTHENTICATION) {
        headerBytes = (outer.u8(at + 1) + 2) << 2;
      }
      next = outer.u8(at);
      at += headerBytes;
    }
    if (next === NO_NEXT) return 0;
    this.transport = at;
    this.protocol = next;
    return 1;
  }
}
