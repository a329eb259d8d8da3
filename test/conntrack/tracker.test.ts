import { describe, expect, it } from 'vitest';
import { Connections, type EndReason } from '../../lib/conntrack/connections.js';
import { Status } from '../../lib/conntrack/entries.js';
import { ConntrackSysctl } from '../../lib/conntrack/sysctl.js';
import { Tracker, type TrackerOptions } from '../../lib/conntrack/tracker.js';
import { DropReason } from '../../lib/counters.js';
import { fold, sumRange } from '../../lib/wire/checksum.js';
import { CtInfo, Packet } from '../../lib/wire/packet.js';
import { Hook, Verdict } from '../../lib/wire/verdict.js';

/** An IPv4 UDP packet without checksum from 10.0.0.`from`:`sport` to 10.0.0.`to`:`dport`. */
function udp(from: number, sport: number, to: number, dport: number): Packet {
  const bytes = new Uint8Array(32);
  bytes.set([0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to]);
  bytes.set([sport >> 8, sport & 255, dport >> 8, dport & 255, 0, 12, 0, 0, 1, 2, 3, 4], 20);
  const checksum = ~fold(sumRange(bytes, 0, 20, 0)) & 0xffff;
  bytes[10] = checksum >> 8;
  bytes[11] = checksum & 255;
  const packet = new Packet();
  expect(packet.parse(bytes)).toBe(DropReason.NONE);
  return packet;
}

/** Tracks a packet through PREROUTING and confirms it; returns its ctinfo. */
function pass(tracker: Tracker, packet: Packet): number {
  expect(tracker.track(packet, Hook.PREROUTING)).toBe(Verdict.ACCEPT);
  const { ctinfo } = packet;
  expect(tracker.confirm(packet)).toBe(Verdict.ACCEPT);
  tracker.discard(packet);
  return ctinfo;
}

function makeTracker(options: TrackerOptions = {}): Tracker {
  const tracker = new Tracker({ maxConnections: 8, buckets: 1, seed: 1, ...options });
  tracker.begin(0);
  return tracker;
}

describe('tracker', () => {
  it('calls the first packet NEW, the answer ESTABLISHED reply, the next ESTABLISHED', () => {
    const tracker = makeTracker();
    expect(pass(tracker, udp(2, 5000, 3, 53))).toBe(CtInfo.NEW);
    expect(pass(tracker, udp(2, 5000, 3, 53))).toBe(CtInfo.NEW);
    expect(pass(tracker, udp(3, 53, 2, 5000))).toBe(CtInfo.ESTABLISHED_REPLY);
    expect(pass(tracker, udp(2, 5000, 3, 53))).toBe(CtInfo.ESTABLISHED);
    expect(tracker.count).toBe(1);
  });

  it('leaves nothing behind of a packet that is not confirmed', () => {
    const tracker = makeTracker();
    const packet = udp(2, 5000, 3, 53);
    tracker.track(packet, Hook.PREROUTING);
    expect(tracker.count).toBe(1);
    tracker.discard(packet);
    expect(tracker.count).toBe(0);
    expect(packet.entry).toBe(-1);
  });

  it('does not give back an entry that an error of its own packet was attached to', () => {
    const tracker = makeTracker();
    const packet = udp(2, 5000, 3, 53);
    tracker.track(packet, Hook.PREROUTING);
    const error = udp(3, 1, 2, 1);
    error.entry = packet.entry;
    error.ctinfo = CtInfo.RELATED_REPLY;
    tracker.discard(error);
    expect(tracker.count).toBe(1);
    expect(tracker.confirm(packet)).toBe(Verdict.ACCEPT);
  });

  it('does not find a connection whose time is over, and begins a new one in its place', () => {
    const tracker = makeTracker();
    pass(tracker, udp(2, 5000, 3, 53));
    pass(tracker, udp(3, 53, 2, 5000));
    tracker.begin(29_999);
    expect(pass(tracker, udp(2, 5000, 3, 53))).toBe(CtInfo.ESTABLISHED);
    tracker.begin(29_999 + 120_000);
    expect(pass(tracker, udp(2, 5000, 3, 53))).toBe(CtInfo.NEW);
    expect(tracker.count).toBe(1);
    expect(tracker.table(4).reapedOnLookup).toBe(1);
  });

  it('tracks a connection of an address and port with itself by one node', () => {
    const tracker = makeTracker();
    expect(pass(tracker, udp(2, 7, 2, 7))).toBe(CtInfo.NEW);
    expect(pass(tracker, udp(2, 7, 2, 7))).toBe(CtInfo.ESTABLISHED_REPLY);
    tracker.begin(31_000);
    expect(pass(tracker, udp(2, 7, 2, 7))).toBe(CtInfo.NEW);
    expect(tracker.count).toBe(1);
  });

  it('passes a packet that was exempted or attached before without a look', () => {
    const tracker = makeTracker();
    const packet = udp(2, 5000, 3, 53);
    packet.ctinfo = CtInfo.UNTRACKED;
    expect(tracker.track(packet, Hook.PREROUTING)).toBe(Verdict.ACCEPT);
    expect([packet.ctinfo, packet.entry, tracker.count]).toEqual([CtInfo.UNTRACKED, -1, 0]);
  });

  it('keeps the same tuple apart by zone', () => {
    const tracker = makeTracker();
    for (const zone of [0, 5, 6]) {
      const packet = udp(2, 5000, 3, 53);
      if (zone > 0) packet.template = zone | (1 << 16);
      expect(pass(tracker, packet)).toBe(CtInfo.NEW);
    }
    expect(tracker.count).toBe(3);
    const answer = udp(3, 53, 2, 5000);
    answer.template = 5 | (1 << 16);
    expect(pass(tracker, answer)).toBe(CtInfo.ESTABLISHED_REPLY);
  });

  it('leaves nothing of a zone on a packet that is INVALID', () => {
    const packet = udp(2, 5000, 3, 53);
    packet.bytes.fill(0, packet.transport + 4, packet.transport + 6);
    packet.template = 5 | (1 << 16);
    expect(pass(makeTracker(), packet)).toBe(CtInfo.INVALID);
    expect(packet.template).toBe(0);
  });
});

describe('full table', () => {
  /** Fills all eight places; flow i is 10.0.0.2:1000+i to 10.0.0.3:53. */
  function fill(tracker: Tracker): void {
    for (let i = 0; i < 8; i++) pass(tracker, udp(2, 1000 + i, 3, 53));
  }

  function makeAssured(tracker: Tracker): void {
    const { entries } = tracker.table(4);
    for (let slot = 0; slot < 8; slot++) entries.setStatus(entries.entryOfSlot(slot), Status.ASSURED);
  }

  it('gives way for a new connection by evicting what is not assured', () => {
    const tracker = makeTracker();
    fill(tracker);
    expect(pass(tracker, udp(2, 2000, 3, 53))).toBe(CtInfo.NEW);
    expect(tracker.statistics.earlyDrop).toBeGreaterThan(0);
    expect(tracker.count).toBeLessThanOrEqual(8);
  });

  it('drops the new connection when all others are assured', () => {
    const tracker = makeTracker();
    fill(tracker);
    makeAssured(tracker);
    const packet = udp(2, 2000, 3, 53);
    expect(tracker.track(packet, Hook.PREROUTING)).toBe(Verdict.DROP);
    expect(packet.reason).toBe(DropReason.TABLE_FULL);
    expect(tracker.drops.toObject()).toEqual({ 'table-full': 1 });
    expect(pass(tracker, udp(3, 53, 2, 1003))).toBe(CtInfo.ESTABLISHED_REPLY);
  });

  it('reaps what has expired before it drops', () => {
    const tracker = makeTracker();
    fill(tracker);
    makeAssured(tracker);
    tracker.begin(31_000);
    expect(pass(tracker, udp(2, 2000, 3, 53))).toBe(CtInfo.NEW);
    expect(tracker.statistics.earlyDrop).toBe(0);
  });

  it('never evicts when told so', () => {
    const tracker = makeTracker({ earlyDrop: 'never' });
    fill(tracker);
    const packet = udp(2, 2000, 3, 53);
    expect(tracker.track(packet, Hook.PREROUTING)).toBe(Verdict.DROP);
    expect(tracker.count).toBe(8);
  });

  it('counts both families against one maximum, which can be lowered at run time', () => {
    const tracker = makeTracker({ earlyDrop: 'never' });
    new ConntrackSysctl(tracker).set('nf_conntrack_max', 1);
    pass(tracker, udp(2, 1000, 3, 53));
    expect(tracker.track(udp(2, 1001, 3, 53), Hook.PREROUTING)).toBe(Verdict.DROP);
  });
});

describe('events and queries', () => {
  it('tell of a connection from its beginning to its end, with the reason', () => {
    const tracker = makeTracker();
    const connections = new Connections(tracker);
    const seen: [string, number | undefined, EndReason?][] = [];
    connections.events.on('new', (c) => seen.push(['new', c.original.sourcePort]));
    connections.events.on('update', (c) => seen.push(['update', c.original.sourcePort]));
    connections.events.on('assured', (c) => seen.push(['assured', c.original.sourcePort]));
    connections.events.on('destroy', (c, reason) => seen.push(['destroy', c.original.sourcePort, reason]));
    pass(tracker, udp(2, 5000, 3, 53));
    pass(tracker, udp(3, 53, 2, 5000));
    tracker.begin(3_000);
    pass(tracker, udp(2, 5000, 3, 53));
    pass(tracker, udp(2, 5001, 3, 53));
    expect(connections.delete({ original: { sourcePort: 5001 } })).toBe(1);
    tracker.begin(200_000);
    pass(tracker, udp(2, 5000, 3, 53));
    expect(connections.flush()).toBe(1);
    expect(seen).toEqual([
      ['new', 5000],
      ['update', 5000],
      ['update', 5000],
      ['assured', 5000],
      ['new', 5001],
      ['destroy', 5001, 'deleted'],
      ['destroy', 5000, 'timeout'],
      ['new', 5000],
      ['destroy', 5000, 'flushed'],
    ]);
  });

  it('do not tell of a connection that was never confirmed', () => {
    const tracker = makeTracker();
    const connections = new Connections(tracker);
    connections.events.on('destroy', () => expect.unreachable());
    const packet = udp(2, 5000, 3, 53);
    tracker.track(packet, Hook.PREROUTING);
    tracker.discard(packet);
    expect(connections.size).toBe(0);
  });

  it('list copies by partial tuple, mark and status', () => {
    const tracker = makeTracker();
    const connections = new Connections(tracker);
    pass(tracker, udp(2, 5000, 3, 53));
    pass(tracker, udp(2, 5001, 4, 53));
    pass(tracker, udp(4, 53, 2, 5001));
    expect(connections.list()).toHaveLength(2);
    expect(connections.list({ original: { destination: '10.0.0.4' } })[0]).toMatchObject({
      family: 4,
      protocolName: 'udp',
      remainingMs: 30_000,
      seenReply: true,
      assured: false,
      originalCounts: { packets: 1, bytes: 32 },
      replyCounts: { packets: 1, bytes: 32 },
    });
    expect(connections.list({ seenReply: false })).toHaveLength(1);
    expect(connections.list({ mark: 1 })).toEqual([]);
    const [copy] = connections.list({ original: { sourcePort: 5000 } });
    pass(tracker, udp(3, 53, 2, 5000));
    expect(copy?.seenReply).toBe(false);
    expect(connections.get(17, { source: '10.0.0.3', sourcePort: 53 }, 0)?.original.sourcePort).toBe(5000);
  });
});

describe('settings', () => {
  it('are read and written by their nf_conntrack_* names at run time', () => {
    const tracker = makeTracker();
    const sysctl = new ConntrackSysctl(tracker);
    expect(sysctl.get('nf_conntrack_tcp_timeout_established')).toBe(432_000);
    sysctl.set('nf_conntrack_udp_timeout', 5);
    pass(tracker, udp(2, 5000, 3, 53));
    tracker.begin(4_999);
    expect(pass(tracker, udp(3, 53, 2, 5000))).toBe(CtInfo.ESTABLISHED_REPLY);
    tracker.begin(9_999);
    expect(pass(tracker, udp(3, 53, 2, 5000))).toBe(CtInfo.NEW);
    for (const name of sysctl.names()) expect(sysctl.get(name), name).toBeTypeOf('number');
  });

  it('refuse names and values that do not exist, and keep the old value', () => {
    const sysctl = new ConntrackSysctl(makeTracker());
    expect(() => sysctl.set('nf_conntrack_tcp_timeout_bored', 1)).toThrow(/no such timeout.*bored/);
    expect(() => sysctl.set('nf_conntrack_udp_timeout', -1)).toThrow(/out of range/);
    expect(() => sysctl.set('nf_conntrack_tcp_loose', 2)).toThrow(/expected an integer from 0 to 1/);
    expect(() => sysctl.set('nf_conntrack_count', 1)).toThrow(/read only/);
    expect(() => sysctl.set('nf_conntrack_max', 9)).toThrow(/from 1 to 8/);
    expect(sysctl.get('nf_conntrack_udp_timeout')).toBe(30);
    expect(sysctl.get('nf_conntrack_tcp_loose')).toBe(1);
    expect(sysctl.get('constructor')).toBeUndefined();
  });
});
