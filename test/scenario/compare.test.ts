import { describe, expect, test } from 'vitest';
import { compareRun, hasRecording } from '../../lib/scenario/compare.js';
import type { Run } from '../../lib/scenario/run.js';
import type { Reading } from '../../lib/scenario/table.js';
import type { Trace, TraceEntry } from '../../lib/scenario/trace.js';
import { GROUPS, readGroup, readNamed, recordedRun, withStep } from './traces.js';

const trace = readNamed('nat_masq_udp');
const good = recordedRun(trace);

/** The run with one entry changed at one reading, or taken away. */
function withReading(run: Run, k: number, id: string, change: ((reading: Reading) => Reading) | null): Run {
  const readings = run.readings.map((reading, i) => {
    if (i !== k) return reading;
    const changed = new Map(reading);
    const one = changed.get(id) as Reading;
    if (change === null) changed.delete(id);
    else changed.set(id, change(one));
    return changed;
  });
  return { ...run, readings };
}

function withEntry(run: Run, k: number, id: string, change: Partial<TraceEntry>): Run {
  return withReading(run, k, id, (reading) => ({ ...reading, entry: { ...reading.entry, ...change } }));
}

/** The entry with its exact expiry moved, and the timeout that is then read. */
function expiring(of: Trace, k: number, leftMs: number): (reading: Reading) => Reading {
  const nowMs = (of.steps[k]?.t as number) + of.dumpMs;
  return ({ entry }) => ({
    entry: { ...entry, timeout: Math.floor(leftMs / 1000) + 1 },
    expiresMs: nowMs + leftMs,
  });
}

describe('a run is compared with its recording', () => {
  test.each(GROUPS)('%s: what was recorded agrees with itself', (group) => {
    for (const one of readGroup(group)) expect(compareRun(one, recordedRun(one)), one.name).toBeNull();
  });

  test('one changed byte of one packet is a difference', () => {
    const [first] = trace.steps[0]?.out ?? [];
    const packet = `${first?.packet.slice(0, -2)}00`;
    const run = withStep(good, 0, { out: [{ ...first, if: 'wan', packet }] });
    expect(compareRun(trace, run)).toMatchObject({
      kind: 'packet',
      step: 0,
      expected: first,
      got: { packet },
    });
  });

  test('the right packet out of the wrong interface is a difference', () => {
    const out = (trace.steps[1]?.out ?? []).map((packet) => ({ ...packet, if: 'dmz' }));
    expect(compareRun(trace, withStep(good, 1, { out }))).toMatchObject({ kind: 'packet', step: 1 });
  });

  test('a packet too many, a missing one and a late one are differences', () => {
    const out = trace.steps[0]?.out ?? [];
    expect(compareRun(trace, withStep(good, 0, { out: [...out, ...out] }))).toMatchObject({ expected: null });
    expect(compareRun(trace, withStep(good, 0, { out: [] }))).toMatchObject({ got: null });
    expect(compareRun(trace, withStep(good, 0, { late: out }))).toMatchObject({
      kind: 'packet',
      expected: null,
    });
  });

  test('an injection that is refused without need is a difference', () => {
    expect(compareRun(trace, withStep(good, 0, { write_error: 22 }))).toMatchObject({
      kind: 'packet',
      got: { write_error: 22 },
    });
  });

  test.each<Partial<TraceEntry>>([
    { status: 0 },
    { mark: 1 },
    { flags: [] },
    { acct: [1, 1, 1, 1] },
    { born: 7 },
    { zone: 3 },
    { l4: 'tcp' },
    { reply: { src: '198.51.100.7', dst: '203.0.113.1', sport: 53, dport: 1 } },
  ])('an entry with another %o is a difference', (change) => {
    expect(compareRun(trace, withEntry(good, 0, 'c1', change))).toMatchObject({
      kind: 'table',
      step: 0,
      got: change,
    });
  });

  test('an entry that is missing or too many is a difference, also where nothing was recorded to change', () => {
    expect(compareRun(trace, withReading(good, 0, 'c1', null))).toMatchObject({ kind: 'table', got: null });
    const quiet = trace.steps.findIndex((step, k) => k > 0 && (step.ct ?? []).every(({ id }) => id !== 'c1'));
    expect(quiet).toBeGreaterThan(0);
    const difference = compareRun(trace, withReading(good, quiet, 'c1', null));
    expect(difference).toMatchObject({ kind: 'table', step: quiet, expected: { id: 'c1' }, got: null });
    const more = withReading(good, 0, 'c1', (reading) => reading);
    const extra = new Map(more.readings[0]).set('c9', more.readings[0]?.get('c1') as Reading);
    const readings = more.readings.map((reading, k) => (k === 0 ? extra : reading));
    expect(compareRun(trace, { ...good, readings })).toMatchObject({
      kind: 'table',
      step: 0,
      expected: null,
    });
  });

  test('a refresh that Linux did not see is a difference', () => {
    const quiet = trace.steps.findIndex((step, k) => k > 0 && (step.ct ?? []).every(({ id }) => id !== 'c1'));
    const run = withReading(good, quiet, 'c1', expiring(trace, quiet, 90_000));
    expect(compareRun(trace, run)).toMatchObject({ kind: 'table', step: quiet });
  });

  test('a timeout may be off by one second within 30 ms of a whole second, and not beyond', () => {
    const short = readNamed('udp_stream');
    const first = short.steps[0]?.ct?.[0]?.timeout as number;
    const run = recordedRun(short);
    const off = (leftMs: number) => compareRun(short, withReading(run, 0, 'c1', expiring(short, 0, leftMs)));
    expect(first).toBe(30);
    expect(off(30_020)).toBeNull();
    expect(off(28_980)).toBeNull();
    expect(off(30_040)).toMatchObject({ kind: 'table' });
    expect(off(28_960)).toMatchObject({ kind: 'table' });
    expect(off(31_020)).toMatchObject({ kind: 'table' });
  });

  test('an entry that expires within 30 ms of a reading may be there or not', () => {
    const expiry = readNamed('icmp_echo_expire');
    const k = expiry.steps.findIndex((step) => (step.gone ?? []).length > 0);
    const id = expiry.steps[k]?.gone?.[0] as string;
    const run = recordedRun(expiry);
    const still = (leftMs: number) => {
      const before = run.readings[k - 1]?.get(id) as Reading;
      const reading = expiring(expiry, k, leftMs)(before);
      const readings = run.readings.map((one, i) => (i === k ? new Map(one).set(id, reading) : one));
      return compareRun(expiry, { ...run, readings });
    };
    expect(still(10)).toBeNull();
    expect(still(5000)).toMatchObject({ kind: 'table', step: k, expected: null });
  });

  test('a rule that counted one packet more is a difference', () => {
    const hits = { ...trace.steps[0]?.hits, '4:mangle/PREROUTING/1': 1 };
    expect(compareRun(trace, withStep(good, 0, { hits }))).toMatchObject({
      kind: 'hits',
      step: 0,
      got: hits,
    });
    expect(compareRun(trace, withStep(good, 0, { hits: {} }))).toMatchObject({ kind: 'hits', step: 0 });
  });

  test('a final counter is a difference, named by its line', () => {
    const final4 = (trace.final4 as string).replace(':POSTROUTING ACCEPT [', ':POSTROUTING ACCEPT [9');
    const difference = compareRun(trace, { ...good, final4 });
    expect(difference).toMatchObject({ kind: 'final', step: null });
    expect(difference?.expected).toMatch(/^:POSTROUTING ACCEPT \[\d/);
    expect(compareRun(trace, { steps: good.steps, readings: good.readings })).toMatchObject({
      kind: 'final',
    });
  });

  test('the first difference is told: packets before the table before hits, earlier steps first', () => {
    const both = withEntry(withStep(good, 1, { out: [] }), 0, 'c1', { mark: 1 });
    expect(compareRun(trace, both)).toMatchObject({ kind: 'table', step: 0 });
    const same = withEntry(withStep(good, 0, { out: [], hits: {} }), 0, 'c1', { mark: 1 });
    expect(compareRun(trace, same)).toMatchObject({ kind: 'packet', step: 0 });
  });

  test('a scenario without outputs has nothing to compare with', () => {
    const bare = { ...trace, steps: trace.steps.map(({ out: _out, ...step }) => step) };
    expect(hasRecording(trace)).toBe(true);
    expect(hasRecording(bare)).toBe(false);
  });
});
