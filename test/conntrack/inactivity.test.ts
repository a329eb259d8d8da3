import { describe, expect, it } from 'vitest';
import { type EntryId, NIL } from '../../lib/conntrack/entries.js';
import { ClockBit, SlotClock } from '../../lib/conntrack/inactivity.js';
import { Tracker } from '../../lib/conntrack/tracker.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { Packet } from '../../lib/wire/packet.js';
import { Hook } from '../../lib/wire/verdict.js';

const THERE = 'udp 10.0.0.2:5000 > 10.0.0.3:53 len 5';
const BACK = 'udp 10.0.0.3:53 > 10.0.0.2:5000 len 5';

function pass(tracker: Tracker, text: string, nowMs: number): EntryId {
  const packet = new Packet();
  packet.parse(parsePacket(text));
  tracker.begin(nowMs);
  tracker.track(packet, Hook.PREROUTING);
  const entry = packet.entry as EntryId;
  tracker.confirm(packet);
  tracker.discard(packet);
  return entry;
}

/** A tracker with one established connection, and the moments at which the clock found it silent. */
function make(intervalMs: number) {
  const tracker = new Tracker({ maxConnections: 64, seed: 1 });
  const silent: number[] = [];
  let atMs = 0;
  const clock = new SlotClock(tracker, intervalMs, 0, (table, entry) => {
    const bits = table.entries.clock(entry);
    if ((bits & ClockBit.IDLE) !== 0) silent.push(atMs);
    else table.entries.setClock(entry, bits | ClockBit.IDLE);
  });
  const advance = (nowMs: number): void => {
    atMs = nowMs;
    clock.advance(nowMs);
  };
  pass(tracker, THERE, 0);
  const entry = pass(tracker, BACK, 0);
  return { tracker, clock, advance, silent, entry };
}

describe('the clock', () => {
  it('visits each record once per interval, slice by slice', () => {
    const { clock, advance, silent, tracker } = make(6400);
    const visits: number[] = [];
    for (let ms = 0; ms <= 64_000; ms += 10) {
      if (clock.nextMs() <= ms) visits.push(ms);
      advance(ms);
      if (ms % 6400 === 0) pass(tracker, THERE, ms);
    }
    expect(visits.slice(0, 3)).toEqual([100, 200, 300]);
    expect(visits.length).toBeGreaterThan(600);
    expect(silent).toEqual([]);
  });

  it('finds nothing silent too early when it comes late', () => {
    const { advance, silent, tracker } = make(6400);
    // The first record's slice is due at 100; a packet comes at 5000, the clock only then.
    pass(tracker, THERE, 5000);
    advance(5000);
    for (let ms = 5001; ms <= 5000 + 6400; ms++) advance(ms);
    expect(silent).toEqual([]);
    for (let ms = 5000 + 6401; ms <= 5000 + 12_800 && silent.length === 0; ms++) advance(ms);
    expect(silent).toHaveLength(1);
  });

  it('told of a later time finds what it would have found on the way', () => {
    const { advance, silent } = make(6400);
    advance(6400);
    expect(silent).toEqual([]);
    advance(6400 + 102);
    expect(silent).toHaveLength(1);
  });

  it('visits no connection that has had no answer', () => {
    const { advance, tracker } = make(6400);
    const other = pass(tracker, 'udp 10.0.0.9:5000 > 10.0.0.3:53 len 5', 0);
    advance(6400);
    expect(other).not.toBe(NIL);
    expect(tracker.table(4).entries.clock(other)).toBe(0);
  });
});

describe('a packet', () => {
  it('clears the bits that it is about, and leaves those of the other direction and of the zone', () => {
    const { tracker, entry } = make(6400);
    const { entries } = tracker.table(4);
    entries.setZone(entry, 0, 2);
    entries.setClock(entry, ClockBit.IDLE | ClockBit.SILENT_ORIGINAL | ClockBit.SILENT_REPLY);
    expect(pass(tracker, THERE, 1)).toBe(entry);
    expect(entries.clock(entry)).toBe(ClockBit.SILENT_REPLY);
    pass(tracker, BACK, 2);
    expect(entries.clock(entry)).toBe(0);
    expect(entries.zoneDirection(entry)).toBe(2);
  });

  it('that is INVALID is nobody’s', () => {
    const tracker = new Tracker({ maxConnections: 64, seed: 1 });
    const ends = ['10.0.0.2:5000 > 10.0.0.3:80', '10.0.0.3:80 > 10.0.0.2:5000'];
    pass(tracker, `tcp ${ends[0]} SYN seq 999`, 0);
    pass(tracker, `tcp ${ends[1]} SYN,ACK seq 4999 ack 1000`, 0);
    const entry = pass(tracker, `tcp ${ends[0]} ACK seq 1000 ack 5000`, 0);
    tracker.table(4).entries.setClock(entry, ClockBit.IDLE);
    expect(pass(tracker, `tcp ${ends[1]} ACK seq 900000000 ack 5`, 1)).toBe(NIL);
    expect(tracker.table(4).entries.clock(entry)).toBe(ClockBit.IDLE);
  });
});
