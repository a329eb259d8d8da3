/**
 * Recording what the kernel does with a scenario, as a trace in the files' own form.
 *
 * Two paces. `nominal` keeps to the scenario's times, as the recordings in test/traces were made: a step's table is
 * read `dumpMs` after its packet, once the kernel's clock tick has moved on. `fast` injects packets as quickly as it
 * goes, a few hundred microseconds apart, waits only where a step says `advance_ms`, and writes down the times at which
 * it really happened; a table is then read with up to a tick (4 ms) of doubt, which comparison allows for.
 */
import { parseHex } from '../../lib/scenario/hex.js';
import { OutputRecorder } from '../../lib/scenario/outputs.js';
import { patchPacket } from '../../lib/scenario/patch.js';
import type { RandomPick, Trace, TraceEntry, TracePacket, TraceStep } from '../../lib/scenario/trace.js';
import { type KernelRouter, pause } from './kernel-router.js';
import type { KernelEntry } from './netlink.js';

export type Pace = 'nominal' | 'fast';

/** At the fast pace a table is read in the same millisecond, and steps may share one. */
const FAST_DUMP_MS = 0;
const FAST_SLOT_MS = 0;
/** Two clock ticks of a kernel with 250 a second. */
const TICK_MS = 5;
/** How far a timeout may be off pure ageing without counting as a change, ms. */
const AGEING_SLACK_MS = 20;
const DRIFT_MS = 10;
const SRC_NAT = 16;
const DST_NAT = 32;

export interface Recording {
  readonly trace: Trace;
  /** The most that a step was behind its time, ms; 0 at the fast pace. */
  readonly lagMs: number;
}

/** Sends the scenario's packets through the kernel. `router` was made for it (or forgot another). */
export function record(scenario: Trace, router: KernelRouter, pace: Pace): Recording {
  const outputs = new OutputRecorder(scenario.interfaces.map(({ name }) => name));
  const table = new TableDelta();
  const dumpMs = pace === 'fast' ? FAST_DUMP_MS : scenario.dumpMs;
  const slotMs = pace === 'fast' ? FAST_SLOT_MS : scenario.slotMs;
  const steps: TraceStep[] = [];
  const outs: (readonly TracePacket[])[] = [];
  const startMs = performance.now();
  let lagMs = 0;
  let t = -slotMs;
  for (const [k, step] of scenario.steps.entries()) {
    t = pace === 'fast' ? nextTime(t, startMs, step) : step.t;
    waitUntil(startMs + t);
    lagMs = Math.max(lagMs, performance.now() - startMs - t);
    const late = outputs.record(router.takeSent(), NOTHING, 'link');
    if (late.length > 0 && k > 0) steps[k - 1] = { ...(steps[k - 1] as TraceStep), late };
    const packet = patchPacket(parseHex(step.packet ?? ''), step.patch ?? [], outs);
    outputs.inject(packet);
    const errno = packet.length === 0 || step.in === undefined ? 0 : router.inject(step.in, packet);
    const injectedMs = performance.now();
    const sent = router.takeSent();
    if (pace === 'nominal') {
      waitUntil(Math.max(startMs + t + dumpMs, injectedMs + TICK_MS));
      sent.push(...router.takeSent());
    }
    const { ct, gone } = table.change(router.conntrack.read(k), t + dumpMs);
    const hits = router.hits();
    sent.push(...router.takeSent());
    const out = outputs.record(sent, packet, step.in === 'local' ? 'local' : 'link');
    outs.push(out);
    steps.push({
      t,
      ...(step.in === undefined ? {} : { in: step.in, packet: formatBytes(packet) }),
      ...(step.note ? { note: step.note } : {}),
      ...(step.patch !== undefined && step.patch.length > 0 ? { patch: step.patch } : {}),
      ...(step.advance_ms ? { advance_ms: step.advance_ms } : {}),
      ...(errno === 0 ? {} : { write_error: errno }),
      out,
      ...(Object.keys(hits).length > 0 ? { hits } : {}),
      ...(ct.length > 0 ? { ct } : {}),
      ...(gone.length > 0 ? { gone } : {}),
    });
  }
  const { final4: _4, final6: _6, ...inputs } = scenario;
  const trace: Trace = {
    ...inputs,
    slotMs,
    dumpMs,
    steps,
    random: randomPicks(scenario, steps),
    ...router.finals(),
  };
  return { trace, lagMs };
}

const NOTHING = new Uint8Array(0);

function formatBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** The time of a step at the fast pace: at once, but later than the reading before. */
function nextTime(before: number, startMs: number, step: TraceStep): number {
  const earliest = before + FAST_SLOT_MS + (step.advance_ms ?? 0);
  return Math.max(earliest, Math.round(performance.now() - startMs));
}

function waitUntil(whenMs: number): void {
  const leftMs = whenMs - performance.now();
  if (leftMs > 2) pause(leftMs - 1);
  while (performance.now() < whenMs);
}

/** What was last told of an entry: all but the timeout, and between which moments it expires. */
interface Told {
  readonly text: string;
  readonly lowMs: number;
  readonly highMs: number;
}

/** Numbers entries and tells what changed in more than age from one reading to the next. */
class TableDelta {
  readonly #ids = new Map<string, string>();
  #told = new Map<string, Told>();

  change(entries: ReadonlyMap<string, KernelEntry>, nowMs: number): { ct: TraceEntry[]; gone: string[] } {
    const ct: TraceEntry[] = [];
    const told = new Map<string, Told>();
    const rank = (key: string) => (this.#ids.has(key) ? '0' : '1') + key;
    for (const key of [...entries.keys()].sort((a, b) => (rank(a) < rank(b) ? -1 : 1))) {
      const entry = entries.get(key) as KernelEntry;
      const id = this.#ids.get(key) ?? `c${this.#ids.size + 1}`;
      this.#ids.set(key, id);
      const { timeout, ...rest } = entry;
      const text = JSON.stringify(rest);
      const highMs = timeout === null ? Number.POSITIVE_INFINITY : nowMs + timeout * 1000;
      const before = this.#told.get(id);
      const lowMs = Math.max(highMs - 1000, before?.lowMs ?? 0);
      const leastHighMs = Math.min(highMs, before?.highMs ?? highMs);
      if (before?.text === text && (timeout === null || lowMs < leastHighMs + AGEING_SLACK_MS)) {
        told.set(id, { text, lowMs: lowMs - DRIFT_MS, highMs: leastHighMs + DRIFT_MS });
      } else {
        told.set(id, { text, lowMs: highMs - 1000 - DRIFT_MS, highMs: highMs + DRIFT_MS });
        ct.push({ id, ...entry });
      }
    }
    const gone = [...this.#told.keys()].filter((id) => !told.has(id));
    gone.sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
    this.#told = told;
    return { ct, gone };
  }
}

/**
 * What chance decided: ports and ids of reply tuples that are not the original's and that no rule fixes. Where one
 * packet has both, the destination's comes first, as destinations are translated first. With a rule that always draws
 * (`--random`) what was drawn may be the original: then all count.
 */
function randomPicks(scenario: Trace, steps: readonly TraceStep[]): RandomPick[] {
  const picks = new Map<string, RandomPick>();
  const fixed = new Set(scenario.fixedPorts);
  const rules = `${scenario.rules4}\n${scenario.rules6}`;
  const drawsSource = /-j (SNAT|MASQUERADE) .*--random/.test(rules);
  const drawsDestination = /-j (DNAT|REDIRECT) .*--random/.test(rules);
  for (const [k, step] of steps.entries()) {
    for (const { id, born, orig, reply, status } of step.ct ?? []) {
      const add = (what: RandomPick['what'], value: number) => {
        const key = `${id} ${born} ${what}`;
        if (!picks.has(key)) picks.set(key, { step: born ?? k, entry: id, what, value });
      };
      if (orig.sport !== undefined && reply.sport !== undefined && reply.dport !== undefined) {
        const isDestination = scenario.randomDestinations && (status & DST_NAT) !== 0;
        const isNewDestination = drawsDestination || reply.sport !== orig.dport;
        if (isDestination && isNewDestination && !fixed.has(reply.sport)) add('dport', reply.sport);
        const isSource = (status & SRC_NAT) !== 0;
        const isNewSource = drawsSource || reply.dport !== orig.sport;
        if (isSource && isNewSource && !fixed.has(reply.dport)) add('sport', reply.dport);
      } else if (orig.id !== undefined && reply.id !== undefined && reply.id !== orig.id) {
        add('icmp_id', reply.id);
      }
    }
  }
  return [...picks.values()].sort((a, b) => a.step - b.step);
}
