/**
 * The reaper at work beside packets: what a sweep of live connections costs, how long the loop is held when all expire
 * at once, and what the packets that come meanwhile wait.
 */
import { Frames } from '../path/frames.js';
import { Load } from '../path/load.js';
import type { Subject } from '../subject.js';

/** Packets come one by one, this far apart: 100,000 a second. */
const GAP_MS = 0.01;
const TIMEOUT_MS = 200_000;
/** More than a whole sweep takes. */
const SWEEP_MS = 65_000;
/** Less than connections live by default. */
const CALM_MS = 6_000;
/** Connections that are reaped before it is measured. */
const WARM_UP = 16_384;
/** Connections that go on: they get the packets. */
const LIVE = 1024;
const PACKETS = 200_000;
const LONG_S = 80_000;

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] as number;
}

const sweep: Subject = {
  name: 'reaper/live',
  operation: 'a whole sweep by `engine.tick`, none expired: CPU time in all',
  unit: 'ms',
  sizes: [102_400, 1_048_576],
  quickSizes: [102_400],
  prepare(flows) {
    const load = new Load('udp', flows);
    // A sweep takes up to a minute of the router's time, which none of them may outlive here.
    load.router.sysctl('net.netfilter.nf_conntrack_udp_timeout', LONG_S);
    load.begin();
    const { engine } = load.router;
    engine.tick(load.nowMs);
    let longestMs = 0;
    return {
      warmUp: 3,
      most: 20,
      sample() {
        const goal = engine.reaper.report().examined + flows;
        let passedMs = 0;
        engine.reaper.stop();
        let nowMs = load.nowMs;
        while (engine.reaper.report().examined < goal) {
          const start = performance.now();
          engine.tick(nowMs);
          const sliceMs = performance.now() - start;
          passedMs += sliceMs;
          longestMs = Math.max(longestMs, sliceMs);
          nowMs = Math.max(nowMs, engine.reaper.nextMs);
        }
        load.nowMs = nowMs;
        if (engine.tracker.count !== flows) throw new Error('connections expired');
        return passedMs;
      },
      figures: () => ({ longestMs }),
    };
  },
};

/** Packets of the first connections of a load, one by one in real time, with the reaper between them. */
class Rush {
  /** How long each packet waited and took, ms. */
  readonly waits: number[] = [];
  longestMs = 0;
  /** The same in processor time of all threads of the process, which other programs do not lengthen. */
  longestCpuMs = 0;
  readonly #load: Load;
  readonly #frames = new Frames('udp');
  readonly #lan: number;

  constructor(load: Load) {
    this.#load = load;
    this.#lan = load.router.interfaceIndex('lan');
  }

  /** Lets `ms` pass at once, without packets. */
  pass(ms: number): void {
    const { engine } = this.#load.router;
    const endMs = this.#load.nowMs + ms;
    while (this.#load.nowMs < endMs) {
      this.#load.nowMs += 10;
      engine.tick(this.#load.nowMs);
    }
  }

  /** One packet for each of the first connections. */
  refresh(count: number): void {
    for (let flow = 0; flow < count; flow++) this.#send(flow, this.#load.nowMs);
  }

  /**
   * Packets until no more than `left` connections are there, at least `least`, at most a minute's. Turns are an event
   * loop's: first the reaper, if it is due, then all packets that have come meanwhile.
   */
  run(left: number, least: number): void {
    const { engine } = this.#load.router;
    const firstMs = Math.ceil(this.#load.nowMs);
    const startMs = performance.now();
    let n = 0;
    while ((n < least || engine.tracker.count > left) && n * GAP_MS < 60_000) {
      const beganMs = performance.now();
      if (engine.reaper.nextMs <= firstMs + beganMs - startMs) {
        const before = process.cpuUsage();
        engine.tick(firstMs + beganMs - startMs);
        const { user, system } = process.cpuUsage(before);
        this.longestMs = Math.max(this.longestMs, performance.now() - beganMs);
        this.longestCpuMs = Math.max(this.longestCpuMs, (user + system) / 1000);
      }
      const nowMs = performance.now();
      for (let dueMs = startMs + n * GAP_MS; dueMs <= nowMs; dueMs = startMs + n * GAP_MS) {
        this.#send(n % LIVE, firstMs + Math.floor(nowMs - startMs));
        this.waits.push(performance.now() - dueMs);
        n++;
      }
    }
    this.waits.sort((a, b) => a - b);
  }

  #send(flow: number, nowMs: number): void {
    this.#frames.original(0, flow);
    this.#load.router.receive(this.#lan, this.#frames.views[0] as Uint8Array, nowMs);
  }
}

/**
 * A load whose connections all expire at once, but for the first ones. A few were reaped before: the first slices of a
 * process are those of code that is not compiled.
 */
function expired(flows: number): { readonly load: Load; readonly run: Rush } {
  const load = new Load('udp', flows);
  load.router.sysctl('net.netfilter.nf_conntrack_udp_timeout', TIMEOUT_MS / 1000);
  load.begin();
  const run = new Rush(load);
  const warmUp = Math.min(WARM_UP, flows / 4);
  run.pass(TIMEOUT_MS / 2);
  run.refresh(flows - warmUp);
  run.pass(TIMEOUT_MS / 2 + SWEEP_MS);
  const { count } = load.router.engine.tracker;
  if (count !== flows - warmUp) throw new Error(`${count} connections, not ${flows - warmUp}`);
  run.refresh(LIVE);
  run.pass(TIMEOUT_MS / 2 - SWEEP_MS - 50);
  if (load.router.engine.tracker.count !== count) throw new Error('some have expired too early');
  load.nowMs += 60;
  return { load, run };
}

/** A load whose connections live on. */
function calm(flows: number): { readonly load: Load; readonly run: Rush } {
  const load = new Load('udp', flows);
  load.begin();
  const run = new Rush(load);
  run.pass(CALM_MS);
  const { count } = load.router.engine.tracker;
  if (count !== flows) throw new Error(`${count} connections, not ${flows}`);
  return { load, run };
}

type Others = 'expired' | 'live';

function rush(others: Others): Subject {
  return {
    name: others === 'expired' ? 'reaper/rush' : 'reaper/calm',
    operation: `the longest slice of the reaper while packets come and all other connections are ${others}`,
    unit: 'ms',
    sizes: [1_048_576],
    quickSizes: [102_400],
    smokeSize: 4096,
    rounds: () => 3,
    prepare(flows) {
      const { load, run } = others === 'expired' ? expired(flows) : calm(flows);
      return {
        warmUp: 0,
        most: 1,
        sample() {
          run.run(
            others === 'expired' ? LIVE : flows,
            others === 'expired' ? 0 : Math.min(PACKETS, 2 * flows),
          );
          const left = load.router.engine.tracker.count;
          if (left !== (others === 'expired' ? LIVE : flows)) throw new Error(`${left} connections are left`);
          return run.longestMs;
        },
        figures: () => ({
          packets: run.waits.length,
          longestCpuMs: run.longestCpuMs,
          waitP50Ms: quantile(run.waits, 0.5),
          waitP99Ms: quantile(run.waits, 0.99),
          waitP9999Ms: quantile(run.waits, 0.9999),
          waitMostMs: quantile(run.waits, 1),
        }),
      };
    },
  };
}

export const pauses: Subject[] = [sweep, rush('expired'), rush('live')];
