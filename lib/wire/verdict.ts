/**
 * Hooks and verdicts: the numbers of netfilter, shared by every room that a packet passes.
 */

/** Where in a packet's way a room is asked (NF_INET_* of Linux, same numbers). */
export const Hook = { PREROUTING: 0, INPUT: 1, FORWARD: 2, OUTPUT: 3, POSTROUTING: 4 } as const;
export type Hook = (typeof Hook)[keyof typeof Hook];

/** Names by hook number, as chains are called. */
export const HOOK_NAMES = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'] as const;

/** What becomes of a packet (NF_* of Linux, same numbers). */
export const Verdict = {
  /** It ends here; `packet.reason` says why. */
  DROP: 0,
  /** It goes on. */
  ACCEPT: 1,
  /** Somebody keeps it (a fragment waiting for the others). */
  STOLEN: 2,
  /** A callback decides later. */
  QUEUE: 3,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];
