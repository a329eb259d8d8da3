/**
 * Conversations as text: packets of one flow, and behind the bar what the tracker made of each.
 *
 *     > SYN seq 999 | NEW SYN_SENT 120 1/0
 *     < SYN,ACK seq 4999 ack 1000 | ESTABLISHED SYN_RECV 60 1/1
 *     +2000
 *
 * `>` is the side that opens, `+` lets milliseconds pass. What follows the arrow is the packet notation without
 * protocol and ends. Behind the bar: ctinfo, then of the entry its state (where the protocol has any), timeout in
 * seconds, ASSURED if it is, packets counted original/reply; `none` without an entry. A packet that is ignored counts
 * nothing, so its line repeats the counts of the line before.
 */
import { expect } from 'vitest';
import type { TrackSettings } from '../../../lib/conntrack/context.js';
import { Direction, type EntryId, NIL, Status } from '../../../lib/conntrack/entries.js';
import { stateName } from '../../../lib/conntrack/protocols/names.js';
import { Tracker } from '../../../lib/conntrack/tracker.js';
import { parsePacket } from '../../../lib/scenario/notation.js';
import { CtInfo, Packet } from '../../../lib/wire/packet.js';
import { Hook } from '../../../lib/wire/verdict.js';

/** The two ends of a conversation and what they speak. */
export interface Ends {
  readonly protocol: string;
  readonly opener: string;
  readonly peer: string;
}

const CTINFO_NAMES = new Map<number, string>(Object.entries(CtInfo).map(([name, number]) => [number, name]));

/** A tracker and the one flow that is looked at. */
export class Talk {
  readonly tracker = new Tracker({ maxConnections: 64, seed: 1 });
  readonly #ends: Ends;
  readonly #packet = new Packet();
  #nowMs = 0;
  #entry = NIL as EntryId;

  constructor(ends: Ends, settings: Partial<TrackSettings> = {}) {
    this.#ends = ends;
    Object.assign(this.tracker.context.settings, settings);
  }

  /** Says every line and holds the tracker to what the text has behind the bars. */
  say(text: string): void {
    const lines = text.split('\n').map((line) => line.trim());
    const said = lines.filter((line) => line !== '').map((line) => this.#line(line));
    expect(said.join('\n')).toBe(lines.filter((line) => line !== '').join('\n'));
  }

  /** One packet; returns what stands behind the bar. */
  packet(arrow: string, rest: string): string {
    const { protocol, opener, peer } = this.#ends;
    const [from, to] = arrow === '>' ? [opener, peer] : [peer, opener];
    return this.bytes(parsePacket(`${protocol} ${from} > ${to} ${rest}`));
  }

  /** The same for a packet's bytes. */
  bytes(bytes: Uint8Array): string {
    const packet = this.#packet;
    packet.parse(bytes);
    this.tracker.begin(this.#nowMs);
    this.tracker.track(packet, Hook.PREROUTING);
    const { ctinfo } = packet;
    if (packet.entry !== NIL && ctinfo !== CtInfo.RELATED && ctinfo !== CtInfo.RELATED_REPLY) {
      this.#entry = packet.entry as EntryId;
    }
    this.tracker.confirm(packet);
    this.tracker.discard(packet);
    const name = CTINFO_NAMES.get(ctinfo)?.replace('ESTABLISHED_REPLY', 'ESTABLISHED');
    return `${name} ${this.#entryText(packet.version)}`;
  }

  #line(line: string): string {
    if (line.startsWith('+')) {
      this.#nowMs += Number(line.slice(1));
      return line;
    }
    const [said = ''] = line.split(' | ');
    return `${said} | ${this.packet(said.slice(0, 1), said.slice(2))}`;
  }

  #entryText(version: number): string {
    const entry = this.#entry;
    const { entries } = this.tracker.table(version);
    if (entry === NIL || (entries.status(entry) & (Status.CONFIRMED | Status.DYING)) !== Status.CONFIRMED) {
      return 'none';
    }
    const state = stateName(entries.protocol(entry), entries.state(entry));
    const timeoutMs = (entries.expires(entry) - this.tracker.timeOf(this.#nowMs)) | 0;
    const words = [
      ...(state === undefined ? [] : [state]),
      timeoutMs / 1000,
      ...((entries.status(entry) & Status.ASSURED) === 0 ? [] : ['ASSURED']),
      [Direction.ORIGINAL, Direction.REPLY].map((d) => entries.packets(entry, d)).join('/'),
    ];
    return words.join(' ');
  }
}
