/**
 * Rulesets of any length: seeded mixtures of rules about addresses, ports, protocols, interfaces and states, as they
 * grow in offices and clouds. None of them fits the packets of the measurements, many fit them half.
 */
import { SeededRandom } from '../../lib/random.js';
import { SEED } from '../subject.js';

/** Where the rule that accepts established packets stands, if there is one. */
export type StateRule = 'first' | 'last' | 'none';

const STATE_RULE = '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT';

function address(random: SeededRandom, first: number): string {
  return `${first}.${random.pick(16, 16)}.${random.pick(0, 256)}.${random.pick(0, 256)}`;
}

/** A port that no packet of the measurements has. */
function port(random: SeededRandom): number {
  return random.pick(1024, 16_000);
}

/** The rules of the chain, one per line. */
export function mixedRules(count: number): string[] {
  const random = new SeededRandom(SEED);
  const targets = ['ACCEPT', 'DROP', 'ACCEPT', 'REJECT'];
  const kinds: (() => string)[] = [
    () => `-s ${address(random, 172)}/32`,
    () => `-d ${address(random, 172)}/32 -i lan`,
    () => `-d 172.${random.pick(16, 16)}.${random.pick(0, 256)}.0/24 -o wan`,
    () => `-p udp -m udp --dport ${port(random)}`,
    () => `-i lan -o wan -p tcp -m tcp --dport ${port(random)}`,
    () => `-s 10.0.0.0/8 -p udp -m udp --dport ${port(random)}:17200`,
    () => `-d ${address(random, 198)}/32 -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW`,
    () => `-i tun${random.pick(0, 64)} -d 10.${random.pick(0, 256)}.0.0/16`,
    () => `-m conntrack --ctstate INVALID -p udp -m udp --sport ${port(random)}`,
    () => `! -o wan -s 10.${random.pick(128, 128)}.0.0/16`,
  ];
  return Array.from({ length: count }, () => {
    const kind = kinds[random.pick(0, kinds.length)] as () => string;
    return `-A FORWARD ${kind()} -j ${targets[random.pick(0, targets.length)]}`;
  });
}

/** A whole ruleset of `count` mixed rules between the state rule and the last one, which accepts; MASQUERADE or not. */
export function ruleset(count: number, state: StateRule, nat: 'masquerade' | 'untracked'): string {
  const before =
    nat === 'masquerade'
      ? ['*nat', '-A POSTROUTING -o wan -j MASQUERADE', 'COMMIT']
      : ['*raw', '-A PREROUTING -j CT --notrack', 'COMMIT'];
  return [
    ...before,
    '*filter',
    ':FORWARD DROP',
    ...(state === 'first' ? [STATE_RULE] : []),
    ...mixedRules(count),
    ...(state === 'last' ? [STATE_RULE] : []),
    '-A FORWARD -i lan -o wan -j ACCEPT',
    ...(nat === 'untracked' ? ['-A FORWARD -i wan -o lan -j ACCEPT'] : []),
    'COMMIT',
    '',
  ].join('\n');
}
