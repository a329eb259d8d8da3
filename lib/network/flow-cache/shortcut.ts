/** What a flow cache says of a packet: the interface that it leaves by (1 or more), or one of these. */
export const Shortcut = {
  /** It has to go the long way. */
  NONE: 0,
  /** The same, and is worth to be learned from: another one like it may go the short way. */
  LEARN: -1,
  /** The same, of UDP or TCP in a sound IPv4 header without options, no fragment, whose tuple no connection has. */
  BEGIN: -2,
} as const;
