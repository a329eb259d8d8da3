/**
 * What the matches and targets of a rule see besides the packet, and the two interfaces that they implement. Hot.
 *
 * One context per rule engine, filled anew for each traversal. Nothing may keep it.
 */
import type { Packet } from '../wire/packet.js';

/** A condition of a rule. One object per rule that has it, with that rule's state. */
export interface Match {
  /** 1 if it holds, else 0. Sets {@link RuleContext.hotdrop} for a packet that cannot be judged and must not pass. */
  matches(packet: Packet, context: RuleContext): 0 | 1;
}

/** What a rule does to the packets that it matches. */
export interface Target {
  /** A verdict that ends the traversal, or {@link CONTINUE}. Sets `packet.reason` with a verdict of DROP. */
  act(packet: Packet, context: RuleContext): number;
}

/** Answer of a target that lets the packet go on to the next rule. */
export const CONTINUE = -1;

export class RuleContext {
  /** Time of the packet, int32 ms as the tracker counts them. */
  now = 0;
  /** The same as the caller counts it, of any origin; may have a fraction. */
  nowMs = 0.5;
  /** Hook and table that are being traversed, by number. */
  hook = 0;
  table = 0;
  /** 1: the packet is dropped whatever the rules say (a header that a match needs is cut off). */
  hotdrop = 0;
  /** Transport protocol; of IPv6 the last next-header value, -1 if the headers cannot be walked. */
  protocol = 0;
  /** Offset of the transport header in `packet.bytes`; may lie behind `packet.end` for broken packets. */
  transport = 0;
  /** Fragment offset: in units of 8 bytes for IPv4, in bytes for IPv6. Not 0: there is no transport header. */
  fragmentOffset = 0;
}
