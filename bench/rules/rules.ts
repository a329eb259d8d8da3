/** What rules cost: packets against the length of the chain, compiling and replacing it, and sets. */
import { setImmediate } from 'node:timers/promises';
import { sampleBursts } from '../path/established.js';
import { Load } from '../path/load.js';
import type { Subject } from '../subject.js';
import { ruleset, type StateRule } from './rulesets.js';

const COUNTS = [1, 10, 100, 1000, 10_000];
const QUICK_COUNTS = [10, 1000];
const ELEMENTS = [100, 100_000];
const FLOWS = 1024;

function established(state: StateRule, operation: string): Subject {
  return {
    name: `rules/established-${state}`,
    operation,
    axis: 'rules',
    sizes: COUNTS,
    quickSizes: QUICK_COUNTS,
    smokeSize: 10,
    prepare(rules) {
      const load = new Load('udp', FLOWS, { rules: ruleset(rules, state, 'masquerade') });
      load.establish();
      return sampleBursts(load, () => load.send());
    },
  };
}

const compiling: Subject = {
  name: 'rules/compile',
  operation: 'iptables-save text read, compiled and put in place of the rules before',
  axis: 'rules',
  unit: 'ms',
  sizes: COUNTS.slice(1),
  quickSizes: QUICK_COUNTS,
  smokeSize: 10,
  prepare(rules) {
    const text = ruleset(rules, 'first', 'masquerade');
    const load = new Load('udp', FLOWS);
    return {
      warmUp: 3,
      most: 30,
      sample() {
        const start = performance.now();
        load.router.engine.restore(4, text);
        return performance.now() - start;
      },
    };
  },
};

const replacing: Subject = {
  name: 'rules/replace',
  operation: 'the longest pause of packets while a ruleset is replaced by `restoreGradually`',
  axis: 'rules',
  unit: 'ms',
  sizes: COUNTS.slice(1),
  quickSizes: QUICK_COUNTS,
  smokeSize: 10,
  prepare(rules) {
    const text = ruleset(rules, 'first', 'masquerade');
    const load = new Load('udp', FLOWS);
    load.establish();
    return {
      warmUp: 3,
      most: 30,
      async sample() {
        let longestMs = 0;
        let sinceMs = performance.now();
        const pause = async (): Promise<void> => {
          longestMs = Math.max(longestMs, performance.now() - sinceMs);
          await setImmediate();
          load.write();
          load.send();
          sinceMs = performance.now();
        };
        await load.router.engine.restoreGradually(4, text, { pause });
        return Math.max(longestMs, performance.now() - sinceMs);
      },
    };
  },
};

const untracked: Subject = {
  name: 'rules/untracked',
  operation: 'an untracked packet that passes all rules; no NAT',
  axis: 'rules',
  sizes: COUNTS,
  quickSizes: QUICK_COUNTS,
  smokeSize: 10,
  prepare(rules) {
    const load = new Load('udp', FLOWS, { rules: ruleset(rules, 'none', 'untracked') });
    return sampleBursts(load, () => {
      // Without NAT the replies' address is the router's own.
      for (let n = 1; n < load.frames.views.length; n += 2) load.frames.original(n, n);
      return load.sendFirst(load.frames.views.length);
    });
  },
};

/** One of 131,072 addresses, or networks of one to eight, in 172.16.0.0/12. */
function element(type: 'hash:ip' | 'hash:net', i: number): string {
  const text = `172.${16 + (i >>> 13)}.${(i >>> 5) & 255}.${(i & 31) << 3}`;
  return type === 'hash:ip' ? text : `${text}/${29 + (i & 3)}`;
}

function set(type: 'hash:ip' | 'hash:net'): Subject {
  return {
    name: `rules/set-${type.slice(5)}`,
    operation: `an untracked packet against a set of ${type} that does not have it`,
    axis: 'elements',
    sizes: ELEMENTS,
    quickSizes: ELEMENTS.slice(0, 1),
    smokeSize: 100,
    prepare(elements) {
      const rules = ruleset(1, 'none', 'untracked').replace(
        ':FORWARD DROP\n',
        ':FORWARD DROP\n-A FORWARD -m set --match-set many dst -j DROP\n',
      );
      const load = new Load('udp', FLOWS);
      const lines = [`create many ${type} maxelem ${elements}`];
      for (let i = 0; i < elements; i++) lines.push(`add many ${element(type, i)}`);
      load.router.engine.sets.restore(`${lines.join('\n')}\n`);
      load.router.engine.restore(4, rules);
      return sampleBursts(load, () => {
        for (let n = 1; n < load.frames.views.length; n += 2) load.frames.original(n, n);
        return load.sendFirst(load.frames.views.length);
      });
    },
  };
}

export const ruleSubjects: Subject[] = [
  established('first', 'an established packet that the first rule accepts, rules behind it'),
  established('last', 'an established packet that the rule behind all others accepts'),
  untracked,
  compiling,
  replacing,
  set('hash:ip'),
  set('hash:net'),
];
