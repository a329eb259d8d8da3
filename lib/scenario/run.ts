/**
 * Running a scenario: a router with the file's interfaces, routes, settings, sockets and rules, its packets injected
 * at their times, and what the router did taken down. Cold.
 *
 * Time: step k enters at its t; what comes out until t + dump is the step's `out`, then the table is read; what comes
 * out in the wait before the next step is `late`. Only inputs and the values of `random` are read from the file: the
 * recorded fields are for `compare.ts`.
 */
import { ManualClock } from '../clock.js';
import { ConfigurationError } from '../errors.js';
import { Router } from '../network/router.js';
import type { Rules } from '../rules/rules.js';
import { formatHex, parseHex } from './hex.js';
import { HitRecorder } from './hits.js';
import { OutputRecorder, type SentPacket } from './outputs.js';
import { patchPacket } from './patch.js';
import { TraceRandom } from './random.js';
import { type Reading, TableRecorder } from './table.js';
import type { Trace, TracePacket, TraceStep } from './trace.js';

/** What a router did with a scenario. */
export interface Run {
  /** As the file's, with the recorded fields of this run. */
  readonly steps: readonly TraceStep[];
  /** The whole table after each step, by id. */
  readonly readings: readonly ReadonlyMap<string, Reading>[];
  readonly final4?: string;
  readonly final6?: string;
}

/** Thrown when something went wrong inside a step. */
export class StepError extends Error {
  override readonly name = 'StepError';
  readonly step: number;

  constructor(step: number, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.step = step;
  }
}

/** EINVAL: a link device refuses what is neither IPv4 nor IPv6. */
const EINVAL = 22;
/** The table is for this many entries unless the scenario limits it; no scenario has more packets. */
const CAPACITY = 4096;
/** As sparse as on the machine that recorded: early drop looks at a few buckets only. */
const BUCKETS = 65536;
const SEED = 0x5eed;

/** Settings that all scenarios begin with; the file's own come on top. */
const BASE_SYSCTLS: Readonly<Record<string, string>> = {
  'net.ipv4.ip_forward': '1',
  'net.ipv4.icmp_ratelimit': '0',
  'net.ipv4.icmp_ratemask': '0',
  'net.ipv6.conf.all.forwarding': '1',
  'net.ipv6.icmp.ratelimit': '0',
  'net.netfilter.nf_conntrack_acct': '1',
  'net.netfilter.nf_conntrack_checksum': '1',
};

const MAX_NAME = 'net.netfilter.nf_conntrack_max';

/**
 * Runs a scenario; `begin` gets the router before its first packet, for those who watch. Throws a ConfigurationError
 * if the router cannot be built as the file says, and a StepError if a step fails.
 */
export function runTrace(trace: Trace, begin: (router: Router) => void = () => {}): Run {
  const random = new TraceRandom(trace.random);
  const router = buildRouter(trace, random);
  begin(router);
  const clock = new ManualClock();
  const outputs = new OutputRecorder(trace.interfaces.map((one) => one.name));
  const table = new TableRecorder();
  const hits = new HitRecorder(rulesOf(trace, router));
  let sent: SentPacket[] = [];
  router.onTransmit = (index, bytes) => {
    sent.push({ interface: index - 1, bytes: bytes.slice() });
  };
  const takeSent = () => {
    const taken = sent;
    sent = [];
    return taken;
  };

  const steps: TraceStep[] = [];
  const outs: (readonly TracePacket[])[] = [];
  const readings: ReadonlyMap<string, Reading>[] = [];
  for (const [k, step] of trace.steps.entries()) {
    try {
      clock.set(step.t);
      router.advance(clock.nowMs());
      const late = outputs.record(takeSent(), NOTHING, 'link');
      if (late.length > 0 && k > 0) steps[k - 1] = { ...(steps[k - 1] as TraceStep), late };
      random.beginStep(k);
      const packet = patchPacket(parseHex(step.packet ?? ''), step.patch ?? [], outs);
      outputs.inject(packet);
      const errno = packet.length === 0 ? 0 : inject(router, trace, step, packet.slice(), clock.nowMs());
      clock.set(step.t + trace.dumpMs);
      router.advance(clock.nowMs());
      const change = table.read(router.engine.tracker, clock.nowMs(), k);
      const hit = hits.delta();
      const out = outputs.record(takeSent(), packet, step.in === 'local' ? 'local' : 'link');
      outs.push(out);
      readings.push(change.readings);
      steps.push({
        t: step.t,
        ...(errno === 0 ? {} : { write_error: errno }),
        ...(step.in === undefined ? {} : { in: step.in, packet: formatHex(packet) }),
        ...(step.note ? { note: step.note } : {}),
        ...(step.patch !== undefined && step.patch.length > 0 ? { patch: step.patch } : {}),
        ...(step.advance_ms ? { advance_ms: step.advance_ms } : {}),
        out,
        ...(Object.keys(hit).length > 0 ? { hits: hit } : {}),
        ...(change.ct.length > 0 ? { ct: change.ct } : {}),
        ...(change.gone.length > 0 ? { gone: change.gone } : {}),
      });
    } catch (error) {
      throw new StepError(k, error);
    }
  }
  return {
    steps,
    readings,
    ...(trace.rules4 ? { final4: router.engine.save(4, 'with') } : {}),
    ...(trace.rules6 ? { final6: router.engine.save(6, 'with') } : {}),
  };
}

const NOTHING = new Uint8Array(0);

/** Hands a packet to the router; returns 0, or the errno that its sender would see. */
function inject(router: Router, trace: Trace, step: TraceStep, packet: Uint8Array, nowMs: number): number {
  if (step.in === undefined) return 0;
  if (step.in === 'local') return router.sendLocal(packet, nowMs);
  const version = (packet[0] as number) >> 4;
  if (version !== 4 && version !== 6) return EINVAL;
  router.receive(trace.interfaces.findIndex((one) => one.name === step.in) + 1, packet, nowMs);
  return 0;
}

function buildRouter(trace: Trace, random: TraceRandom): Router {
  const sysctls = { ...BASE_SYSCTLS, ...trace.sysctls };
  const router = new Router({
    interfaces: trace.interfaces.map(({ dev, addr, mtu }) => ({ name: dev, addresses: addr, mtu })),
    routes: trace.routes,
    sockets: trace.sockets.map(({ proto, addr, port }) => ({
      protocol: proto,
      port,
      // As the recorder binds them: without an address every one of IPv4, and none of IPv6.
      address: addr ?? '0.0.0.0',
    })),
    random,
    maxConnections: capacityOf(sysctls[MAX_NAME]),
    buckets: BUCKETS,
    seed: SEED,
    tracking: trace.forceTracking ? 'always' : 'auto',
  });
  for (const [name, value] of Object.entries(sysctls)) {
    if (name !== MAX_NAME) router.sysctl(name, value);
  }
  if (trace.sets) router.engine.sets.restore(trace.sets);
  if (trace.rules4) router.engine.restore(4, trace.rules4, 'rules4');
  if (trace.rules6) router.engine.restore(6, trace.rules6, 'rules6');
  return router;
}

function capacityOf(max: string | undefined): number {
  if (max === undefined) return CAPACITY;
  const capacity = Number(max);
  if (Number.isInteger(capacity) && capacity > 0) return Math.min(capacity, 1 << 20);
  throw new ConfigurationError('value', `${MAX_NAME}: not a number of entries`, { word: max });
}

/** The rules of the families that the scenario has rules of. */
function rulesOf(trace: Trace, { engine }: Router): Rules[] {
  return [...(trace.rules4 ? [engine.rules4] : []), ...(trace.rules6 ? [engine.rules6] : [])];
}
