/**
 * Where the words of a record are that hot files (`established.ts`, `established-tcp.ts`, `opening.ts`, the protocols, NAT, the flow
 * cache) read and write themselves, as a call per word would cost more than the word. The picture of the whole record is in `entries.ts`; the tests hold the two together.
 */
export const Word = {
  // From a tuple.
  HASH: 0,
  NEXT: 1,
  SOURCE: 3,
  DESTINATION: 4,
  PORTS: 5,
  KIND: 6,
  TD_END: 7,
  TD_MAXEND: 8,
  TD_MAXWIN: 9,
  TD_MAXACK: 10,
  FLAGS: 11,
  PACKETS: 12,
  BYTES: 13,
  COUNT_HIGH: 14,
  FLOW_PATH: 15,
  // From an entry.
  STATUS: 32,
  EXPIRES: 33,
  PROTOCOL: 35,
  /** UDP: time from which on it is a stream. */
  STREAM_AFTER: 36,
  BORN: 40,
  ZONE: 41,
  MASQUERADE: 42,
  EXTENSION: 46,
  POLICY: 47,
  /** IPv6: whole addresses, eight words per direction. */
  WIDE: 48,
  /** Bits of the word ZONE. */
  CLOCK_BITS: 31 << 18,
} as const;
