/**
 * Conditions that ask the host: socket, owner, rpfilter; and helper, which asks the connection. Hot.
 */
import type { EntryId } from '../../conntrack/entries.js';
import type { Helper } from '../../conntrack/helpers/helper.js';
import type { Tracker } from '../../conntrack/tracker.js';
import { type Host, LocalSocket } from '../../host.js';
import type { Packet } from '../../wire/packet.js';
import type { HelperMatch, OwnerMatch, RangeCondition, RpfilterMatch, SocketMatch } from '../ast.js';
import type { Match, RuleContext } from '../context.js';

const NIL = -1;
const ESTABLISHED_REPLY = 3;
const STATUS_SRC_NAT_DONE = 128;
const TCP = 6;
const UDP = 17;
/** What is read of a transport header: that of UDP. */
const HEADER_BYTES = 8;
const FOUND = LocalSocket.FOUND;
const WILDCARD = LocalSocket.WILDCARD;
const TRANSPARENT = LocalSocket.TRANSPARENT;

/**
 * A local TCP or UDP socket that would get the packet, or that TPROXY gave it to; one bound to any address counts with
 * `--nowildcard` only. `--restore-skmark` gives the packet the socket's mark: sockets here have none, 0.
 */
export class LocalSocketMatch implements Match {
  readonly #host: Host;
  readonly #tracker: Tracker;
  readonly #addresses = new Int32Array(8);
  readonly #transparent: boolean;
  readonly #wildcards: boolean;
  readonly #restoresMark: boolean;

  constructor(spec: SocketMatch, host: Host, tracker: Tracker) {
    this.#host = host;
    this.#tracker = tracker;
    this.#transparent = spec.transparent;
    this.#wildcards = spec.noWildcard;
    this.#restoresMark = spec.restoreMark;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    const host = this.#host;
    const protocol = context.protocol;
    if (host.localSocket === undefined || context.fragmentOffset !== 0) return 0;
    if (protocol !== TCP && protocol !== UDP) return 0;
    const at = context.transport;
    if (at + HEADER_BYTES > packet.end) return 0;
    const found =
      packet.socket > 0 ? (host.assignedSocket?.(packet.socket) ?? 0) : this.#find(packet, at, protocol);
    if ((found & FOUND) === 0) return 0;
    if ((found & WILDCARD) !== 0 && !this.#wildcards) return 0;
    if (this.#transparent && (found & TRANSPARENT) === 0) return 0;
    if (this.#restoresMark) packet.mark = 0;
    return 1;
  }

  #find(packet: Packet, at: number, protocol: number): number {
    const addresses = this.#addresses;
    for (let i = 0; i < 8; i++) addresses[i] = packet.addresses[i] as number;
    const port = this.#untranslate(packet, addresses, packet.u16(at + 2));
    const { version, inInterface } = packet;
    return this.#host.localSocket?.(version, protocol, addresses, packet.u16(at), port, inInterface) ?? 0;
  }

  /** An answer to a connection whose source NAT changed belongs to the socket that began it. Returns the port. */
  #untranslate(packet: Packet, addresses: Int32Array, port: number): number {
    if (packet.entry === NIL || packet.ctinfo !== ESTABLISHED_REPLY) return port;
    const entries = this.#tracker.table(packet.version).entries;
    const entry = packet.entry as EntryId;
    if ((entries.status(entry) & STATUS_SRC_NAT_DONE) === 0) return port;
    for (let i = 0; i < 4; i++) addresses[4 + i] = entries.sourceWord(entry, 0, i);
    return entries.ports(entries.tuple(entry, 0)) >>> 16;
  }
}

const FORWARDED = 0;
const KERNEL = 1;
const PROGRAM = 2;

/**
 * Who sent the packet: nobody here, if it came in; the host itself, whose sockets belong to no user; or a program, which
 * counts as the superuser's. What is asked is the same for all packets of a kind, so it is answered once.
 */
export class OwnerTest implements Match {
  /** [3] by kind. */
  readonly #answers: readonly (0 | 1)[];

  constructor({ uid, gid, socketExists }: OwnerMatch) {
    const negations = [uid?.negated, gid?.negated, socketExists && socketExists === 'no'];
    const ofUser = [uid?.negated, gid?.negated];
    const isSuperuser = (range: RangeCondition | undefined): boolean =>
      range === undefined || (range.low === 0) !== range.negated;
    const exists = socketExists !== 'no';
    this.#answers = [
      negations.includes(false) ? 0 : 1,
      exists && !ofUser.includes(false) ? 1 : 0,
      exists && isSuperuser(uid) && isSuperuser(gid) ? 1 : 0,
    ];
  }

  matches(packet: Packet): 0 | 1 {
    const kind = packet.inInterface !== 0 ? FORWARDED : packet.fromSocket === 1 ? PROGRAM : KERNEL;
    return this.#answers[kind] as 0 | 1;
  }
}

/** Whether answers to the packet's source would leave by the interface that it came in by (RFC 3704). */
export class ReversePathMatch implements Match {
  readonly #host: Host;
  readonly #loose: boolean;
  readonly #acceptLocal: boolean;
  readonly #negated: 0 | 1;

  constructor(spec: RpfilterMatch, host: Host) {
    this.#host = host;
    this.#loose = spec.loose;
    this.#acceptLocal = spec.acceptLocal;
    this.#negated = spec.invert ? 1 : 0;
  }

  matches(packet: Packet): 0 | 1 {
    return (this.#holds(packet) ^ this.#negated) as 0 | 1;
  }

  #holds(packet: Packet): 0 | 1 {
    const host = this.#host;
    // A host without routes has one way for everything.
    if (host.reversePath === undefined || isExempt(packet) === 1) return 1;
    const way = host.reversePath(packet.version, packet.addresses, 0, packet.inInterface, packet.mark);
    if (way === 0) return 0;
    if (way < 0) {
      if (!this.#acceptLocal) return 0;
      return packet.version === 6 || this.#loose || -way === packet.inInterface ? 1 : 0;
    }
    return this.#loose || way === packet.inInterface ? 1 : 0;
  }
}

/** Packets of hosts that have no address yet: 1, else 0. */
function isExempt(packet: Packet): 0 | 1 {
  const addresses = packet.addresses;
  if (packet.version === 6) {
    const bits =
      (addresses[0] as number) |
      (addresses[1] as number) |
      (addresses[2] as number) |
      (addresses[3] as number);
    return bits === 0 ? 1 : 0;
  }
  if ((addresses[0] as number) >>> 24 !== 0) return 0;
  // 224.0.0.0/24 is for the link alone.
  return addresses[4] === -1 || (addresses[4] as number) >>> 8 === 0xe00000 ? 1 : 0;
}

/** Connections that a helper expected: by any, or by one whose name the given one begins with. */
export class ExpectedByHelperMatch implements Match {
  readonly #negated: 0 | 1;
  readonly #name: string;
  readonly #tracker: Tracker;

  constructor(spec: HelperMatch, tracker: Tracker) {
    this.#negated = spec.negated ? 1 : 0;
    this.#name = spec.name;
    this.#tracker = tracker;
  }

  matches(packet: Packet): 0 | 1 {
    const helper = this.#helperOfMaster(packet);
    if (helper === undefined) return this.#negated;
    const fits = this.#name === '' || this.#name.startsWith(helper.name);
    return fits ? ((1 - this.#negated) as 0 | 1) : this.#negated;
  }

  #helperOfMaster(packet: Packet): Helper | undefined {
    if (packet.entry === NIL) return undefined;
    const table = this.#tracker.table(packet.version);
    const entry = packet.entry as EntryId;
    if (table.entries.extension(entry) === 0) return undefined;
    return table.extensions.of(entry)?.master?.helper;
  }
}
