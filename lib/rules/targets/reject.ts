/**
 * REJECT: decides whether Linux would answer, has the host send the answer, and drops the packet. Hot on rejected
 * packets.
 *
 * No answer to: fragments but the first, packets with a wrong checksum (of protocols whose checksum covers the whole
 * payload), broadcasts and multicasts, ICMP errors (RFC 1122 section 3.2.2, RFC 4443 section 2.4), and no reset to a
 * reset or to anything but TCP. A reset closes the connection in the table at once.
 */

import { Change } from '../../conntrack/context.js';
import type { EntryId } from '../../conntrack/entries.js';
import type { Tracker } from '../../conntrack/tracker.js';
import { DropReason } from '../../counters.js';
import { AddressType, type Host, REJECT_WITH_RESET } from '../../host.js';
import { sumRange } from '../../wire/checksum.js';
import { ChecksumState, type Packet, PacketType } from '../../wire/packet.js';
import { verifyChecksum } from '../../wire/transport.js';
import { Hook, Verdict } from '../../wire/verdict.js';
import type { RejectTarget as RejectSpec } from '../ast.js';
import type { RuleContext, Target } from '../context.js';

const DROP = Verdict.DROP;
const RULE_REJECT = DropReason.RULE_REJECT;
const TO_HOST = PacketType.HOST;
const BROADCAST = AddressType.BROADCAST;
const MULTICAST = AddressType.MULTICAST;
const STATE_CHANGED = Change.STATE;
const FORWARD = Hook.FORWARD;
const UNVERIFIED = ChecksumState.NONE;
const UNFINISHED = ChecksumState.PARTIAL;
const IPV4_HEADER_BYTES = 20;
const NIL = -1;
const STATUS_CONFIRMED = 8;
const STATUS_FIXED_TIMEOUT = 1024;

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const GRE = 47;
const ESP = 50;
const AUTHENTICATION = 51;
const ICMPV6 = 58;
const SCTP = 132;
const UDPLITE = 136;

const TCP_HEADER_BYTES = 20;
const TCP_RST = 4;
const TCP_CLOSE = 8;

/** ICMP queries (RFC 792, RFC 950): every other type counts as an error. */
const ICMP_LAST_TYPE = 18;
const ICMP_ERRORS = (1 << 3) | (1 << 4) | (1 << 5) | (1 << 11) | (1 << 12);
/** Bit of an ICMPv6 type that is not an error (RFC 4443 section 2.1). */
const ICMPV6_INFORMATIONAL = 0x80;

const RESET = REJECT_WITH_RESET;

/** Type << 8 | code per kind (RFC 792, RFC 1812 section 5.2.7.1; RFC 4443 section 3.1). */
const ANSWERS: Readonly<Record<RejectSpec['with'], number>> = {
  'icmp-net-unreachable': 0x300,
  'icmp-host-unreachable': 0x301,
  'icmp-proto-unreachable': 0x302,
  'icmp-port-unreachable': 0x303,
  'icmp-net-prohibited': 0x309,
  'icmp-host-prohibited': 0x30a,
  'icmp-admin-prohibited': 0x30d,
  'icmp6-no-route': 0x100,
  'icmp6-adm-prohibited': 0x101,
  'icmp6-addr-unreachable': 0x103,
  'icmp6-port-unreachable': 0x104,
  'icmp6-policy-fail': 0x105,
  'icmp6-reject-route': 0x106,
  'tcp-reset': RESET,
};

export class RejectTarget implements Target {
  readonly #answer: number;
  readonly #tracker: Tracker;
  readonly #host: Host;

  constructor(spec: RejectSpec, tracker: Tracker, host: Host) {
    this.#answer = ANSWERS[spec.with];
    this.#tracker = tracker;
    this.#host = host;
  }

  act(packet: Packet, context: RuleContext): number {
    const hook = context.hook;
    if (packet.fragmentOffset === 0 && packet.brokenChain === 0) {
      if (this.#answer === RESET) {
        if (this.#mayReset(packet, hook) === 1) {
          this.#close(packet);
          this.#host.reject(packet, hook, RESET);
        }
      } else if (this.#mayAnswer(packet) === 1) {
        this.#host.reject(packet, hook, this.#answer);
      }
    }
    packet.reason = RULE_REJECT;
    return DROP;
  }

  #mayAnswer(packet: Packet): 0 | 1 {
    if (packet.packetType !== TO_HOST || this.#isForOne(packet) === 0 || isError(packet) === 1) return 0;
    if (packet.version === 6 && (packet.transport >= packet.end || isNobody6(packet.addresses) === 1))
      return 0;
    return isWhole(packet);
  }

  #mayReset(packet: Packet, hook: number): 0 | 1 {
    const at = packet.transport;
    if (packet.protocol !== TCP || at + TCP_HEADER_BYTES > packet.end) return 0;
    if ((packet.u8(at + 13) & TCP_RST) !== 0 || this.#isForOne(packet) === 0) return 0;
    if (packet.version === 6 && isNobody6(packet.addresses) === 1) return 0;
    // Resets do without what is known of the checksum of a packet that is forwarded.
    const isSummed = hook === FORWARD && packet.checksumState !== UNFINISHED;
    if (isSummed && hasGoodHeader(packet) === 0) return 0;
    return hasGoodSum(packet, TCP);
  }

  /** 0 for a destination that is a broadcast or multicast address. */
  #isForOne(packet: Packet): 0 | 1 {
    const addresses = packet.addresses;
    if (packet.version === 6) return (addresses[4] as number) >>> 24 === 0xff ? 0 : 1;
    const type = this.#host.addressType(4, addresses, 4, 0);
    return type === BROADCAST || type === MULTICAST ? 0 : 1;
  }

  /** The connection that is reset, if confirmed, goes to CLOSE and has CLOSE's timeout from now on. */
  #close(packet: Packet): void {
    if (packet.entry === NIL) return;
    const table = this.#tracker.table(packet.version);
    const entries = table.entries;
    const entry = packet.entry as EntryId;
    if (entries.protocol(entry) !== TCP || (entries.status(entry) & STATUS_CONFIRMED) === 0) return;
    const before = entries.state(entry);
    entries.setState(entry, TCP_CLOSE);
    if (before === TCP_CLOSE || (entries.status(entry) & STATUS_FIXED_TIMEOUT) !== 0) return;
    const context = this.#tracker.context;
    entries.setExpires(entry, (context.now + (context.timeouts.tcp[TCP_CLOSE] as number)) | 0);
    context.changed(table, entry, STATE_CHANGED);
  }
}

/** Whether an IPv6 packet's source is the unspecified or a multicast address: 1 or 0. */
function isNobody6(addresses: Int32Array): 0 | 1 {
  const first = addresses[0] as number;
  if (first >>> 24 === 0xff) return 1;
  return (first | (addresses[1] as number) | (addresses[2] as number) | (addresses[3] as number)) === 0
    ? 1
    : 0;
}

/** Whether the packet is an ICMP error, or may be one: 1 or 0. */
function isError(packet: Packet): 0 | 1 {
  const at = packet.transport;
  if (packet.version === 6) {
    if (packet.protocol !== ICMPV6) return 0;
    return at >= packet.end || (packet.u8(at) & ICMPV6_INFORMATIONAL) === 0 ? 1 : 0;
  }
  if (packet.protocol !== ICMP) return 0;
  if (at >= packet.end) return 1;
  const type = packet.u8(at);
  return type > ICMP_LAST_TYPE || (ICMP_ERRORS & (1 << type)) !== 0 ? 1 : 0;
}

/**
 * Whether the transport checksum holds, for protocols whose checksum covers the payload: 1 or 0. Of protocols that it
 * does not know Linux expects the sum to come out as ICMP's does.
 */
function isWhole(packet: Packet): 0 | 1 {
  const at = packet.transport;
  const protocol = packet.protocol;
  switch (protocol) {
    case UDP:
      if (at + 8 <= packet.end && packet.u16(at + 6) === 0) return 1;
      break;
    case GRE:
    case AUTHENTICATION:
    case ESP:
    case SCTP:
    case UDPLITE:
      return 1;
    default:
      break;
  }
  const pseudo = packet.version === 6 || protocol === TCP || protocol === UDP ? protocol : 0;
  return hasGoodSum(packet, pseudo);
}

/** Whether the transport checksum holds: 1 or 0. If nobody verified it before, Linux sums the whole packet. */
function hasGoodSum(packet: Packet, pseudoProtocol: number): 0 | 1 {
  if (packet.checksumState === UNVERIFIED && hasGoodHeader(packet) === 0) return 0;
  return verifyChecksum(packet, pseudoProtocol);
}

/**
 * Whether an IPv4 header adds nothing to the sum over a packet: 1 or 0. It does while the router has written into an option
 * and the header checksum is yet to follow.
 */
function hasGoodHeader(packet: Packet): 0 | 1 {
  const { start, transport } = packet;
  if (packet.version === 6 || transport - start <= IPV4_HEADER_BYTES) return 1;
  return sumRange(packet.bytes, start, transport, 0) === 0xffff ? 1 : 0;
}
