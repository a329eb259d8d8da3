/**
 * Why packets were dropped or left alone. Every packet that does not go its way has exactly one reason, and
 * every reason is counted: nothing disappears silently.
 */

/** Reasons as small integers; 0 means none. Names are in {@link DROP_REASON_NAMES}. */
export const DropReason = {
  NONE: 0,
  // wire: the packet is not what it says it is
  TRUNCATED: 1,
  BAD_VERSION: 2,
  BAD_HEADER_LENGTH: 3,
  BAD_TOTAL_LENGTH: 4,
  BAD_HEADER_CHECKSUM: 5,
  BAD_OPTIONS: 6,
  BAD_EXTENSION_HEADER: 7,
  BAD_ADDRESS: 8,
  MARTIAN: 9,
  UNKNOWN_LINK_PROTOCOL: 10,
  // fragments
  FRAGMENT_OVERLAP: 11,
  FRAGMENT_BAD: 12,
  FRAGMENT_MEMORY: 13,
  FRAGMENT_TIMEOUT: 14,
  // conntrack
  TABLE_FULL: 15,
  CONFIRM_CLASH: 16,
  CT_INVALID_DROPPED: 17,
  CT_HANDSHAKE_REPEAT: 18,
  // nat
  NAT_EXHAUSTED: 19,
  NAT_ERROR_UNTRANSLATABLE: 20,
  NAT_ADDRESS_GONE: 21,
  // rules
  RULE_DROP: 22,
  RULE_REJECT: 23,
  RULE_POLICY: 24,
  RULE_MALFORMED: 25,
  RULE_QUEUE_UNHEARD: 26,
  // router
  NOT_FORWARDING: 27,
  NO_ROUTE: 28,
  PROHIBITED_ROUTE: 29,
  TTL_EXCEEDED: 30,
  TOO_BIG: 31,
  NO_LOCAL_LISTENER: 32,
  NOT_FOR_US: 33,
  SCOPE: 34,
  // helpers
  HELPER: 35,
  // links and the gateway's services
  LINK_DOWN: 36,
  LINK_UNHEARD: 37,
  LINK_BAD_FRAME: 38,
  LINK_OTHER_HOST: 39,
  LINK_OFFLOAD: 40,
  NEIGHBOUR_QUEUE_FULL: 41,
  NEIGHBOUR_UNREACHABLE: 42,
  NEIGHBOUR_REFUSED: 43,
  SERVICE_REFUSED: 44,
  GATEWAY_CLOSED: 45,
  // changed rules
  RULE_CHANGED: 46,
  // local endpoints
  SOURCE_REFUSED: 47,
  ENDPOINT_QUEUE_FULL: 48,
  ENDPOINT_FLOWS_FULL: 49,
  // TPROXY found no socket, or one that is not transparent
  NO_TRANSPARENT_SOCKET: 50,
} as const;
export type DropReason = (typeof DropReason)[keyof typeof DropReason];

/** Names for people and for `--json`, by reason: `DROP_REASON_NAMES[DropReason.TRUNCATED]` is `truncated`. */
export const DROP_REASON_NAMES: readonly string[] = Object.keys(DropReason).map((key) =>
  key.toLowerCase().replaceAll('_', '-'),
);

/** Counts per drop reason. */
export class DropCounters {
  readonly #counts = new Float64Array(DROP_REASON_NAMES.length);

  count(reason: DropReason): void {
    this.#counts[reason]!++;
  }

  get(reason: DropReason): number {
    return this.#counts[reason] as number;
  }

  /** Every reason counted at least once, by name. A copy. */
  toObject(): Record<string, number> {
    const seen: Record<string, number> = {};
    for (let reason = 1; reason < this.#counts.length; reason++) {
      const count = this.#counts[reason] as number;
      if (count > 0) seen[DROP_REASON_NAMES[reason] as string] = count;
    }
    return seen;
  }

  reset(): void {
    this.#counts.fill(0);
  }
}
