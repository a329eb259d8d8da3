/** What an entry and a tuple are named by: ids, directions, and a connection's status bits with Linux's values. */

declare const entryBrand: unique symbol;
declare const tupleBrand: unique symbol;
/** Word offset of a connection's record. */
export type EntryId = number & { readonly [entryBrand]: 'EntryId' };
/** Word offset of one direction's line. */
export type TupleId = number & { readonly [tupleBrand]: 'TupleId' };

/** Direction of a tuple or packet. */
export const Direction = { ORIGINAL: 0, REPLY: 1 } as const;
export type Direction = (typeof Direction)[keyof typeof Direction];

/** Status bits, IPS_* of Linux with the same values. */
export const Status = {
  EXPECTED: 1,
  SEEN_REPLY: 2,
  ASSURED: 4,
  CONFIRMED: 8,
  SRC_NAT: 16,
  DST_NAT: 32,
  SEQ_ADJUST: 64,
  SRC_NAT_DONE: 128,
  DST_NAT_DONE: 256,
  DYING: 512,
  FIXED_TIMEOUT: 1024,
  TEMPLATE: 2048,
  NAT_CLASH: 4096,
  HELPER: 8192,
  OFFLOAD: 16384,
  /** Not of Linux: the rules that let it be have changed, and it is looked at again at its next packet. */
  REVIEW: 1 << 20,
} as const;
