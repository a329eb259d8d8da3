/**
 * Matches that keep something from packet to packet: rates, lists, quotas, sets. Rates are so low that none is regained
 * while a scenario lasts. Without connlimit, which forgets connections that are over only from one clock tick to the next:
 * at this pace nobody knows where ticks fall.
 */
import type { Dice } from './dice.js';

/** A condition; `others` are those that the rule has before it. */
export function keepingMatch(dice: Dice, others: string): string {
  const hasPorts = /-p (tcp|udp)/.test(others);
  return dice.oneOf([
    '-m limit --limit 1/hour --limit-burst 2',
    '-m limit --limit 2/day --limit-burst 1',
    '-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name up',
    '-m hashlimit --hashlimit-above 1/hour --hashlimit-burst 1 --hashlimit-mode dstip --hashlimit-name above',
    '-m recent --name seen --set',
    '-m recent --name seen --rcheck',
    '-m recent --name seen ! --rcheck --hitcount 2',
    '-m recent --name seen --update --seconds 600 --hitcount 2',
    '-m recent --name seen --remove',
    '-m recent --name there --set --rdest',
    '-m recent --name there --rcheck --rdest',
    '-m quota --quota 150',
    '-m quota ! --quota 300',
    '-m set --match-set hosts src',
    '-m set ! --match-set hosts dst',
    '-m set --match-set nets dst',
    '-m set ! --match-set nets src',
    '-m set --match-set all src',
    '-m set --match-set kept src',
    ...(hasPorts ? ['-m set --match-set ports dst', '-m set --match-set pairs dst,dst'] : []),
  ]);
}

/** The sets that the conditions name. */
export function setsFor(version: 4 | 6): string {
  const [family, host, other, net, far] =
    version === 4
      ? ['inet', '10.0.0.2', '198.51.100.7', '10.0.0.0/25', '198.51.100.8']
      : ['inet6', 'fd00:a::2', '2001:db8:2::7', 'fd00:a::/80', '2001:db8:2::8'];
  const lines = [
    `create hosts hash:ip family ${family}`,
    `add hosts ${host}`,
    `add hosts ${other}`,
    `create nets hash:net family ${family}`,
    `add nets ${net}`,
    `add nets ${host} nomatch`,
    `create pairs hash:ip,port family ${family}`,
    `add pairs ${other},tcp:80`,
    `add pairs ${far},udp:53`,
    'create ports bitmap:port range 1-1024',
    'add ports 53',
    'create all list:set',
    'add all hosts',
    'add all nets',
    `create kept hash:ip family ${family} timeout 600`,
  ];
  return `${lines.join('\n')}\n`;
}
