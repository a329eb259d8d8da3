/**
 * The rules that a packet is said to match are those that the kernel's TRACE target logs for it, in the same order. The
 * machine's setting net.netfilter.nf_log_all_netns is on meanwhile, and the kernel's log must be readable.
 *
 * Lines are told from those of others by the devices' names. Environment: CONNTIDE_KERNEL_TRACED how many scenarios,
 * CONNTIDE_KERNEL_SEED which.
 */
import { closeSync, constants, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Router } from '../../lib/network/router.js';
import { type ConsideredRule, ExplainingWalk, type WalkListener } from '../../lib/rules/explain/walk.js';
import { runTrace } from '../../lib/scenario/run.js';
import type { Trace } from '../../lib/scenario/trace.js';
import type { Packet } from '../../lib/wire/packet.js';
import { generateScenario } from './generate/scenario.js';
import { missingNeeds } from './needs.js';

const SCENARIOS = Number(process.env.CONNTIDE_KERNEL_TRACED ?? 60);
const SEED = Number(process.env.CONNTIDE_KERNEL_SEED ?? 1);
const SETTING = '/proc/sys/net/netfilter/nf_log_all_netns';
const TRIES = 3;

const missing = missingNeeds();
if (missing.length === 0) {
  try {
    readFileSync(SETTING);
    closeSync(openSync('/dev/kmsg', constants.O_RDONLY | constants.O_NONBLOCK));
  } catch (error) {
    missing.push(`the kernel's log (${(error as Error).message})`);
  }
}
if (missing.length > 0) console.warn(`SKIPPED: TRACE of the running kernel; missing: ${missing.join(', ')}`);

/** Open from the beginning: in another namespace the path leads elsewhere. */
let setting = -1;
let before = '';
beforeAll(() => {
  if (missing.length > 0) return;
  setting = openSync(SETTING, 'r+');
  before = readFileSync(SETTING, 'utf8');
  writeSync(setting, '1', 0);
});
afterAll(() => {
  if (setting < 0) return;
  writeSync(setting, before, 0);
  closeSync(setting);
});

/** What the kernel logs from when this is made. */
class KernelLog {
  readonly #fd = openSync('/dev/kmsg', constants.O_RDONLY | constants.O_NONBLOCK);
  readonly #buffer = Buffer.alloc(8192);
  /** Whether lines were overwritten before they were read. */
  isTorn = false;

  constructor() {
    this.read();
    this.isTorn = false;
  }

  /** Lines since the last call. */
  read(): string[] {
    const lines: string[] = [];
    for (;;) {
      try {
        const size = readSync(this.#fd, this.#buffer, 0, this.#buffer.length, null);
        lines.push(this.#buffer.toString('utf8', 0, size).split('\n', 1)[0] as string);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EAGAIN') return lines;
        if (code !== 'EPIPE') throw error;
        this.isTorn = true;
      }
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** The scenario with TRACE at its packets' first rule, on devices with names of our own. */
function traced(scenario: Trace, prefix: string): Trace {
  const rename = (text: string) => text.replace(/\btun(\d)\b/g, `${prefix}$1`);
  const withTrace = (text: string | undefined): string | undefined => {
    if (!text) return undefined;
    const rules = '-I PREROUTING -j TRACE\n-I OUTPUT -j TRACE\n';
    const renamed = rename(text);
    return renamed.includes('*raw\n')
      ? renamed.replace(/(\*raw\n[\s\S]*?)(COMMIT\n)/, `$1${rules}$2`)
      : `${renamed}*raw\n${rules}COMMIT\n`;
  };
  const { rules4, rules6, ...rest } = scenario;
  const [traced4, traced6] = [withTrace(rules4), withTrace(rules6)];
  return {
    ...rest,
    interfaces: scenario.interfaces.map((one) => ({ ...one, dev: rename(one.dev) })),
    routes: scenario.routes.map(rename),
    ...(traced4 === undefined ? {} : { rules4: traced4 }),
    ...(traced6 === undefined ? {} : { rules6: traced6 }),
  };
}

/** `table:chain:type:number in>out` of the kernel's lines about our devices, but for a table that only keeps tracking on. */
function labelsOf(lines: readonly string[], prefix: string): string[] {
  return lines.flatMap((line) => {
    if (/TRACE: security:\w+:policy:1 /.test(line)) return [];
    const found = /TRACE: (\S+) IN=(\S*) OUT=(\S*)/.exec(line);
    if (found === null || !(found[2] + (found[3] as string)).includes(prefix)) return [];
    return [`${found[1]} ${found[2]}>${found[3]}`];
  });
}

/** The same of the rules that the walk says matched. */
class MatchedRules implements WalkListener {
  readonly labels: string[] = [];
  readonly #prefix: string;
  #router: Router | undefined;
  #hook = 0;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  watch(router: Router): void {
    this.#router = router;
    const { tracker, host, rules4, rules6 } = router.engine;
    const walk = new ExplainingWalk({ tracker, host, listener: this });
    rules4.walkWith(walk);
    rules6.walkWith(walk);
  }

  onEnter(_program: unknown, hook: number): void {
    this.#hook = hook;
  }

  onConsidered({ isMatched, label }: ConsideredRule, packet: Packet): void {
    if (!isMatched || packet.traced !== 1) return;
    const name = (index: number) => this.#router?.interfaces.name(index) ?? '';
    const from = this.#hook === 3 ? '' : name(packet.inInterface);
    const to = this.#hook >= 2 ? name(packet.outInterface) : '';
    if ((from + to).includes(this.#prefix)) this.labels.push(`${label} ${from}>${to}`);
  }

  onTarget(): void {}
  onLeave(): void {}
}

test.skipIf(missing.length > 0)(
  `TRACE of the kernel names the rules that the explanation says matched, ${SCENARIOS} scenarios`,
  async () => {
    const { KernelRouter } = await import('./kernel-router.js');
    const { record } = await import('./recorder.js');
    const prefix = `ct${process.pid % 100_000}x`;
    const log = new KernelLog();
    let compared = 0;
    let lines = 0;
    const compareOne = (scenario: Trace): { kernel: string[]; ours: string[] } | undefined => {
      let router: InstanceType<typeof KernelRouter>;
      try {
        router = new KernelRouter(scenario);
      } catch {
        return undefined;
      }
      log.read();
      log.isTorn = false;
      let trace: Trace;
      try {
        trace = record(scenario, router, 'fast').trace;
      } finally {
        router.close();
      }
      const kernel = labelsOf(log.read(), prefix);
      if (log.isTorn) return undefined;
      const matched = new MatchedRules(prefix);
      runTrace(trace, (made) => matched.watch(made));
      return { kernel, ours: matched.labels };
    };
    for (let index = 0; index < SCENARIOS; index++) {
      const scenario = traced(generateScenario(SEED, index), prefix);
      let result = compareOne(scenario);
      // Once in a while time passes otherwise than planned.
      for (let i = 1; i < TRIES && result && `${result.kernel}` !== `${result.ours}`; i++) {
        result = compareOne(scenario);
      }
      if (result === undefined) continue;
      expect(result.ours, `seed ${SEED} index ${index}\n${scenario.rules4 ?? scenario.rules6}`).toEqual(
        result.kernel,
      );
      compared++;
      lines += result.kernel.length;
    }
    log.close();
    console.log(`TRACE: ${compared} of ${SCENARIOS} scenarios, ${lines} lines agree`);
    expect(compared).toBeGreaterThan(SCENARIOS / 2);
    expect(lines).toBeGreaterThan(compared);
  },
);
