/**
 * Link headers: where the IP packet lies in a recorded frame. Hot: fills a reused object, allocates nothing.
 *
 * Ethernet with any stack of VLAN tags, Linux cooked v1 and v2, BSD null and loop, raw IP. Only the link header is
 * believed here: whether the bytes behind it are a sound IP packet is for `wire/` to say, and a frame's padding is
 * still part of `lengthBytes`. Does not look into 802.3 LLC/SNAP, PPPoE, MPLS or tunnels.
 */

/** LINKTYPE_ numbers (https://www.tcpdump.org/linktypes.html) that are understood here. */
export const LinkType = {
  NULL: 0,
  ETHERNET: 1,
  /** DLT_RAW as some systems wrote it straight into files. */
  RAW_BSD: 12,
  RAW_OPENBSD: 14,
  RAW: 101,
  LOOP: 108,
  LINUX_SLL: 113,
  IPV4: 228,
  IPV6: 229,
  LINUX_SLL2: 276,
} as const;

/** What {@link LinkFrame.find} came to. */
export const LinkOutcome = {
  /** An IP packet: `ipVersion`, `offset` and `lengthBytes` are valid. */
  IP: 0,
  /** Another protocol, named by `etherType`. */
  NOT_IP: 1,
  /** The frame ends inside its link header. */
  TRUNCATED: 2,
  /** A link type that is not understood here. */
  UNSUPPORTED: 3,
} as const;
export type LinkOutcome = (typeof LinkOutcome)[keyof typeof LinkOutcome];

/** Whom a frame was for, as Linux counts it and cooked captures record it (PACKET_HOST and so on). */
export const PacketType = {
  HOST: 0,
  BROADCAST: 1,
  MULTICAST: 2,
  OTHERHOST: 3,
  OUTGOING: 4,
  UNKNOWN: -1,
} as const;
export type PacketType = (typeof PacketType)[keyof typeof PacketType];

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
/** Below this the field is an IEEE 802.3 length. */
const SMALLEST_ETHERTYPE = 0x0600;
const ETHERNET_BYTES = 14;
const VLAN_BYTES = 4;
const SLL_BYTES = 16;
const SLL2_BYTES = 20;
const FAMILY_BYTES = 4;
const MAC_BYTES = 6;

/** A reused view of one frame's link header. All fields are of the last frame given to {@link find}. */
export class LinkFrame {
  outcome: LinkOutcome = LinkOutcome.UNSUPPORTED;
  /** 4 or 6 by the link header (raw IP: by the packet's first nibble); 0 unless `outcome` is IP. */
  ipVersion: 0 | 4 | 6 = 0;
  /** Ethertype behind all VLAN tags; an 802.3 length if below 0x600; -1 where the link has none. */
  etherType = -1;
  /** Where the IP packet begins, from the beginning of the array; what lies before is the link header. */
  offset = 0;
  /** From `offset` to the end of the captured frame, padding included. */
  lengthBytes = 0;
  /** Where the 6-byte source MAC address begins; -1 if the link has none. */
  sourceMacOffset = -1;
  /** VLAN tags that were stepped over. */
  vlanTags = 0;
  /** VLAN id of the outermost tag, 0 to 4095; -1 without tags. */
  vlanId = -1;
  /** By the cooked header, or by the destination MAC (HOST is then UNKNOWN: we do not know who recorded). */
  packetType: PacketType = PacketType.UNKNOWN;
  /** Linux's interface number in a cooked v2 header; 0 elsewhere. */
  interfaceIndex = 0;

  /** Finds the IP packet in the frame `bytes[start .. end)`; returns `outcome`. */
  find(linkType: number, bytes: Uint8Array, start: number, end: number): LinkOutcome {
    this.ipVersion = 0;
    this.etherType = -1;
    this.offset = start;
    this.lengthBytes = end - start;
    this.sourceMacOffset = -1;
    this.vlanTags = 0;
    this.vlanId = -1;
    this.packetType = PacketType.UNKNOWN;
    this.interfaceIndex = 0;
    switch (linkType) {
      case LinkType.ETHERNET:
        return this.#ethernet(bytes, start, end);
      case LinkType.LINUX_SLL:
        return this.#cooked(bytes, start, end);
      case LinkType.LINUX_SLL2:
        return this.#cookedTwo(bytes, start, end);
      case LinkType.RAW:
      case LinkType.RAW_BSD:
      case LinkType.RAW_OPENBSD:
      case LinkType.IPV4:
      case LinkType.IPV6:
        return this.#raw(bytes, start, end);
      case LinkType.NULL:
      case LinkType.LOOP:
        return this.#family(bytes, start, end);
      default:
        this.outcome = LinkOutcome.UNSUPPORTED;
        return this.outcome;
    }
  }

  #ethernet(bytes: Uint8Array, start: number, end: number): LinkOutcome {
    if (end - start < ETHERNET_BYTES) return this.#truncated();
    this.sourceMacOffset = start + MAC_BYTES;
    if ((bytes[start] & 1) !== 0) {
      this.packetType = isBroadcast(bytes, start) ? PacketType.BROADCAST : PacketType.MULTICAST;
    }
    return this.#tagged(bytes, start + 12, end);
  }

  #cooked(bytes: Uint8Array, start: number, end: number): LinkOutcome {
    if (end - start < SLL_BYTES) return this.#truncated();
    this.packetType = packetTypeOf((bytes[start] << 8) | bytes[start + 1]);
    if (bytes[start + 4] === 0 && bytes[start + 5] === MAC_BYTES) this.sourceMacOffset = start + 6;
    return this.#tagged(bytes, start + 14, end);
  }

  /** Version 2 has the protocol first, far from the packet, so that a VLAN tag lies behind the header. */
  #cookedTwo(bytes: Uint8Array, start: number, end: number): LinkOutcome {
    if (end - start < SLL2_BYTES) return this.#truncated();
    this.interfaceIndex =
      (bytes[start + 4] << 24) | (bytes[start + 5] << 16) | (bytes[start + 6] << 8) | bytes[start + 7];
    this.packetType = packetTypeOf(bytes[start + 10]);
    if (bytes[start + 11] === MAC_BYTES) this.sourceMacOffset = start + 12;
    const etherType = (bytes[start] << 8) | bytes[start + 1];
    if (!isVlan(etherType)) return this.#settle(etherType, start + SLL2_BYTES, end);
    if (end - start < SLL2_BYTES + VLAN_BYTES) return this.#truncated();
    this.#countTag(bytes, start + SLL2_BYTES);
    return this.#tagged(bytes, start + SLL2_BYTES + 2, end);
  }

  #raw(bytes: Uint8Array, start: number, end: number): LinkOutcome {
    if (end <= start) return this.#truncated();
    const version = bytes[start] >> 4;
    if (version === 4) return this.#settle(ETHERTYPE_IPV4, start, end);
    if (version === 6) return this.#settle(ETHERTYPE_IPV6, start, end);
    this.outcome = LinkOutcome.NOT_IP;
    return this.outcome;
  }

  /** An address family of the recording system, in its byte order (null) or the network's (loop). */
  #family(bytes: Uint8Array, start: number, end: number): LinkOutcome {
    if (end - start < FAMILY_BYTES) return this.#truncated();
    const upper = (bytes[start] << 8) | bytes[start + 1];
    const lower = (bytes[start + 2] << 8) | bytes[start + 3];
    const family = upper === 0 ? lower : bytes[start] | (bytes[start + 1] << 8);
    this.offset = start + FAMILY_BYTES;
    this.lengthBytes = end - this.offset;
    if (upper === 0 || lower === 0) {
      if (family === 2) return this.#settle(ETHERTYPE_IPV4, this.offset, end);
      // AF_INET6: Linux 10, NetBSD and OpenBSD 24, FreeBSD 28, macOS 30.
      if (family === 10 || family === 24 || family === 28 || family === 30) {
        return this.#settle(ETHERTYPE_IPV6, this.offset, end);
      }
    }
    this.outcome = LinkOutcome.NOT_IP;
    return this.outcome;
  }

  /** Steps from the ethertype at `at` over all VLAN tags. */
  #tagged(bytes: Uint8Array, at: number, end: number): LinkOutcome {
    let etherType = (bytes[at] << 8) | bytes[at + 1];
    while (isVlan(etherType)) {
      if (end - at < 2 + VLAN_BYTES) return this.#truncated();
      this.#countTag(bytes, at + 2);
      at += VLAN_BYTES;
      etherType = (bytes[at] << 8) | bytes[at + 1];
    }
    return this.#settle(etherType, at + 2, end);
  }

  #countTag(bytes: Uint8Array, at: number): void {
    if (this.vlanTags === 0) this.vlanId = ((bytes[at] & 0x0f) << 8) | bytes[at + 1];
    this.vlanTags++;
  }

  #settle(etherType: number, offset: number, end: number): LinkOutcome {
    this.etherType = etherType;
    this.offset = offset;
    this.lengthBytes = end - offset;
    this.ipVersion = etherType === ETHERTYPE_IPV4 ? 4 : etherType === ETHERTYPE_IPV6 ? 6 : 0;
    this.outcome = this.ipVersion === 0 ? LinkOutcome.NOT_IP : LinkOutcome.IP;
    return this.outcome;
  }

  #truncated(): LinkOutcome {
    this.outcome = LinkOutcome.TRUNCATED;
    return this.outcome;
  }
}

/** True if frames of this link type can be read here. */
export function isSupportedLinkType(linkType: number): boolean {
  for (const known of Object.values(LinkType)) if (known === linkType) return true;
  return false;
}

/**
 * Cold. A copy of the frame's link header with `packet` behind it: what the frame becomes when its IP packet was
 * rewritten. `frame` is as `find(linkType, bytes, ...)` left it, of a frame that begins at `start`, with outcome
 * IP; the new packet has the same IP version. Padding is left out.
 */
export function rewrapPacket(
  frame: LinkFrame,
  bytes: Uint8Array,
  start: number,
  packet: Uint8Array,
): Uint8Array {
  const headerBytes = frame.offset - start;
  const wrapped = new Uint8Array(headerBytes + packet.length);
  wrapped.set(bytes.subarray(start, frame.offset));
  wrapped.set(packet, headerBytes);
  return wrapped;
}

/** Locally administered, so that nobody takes them for a real device's. */
const NOBODYS_MAC = Uint8Array.of(0x02, 0, 0, 0, 0, 0x02);
const OUR_MAC = Uint8Array.of(0x02, 0, 0, 0, 0, 0x01);

/**
 * Cold. An Ethernet frame around an IP packet that has no link header of its own; ethertype by its first nibble.
 *
 * Several interfaces in one file are better written as Ethernet than as raw IP: libpcap 1.10 refuses a pcapng
 * file in which more than one interface has link type RAW ("an interface has a type 101 different ...").
 */
export function wrapInEthernet(
  packet: Uint8Array,
  destinationMac: Uint8Array = NOBODYS_MAC,
  sourceMac: Uint8Array = OUR_MAC,
): Uint8Array {
  const frame = new Uint8Array(ETHERNET_BYTES + packet.length);
  const etherType = packet[0] >> 4 === 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
  frame.set(destinationMac.subarray(0, MAC_BYTES));
  frame.set(sourceMac.subarray(0, MAC_BYTES), MAC_BYTES);
  frame[12] = etherType >> 8;
  frame[13] = etherType & 0xff;
  frame.set(packet, ETHERNET_BYTES);
  return frame;
}

/** Names of what else is met on a link, by ethertype. */
const ETHERTYPE_NAMES = new Map([
  [0x0806, 'ARP'],
  [0x8035, 'RARP'],
  [0x8847, 'MPLS'],
  [0x8863, 'PPPoE discovery'],
  [0x8864, 'PPPoE session'],
  [0x888e, 'EAPOL'],
  [0x88cc, 'LLDP'],
  [0x88e5, 'MACsec'],
]);

/** Cold. Says in words why a frame has no IP packet to give: "ARP", "cut off in its link header". */
export function describeFrame(frame: LinkFrame, linkType: number): string {
  switch (frame.outcome) {
    case LinkOutcome.IP:
      return `IPv${frame.ipVersion}`;
    case LinkOutcome.TRUNCATED:
      return 'cut off in its link header';
    case LinkOutcome.UNSUPPORTED:
      return `link type ${linkType} is not supported`;
    default:
      if (frame.etherType < 0) return 'not IP';
      if (frame.etherType < SMALLEST_ETHERTYPE) return 'IEEE 802.3 LLC';
      return (
        ETHERTYPE_NAMES.get(frame.etherType) ?? `ethertype 0x${frame.etherType.toString(16).padStart(4, '0')}`
      );
  }
}

/** 802.1Q, 802.1ad, and the two that stood for stacked tags before it. */
function isVlan(etherType: number): boolean {
  return etherType === 0x8100 || etherType === 0x88a8 || etherType === 0x9100 || etherType === 0x9200;
}

function isBroadcast(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < MAC_BYTES; i++) if (bytes[at + i] !== 0xff) return false;
  return true;
}

function packetTypeOf(recorded: number): PacketType {
  return recorded <= PacketType.OUTGOING ? (recorded as PacketType) : PacketType.UNKNOWN;
}
