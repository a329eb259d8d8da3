/**
 * What is told of a packet's way through the router: plain objects, the same for text and JSON. Cold.
 */
import type { Connection } from '../conntrack/connection.js';

/** A packet's way from where it entered to its end. */
export interface Explanation {
  /** In the notation. */
  readonly packet: string;
  /** Interface that it came in by, or `local`. */
  readonly in: string;
  readonly stages: readonly Stage[];
  readonly fate: ExplainedFate;
  /** Name of the drop reason; of a refused one the error number's name or number. */
  readonly reason?: string;
  /** Where it was dropped, `filter/FORWARD policy`. */
  readonly place?: string;
  /** What left the router in its stead: itself, translated, or in pieces. */
  readonly out: readonly Outgoing[];
  /** Its connection as it is now. */
  readonly connection?: Connection;
  /** Packets that the router made because of it, each with its own way. */
  readonly answers: readonly Explanation[];
}

/** `sent`: made by the router and gone out; `refused`: the sender got an error. */
export type ExplainedFate = 'forwarded' | 'sent' | 'delivered' | 'dropped' | 'held' | 'refused';

export interface Outgoing {
  readonly interface: string;
  /** In the notation. */
  readonly packet: string;
  /** Bytes, hexadecimal. */
  readonly bytes: string;
}

export type Stage = HookStage | RouteStage;

/** One of netfilter's hooks, with what happened there in order. */
export interface HookStage {
  readonly stage: 'hook';
  readonly hook: string;
  readonly steps: readonly Step[];
  readonly verdict: 'ACCEPT' | 'DROP' | 'STOLEN' | 'QUEUE';
}

/** What the router decided between two hooks, in words. */
export interface RouteStage {
  readonly stage: 'route';
  readonly text: string;
}

export type Step = TableStep | ConntrackStep | NatStep | WordsStep;

/** The rules of one table that the packet came to, in order. */
export interface TableStep {
  readonly step: 'table';
  readonly table: string;
  readonly rules: readonly RuleStep[];
  readonly verdict: 'ACCEPT' | 'DROP' | 'STOLEN' | 'QUEUE';
}

export interface RuleStep {
  readonly chain: string;
  readonly number: number | 'policy' | 'return';
  /** The rule, a policy's verdict, or '' for the end of a chain. */
  readonly text: string;
  readonly matched: boolean;
  /** As the TRACE target's lines in the kernel's log name it: `filter:FORWARD:rule:2`. */
  readonly trace: string;
  /** Why it did not match. */
  readonly reason?: string;
  /** What a match led to, in words. */
  readonly outcome?: string;
  /** What its target changed, in words. */
  readonly effects?: readonly string[];
}

export interface ConntrackStep {
  readonly step: 'conntrack';
  /** NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED; '' if the packet was dropped. */
  readonly state: string;
  readonly direction?: 'original' | 'reply';
  /** Whether the packet began an entry. */
  readonly isNew: boolean;
  /** The connection in one line. */
  readonly connection?: string;
  readonly text: string;
}

export interface NatStep {
  readonly step: 'nat';
  readonly end: 'source' | 'destination';
  /** Address, and port or id, before and after. */
  readonly before: string;
  readonly after: string;
  readonly text: string;
}

/** `defragment`, `confirm`, `tracking`; `reroute`: OUTPUT changed where a packet of our own goes. */
export interface WordsStep {
  readonly step: 'defragment' | 'confirm' | 'tracking' | 'reroute';
  readonly text: string;
}
