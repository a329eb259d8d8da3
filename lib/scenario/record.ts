/**
 * A run as a trace file: the same fields in the same order, one line per step, so that two recordings can be compared
 * as text. Cold. What differs from a recording of Linux that the run agrees with: `kernel` names this program, and
 * there is no `lag_ms`.
 */
import type { Run } from './run.js';
import type { RandomPick, Trace, TraceStep } from './trace.js';

/** Fields that come after the steps. */
const TAIL = ['random', 'final4', 'final6'] as const;
/** Fields that describe a recording, not the scenario. */
const RECORDED: ReadonlySet<string> = new Set([
  ...TAIL,
  'steps',
  'kernel',
  'backend',
  'slot_ms',
  'dump_ms',
  'lag_ms',
]);
const SRC_NAT = 16;
const DST_NAT = 32;

/** The file's text; `recorder` is what `kernel` says. */
export function formatRecording(trace: Trace, run: Run, recorder: string): string {
  const head: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(trace.source)) if (!RECORDED.has(name)) head[name] = value;
  head.interfaces = trace.interfaces;
  head.routes = trace.routes;
  Object.assign(head, { kernel: recorder, backend: 'legacy', slot_ms: trace.slotMs, dump_ms: trace.dumpMs });
  const random = randomPicks(trace, run.steps);
  const tail: Record<(typeof TAIL)[number], unknown> = {
    random: random.length > 0 ? random : undefined,
    final4: run.final4,
    final6: run.final6,
  };
  const members = Object.entries(head).map(([name, value]) => member(name, value));
  members.push(` "steps": [\n${run.steps.map((step) => `  ${JSON.stringify(step)}`).join(',\n')}\n ]`);
  for (const name of TAIL) if (tail[name] !== undefined) members.push(member(name, tail[name]));
  return `{\n${members.join(',\n')}\n}\n`;
}

function member(name: string, value: unknown): string {
  return ` ${JSON.stringify(name)}: ${JSON.stringify(value)}`;
}

/**
 * What chance decided, as far as it shows: a reply tuple whose port or id is not the original's, in an entry with
 * source NAT (with `random_dst` destination NAT too), unless the rules fix that port. Once per birth of an entry.
 */
function randomPicks(trace: Trace, steps: readonly TraceStep[]): RandomPick[] {
  const picks = new Map<string, RandomPick>();
  const fixed = new Set(trace.fixedPorts);
  for (const [k, step] of steps.entries()) {
    for (const { id, born, orig, reply, status } of step.ct ?? []) {
      const add = (what: RandomPick['what'], value: number) => {
        const key = `${id} ${born} ${what}`;
        if (!picks.has(key)) picks.set(key, { step: born ?? k, entry: id, what, value });
      };
      if (orig.sport !== undefined) {
        const [sport, dport] = [reply.sport as number, reply.dport as number];
        if (dport !== orig.sport && (status & SRC_NAT) !== 0 && !fixed.has(dport)) add('sport', dport);
        if (
          trace.randomDestinations &&
          sport !== orig.dport &&
          (status & DST_NAT) !== 0 &&
          !fixed.has(sport)
        ) {
          add('dport', sport);
        }
      } else if (orig.id !== undefined && reply.id !== orig.id) {
        add('icmp_id', reply.id as number);
      }
    }
  }
  return [...picks.values()];
}
