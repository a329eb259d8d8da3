/** Rulesets: text for iptables-restore, and what the recording has to know of it. */
import type { Dice } from './dice.js';
import { keepingMatch, setsFor } from './keeping.js';

export interface Rules {
  readonly text: string;
  /** For `ipset restore`; empty if the rules name none. */
  readonly sets: string;
  readonly hasNat: boolean;
  /** Ports that the rules set: never chance. */
  readonly fixedPorts: readonly number[];
}

/** What a ruleset is to be about; all kinds may have a little of the others. */
export type Theme = 'tracking' | 'nat' | 'filter';

const STATES = ['INVALID', 'NEW', 'ESTABLISHED', 'RELATED', 'UNTRACKED'];

/** Names in one family that are others in the other. */
interface Family {
  readonly version: 4 | 6;
  readonly lan: string;
  readonly lanHost: string;
  readonly otherLanHost: string;
  readonly wanAddress: string;
  readonly farHost: string;
  readonly icmp: string;
  /** Address and port as targets write them. */
  at(address: string, ports?: string): string;
}

const FAMILY4: Family = {
  version: 4,
  lan: '10.0.0.0/24',
  lanHost: '10.0.0.2',
  otherLanHost: '10.0.0.3',
  wanAddress: '203.0.113.1',
  farHost: '198.51.100.7',
  icmp: 'icmp',
  at: (address, ports) => (ports === undefined ? address : `${address}:${ports}`),
};
const FAMILY6: Family = {
  version: 6,
  lan: 'fd00:a::/64',
  lanHost: 'fd00:a::2',
  otherLanHost: 'fd00:a::3',
  wanAddress: '2001:db8:1::1',
  farHost: '2001:db8:2::7',
  icmp: 'icmpv6',
  at: (address, ports) => {
    if (ports === undefined) return address;
    return address === '' ? `:${ports}` : `[${address}]:${ports}`;
  },
};

export function generateRules(dice: Dice, version: 4 | 6, theme: Theme): Rules {
  const family = version === 4 ? FAMILY4 : FAMILY6;
  const tables: string[] = [];
  const raw = dice.chance(theme === 'tracking' ? 4 : 8) ? rawRules(dice, family) : [];
  if (raw.length > 0) tables.push(table('raw', ['PREROUTING', 'OUTPUT'], raw));
  const mangle = dice.chance(92)
    ? STATES.map((state) => `-A PREROUTING -m conntrack --ctstate ${state}`)
    : [];
  if (dice.chance(theme === 'filter' ? 40 : 12)) mangle.push(...mangleRules(dice, family));
  if (mangle.length > 0) {
    tables.push(table('mangle', ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'], mangle));
  }
  const fixedPorts: number[] = [];
  const hasNat = theme === 'nat' || dice.chance(25);
  if (hasNat) {
    const nat = natRules(dice, family, fixedPorts);
    tables.push(table('nat', ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'], nat));
  }
  if (theme === 'filter' || dice.chance(35)) {
    tables.push(filterTable(dice, family));
  } else if (tables.length === 0) {
    tables.push(table('filter', ['INPUT', 'FORWARD', 'OUTPUT'], []));
  }
  const text = tables.join('');
  return { text, sets: text.includes('-set ') ? setsFor(version) : '', hasNat, fixedPorts };
}

function table(
  name: string,
  chains: readonly string[],
  rules: readonly string[],
  policies: Readonly<Record<string, string>> = {},
  userChains: readonly string[] = [],
): string {
  const heads = chains.map((chain) => `:${chain} ${policies[chain] ?? 'ACCEPT'} [0:0]`);
  const own = userChains.map((chain) => `:${chain} - [0:0]`);
  return `${[`*${name}`, ...heads, ...own, ...rules, 'COMMIT'].join('\n')}\n`;
}

function rawRules(dice: Dice, family: Family): string[] {
  const rules: string[] = [];
  for (let count = dice.between(1, 2); count > 0; count--) {
    const target = dice.weighted([
      [4, 'CT --notrack'],
      [2, 'CT --zone 1'],
      [1, 'CT --zone-orig 2'],
      [1, 'NOTRACK'],
    ]);
    const chain = dice.chance(85) ? 'PREROUTING' : 'OUTPUT';
    rules.push(`-A ${chain}${match(dice, family, chain)} -j ${target}`);
  }
  return rules;
}

function mangleRules(dice: Dice, family: Family): string[] {
  const rules: string[] = [];
  const chains = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];
  for (let count = dice.between(1, 4); count > 0; count--) {
    const chain = dice.oneOf(chains);
    const hop = family.version === 4 ? 'TTL --ttl' : 'HL --hl';
    const target = dice.oneOf([
      'MARK --set-xmark 0x1/0xffffffff',
      'MARK --or-mark 0x10',
      'CONNMARK --set-xmark 0x7/0xff',
      'CONNMARK --save-mark',
      'CONNMARK --restore-mark',
      'TOS --set-tos 0x10/0xff',
      'DSCP --set-dscp 0x0a',
      `${hop}-set 40`,
      `${hop}-dec 1`,
      `${hop}-inc 2`,
      'TCPMSS --set-mss 1000',
      'TCPMSS --clamp-mss-to-pmtu',
      'TCPOPTSTRIP --strip-options timestamp,wscale',
      'CLASSIFY --set-class 1:2',
      'SET --add-set kept src',
      'SET --del-set kept src',
      'ACCEPT',
      'DROP',
    ]);
    if (target.startsWith('TCPMSS')) {
      if (target.includes('clamp') && (chain === 'PREROUTING' || chain === 'INPUT')) continue;
      rules.push(`-A ${chain} -p tcp -m tcp --tcp-flags SYN,RST SYN -j ${target}`);
    } else if (target.startsWith('TCPOPTSTRIP')) rules.push(`-A ${chain} -p tcp -j ${target}`);
    else if (target.startsWith('CLASSIFY') && (chain === 'PREROUTING' || chain === 'INPUT')) continue;
    else rules.push(`-A ${chain}${match(dice, family, chain)} -j ${target}`);
  }
  return rules;
}

function natRules(dice: Dice, family: Family, fixedPorts: number[]): string[] {
  const rules: string[] = [];
  if (dice.chance(65)) rules.push(...destinationRules(dice, family, fixedPorts));
  if (dice.chance(85)) rules.push(...sourceRules(dice, family, fixedPorts));
  if (dice.chance(15)) {
    const protocol = dice.oneOf(['tcp', 'udp']);
    fixedPorts.push(8080);
    const to = dice.chance(50)
      ? `REDIRECT --to-ports 8080`
      : `DNAT --to-destination ${family.at(family.farHost, '8080')}`;
    rules.push(`-A OUTPUT -p ${protocol} -m ${protocol} --dport 80 -j ${to}`);
  }
  if (dice.chance(10)) rules.push(`-A INPUT -p udp -j SNAT --to-source ${family.farHost}`);
  return rules;
}

/** How ports are chosen at random, if they are. */
function randomness(dice: Dice, target: 'SNAT' | 'DNAT' | 'MASQUERADE' | 'REDIRECT'): string {
  const option = dice.weighted([
    [7, ''],
    [1, ' --random'],
    [1, ' --random-fully'],
    [1, ' --persistent'],
  ]);
  const isSource = target === 'SNAT' || target === 'MASQUERADE';
  if (option === ' --random-fully' && !isSource) return '';
  return option === ' --persistent' && (target === 'MASQUERADE' || target === 'REDIRECT') ? '' : option;
}

function sourceRules(dice: Dice, family: Family, fixedPorts: number[]): string[] {
  const other = family.version === 4 ? '203.0.113.20' : '2001:db8:1::20';
  const range = `${other}-${family.version === 4 ? '203.0.113.23' : '2001:db8:1::23'}`;
  const protocol = dice.oneOf(['tcp', 'udp']);
  const on = `-A POSTROUTING${dice.chance(40) ? ` -s ${family.lan}` : ''} -o tun1`;
  const narrow = dice.oneOf(['4000-4001', '6000-6003', '40000-40002', '500-503', '1020-1026']);
  const masquerade = randomness(dice, 'MASQUERADE');
  return dice.weighted<() => string[]>([
    [5, () => [`${on} -j MASQUERADE${masquerade}`]],
    [
      3,
      () => [`${on} -p ${protocol} -j MASQUERADE --to-ports ${narrow}${masquerade}`, `${on} -j MASQUERADE`],
    ],
    [3, () => [`${on} -j SNAT --to-source ${other}${randomness(dice, 'SNAT')}`]],
    [2, () => [`${on} -j SNAT --to-source ${range}${randomness(dice, 'SNAT')}`]],
    [
      3,
      () => {
        const ports = dice.oneOf(['4000', '4000-4001', '1024-1030', '80-81']);
        if (!ports.includes('-')) fixedPorts.push(Number(ports));
        const to = family.at(dice.chance(60) ? other : range, ports);
        return [`${on} -p ${protocol} -j SNAT --to-source ${to}${randomness(dice, 'SNAT')}`];
      },
    ],
    [1, () => [`${on} -j NETMAP --to ${family.version === 4 ? '203.0.113.0/24' : '2001:db8:1::/64'}`]],
    [1, () => [`-A POSTROUTING -o tun0 -j MASQUERADE`]],
  ])();
}

function destinationRules(dice: Dice, family: Family, fixedPorts: number[]): string[] {
  const protocol = dice.oneOf(['tcp', 'udp']);
  const port = dice.oneOf([53, 80]);
  const from = dice.oneOf(['-i tun1 ', '', '-i tun0 ']);
  const on = `-A PREROUTING ${from}-p ${protocol} -m ${protocol} --dport ${port}`;
  const { lanHost } = family;
  return dice.weighted<() => string[]>([
    [4, () => [`${on} -j DNAT --to-destination ${lanHost}${randomness(dice, 'DNAT')}`]],
    [
      3,
      () => {
        fixedPorts.push(8080);
        return [`${on} -j DNAT --to-destination ${family.at(lanHost, '8080')}`];
      },
    ],
    [
      2,
      () => [`${on} -j DNAT --to-destination ${family.at(lanHost, '8000-8003')}${randomness(dice, 'DNAT')}`],
    ],
    [
      2,
      () => [`${on} -j DNAT --to-destination ${lanHost}-${family.otherLanHost}${randomness(dice, 'DNAT')}`],
    ],
    [
      2,
      () => {
        fixedPorts.push(8080);
        return [`${on} -j REDIRECT --to-ports 8080`];
      },
    ],
    [1, () => [`${on} -j REDIRECT --to-ports 8000-8003${randomness(dice, 'REDIRECT')}`]],
    [1, () => [`${on} -j REDIRECT`]],
    [
      1,
      () => {
        const net = family.version === 4 ? '203.0.113.0/24' : '2001:db8:1::/64';
        return [`-A PREROUTING -d ${net} -i tun1 -j NETMAP --to ${family.lan}`];
      },
    ],
    [1, () => [`-A PREROUTING ${from}-p ${family.icmp} -j DNAT --to-destination ${lanHost}`]],
    [1, () => [`-A PREROUTING -d ${family.wanAddress} -i tun0 -j DNAT --to-destination ${lanHost}`]],
  ])();
}

const REJECTS: Readonly<Record<4 | 6, readonly string[]>> = {
  4: [
    'icmp-net-unreachable',
    'icmp-host-unreachable',
    'icmp-port-unreachable',
    'icmp-proto-unreachable',
    'icmp-net-prohibited',
    'icmp-host-prohibited',
    'icmp-admin-prohibited',
  ],
  6: [
    'icmp6-no-route',
    'icmp6-adm-prohibited',
    'icmp6-addr-unreachable',
    'icmp6-port-unreachable',
    'icmp6-policy-fail',
    'icmp6-reject-route',
  ],
};

function filterTable(dice: Dice, family: Family): string {
  const rules: string[] = [];
  const userChains: string[] = [];
  if (dice.chance(50)) {
    rules.push('-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT');
    if (dice.chance(60)) rules.push('-A FORWARD -m conntrack --ctstate INVALID -j DROP');
    if (dice.chance(50)) rules.push('-A FORWARD -i tun0 -m conntrack --ctstate NEW -j ACCEPT');
  }
  if (dice.chance(30)) {
    userChains.push('USER');
    rules.push(
      `-A USER${match(dice, family, 'USER')} -j ${dice.oneOf(['RETURN', 'ACCEPT', 'DROP'])}`,
      '-A USER',
    );
    rules.push(`-A FORWARD${match(dice, family, 'FORWARD')} -${dice.oneOf(['j', 'j', 'g'])} USER`);
  }
  for (let count = dice.between(0, 5); count > 0; count--) {
    const chain = dice.weighted([
      [6, 'FORWARD'],
      [2, 'INPUT'],
      [1, 'OUTPUT'],
    ]);
    const verdict = dice.weighted([
      [3, 'ACCEPT'],
      [2, 'DROP'],
      [4, 'REJECT'],
      [2, 'RESET'],
      [1, ''],
      [1, 'LOG'],
      [1, 'RETURN'],
    ]);
    const matches = match(dice, family, chain);
    if (verdict === '') rules.push(`-A ${chain}${matches}`);
    else if (verdict === 'REJECT') {
      rules.push(`-A ${chain}${matches} -j REJECT --reject-with ${dice.oneOf(REJECTS[family.version])}`);
    } else if (verdict === 'RESET') {
      const some = dice.oneOf(['', ' -m conntrack --ctstate NEW', ' -m conntrack --ctstate ESTABLISHED']);
      rules.push(`-A ${chain} -p tcp${some} -j REJECT --reject-with tcp-reset`);
    } else rules.push(`-A ${chain}${matches} -j ${verdict}`);
  }
  const policies = {
    FORWARD: dice.chance(85) ? 'ACCEPT' : 'DROP',
    INPUT: dice.chance(92) ? 'ACCEPT' : 'DROP',
  };
  return table('filter', ['INPUT', 'FORWARD', 'OUTPUT'], rules, policies, userChains);
}

/** A few conditions that the packets of scenarios sometimes meet. */
function match(dice: Dice, family: Family, chain: string): string {
  const parts: string[] = [];
  if (dice.chance(30)) parts.push(dice.chance(50) ? `-s ${family.lan}` : `! -d ${family.lanHost}`);
  if (chain === 'PREROUTING' && dice.chance(30)) parts.push(`-i ${dice.oneOf(['tun0', 'tun1', 'tun+'])}`);
  if (chain === 'POSTROUTING' && dice.chance(30)) parts.push('-o tun1');
  const isEarly = chain === 'PREROUTING' || chain === 'OUTPUT';
  const specific = dice.weighted<string>([
    [5, ''],
    [2, '-p tcp'],
    [2, '-p udp'],
    [2, `-p ${family.icmp}`],
    [2, '-p tcp -m tcp --dport 80'],
    [1, '-p udp -m udp --sport 1024:65535'],
    [1, '-p tcp -m tcp --tcp-flags SYN,ACK,RST SYN'],
    [1, '-p tcp -m tcp ! --syn'],
    [1, '-p tcp -m multiport --dports 22,80,8000:8080'],
    [1, '-p udp -m multiport --ports 53,4000'],
    [1, '-p tcp -m tcpmss --mss 1000:1460'],
    [1, family.version === 4 ? '-p icmp -m icmp --icmp-type 8' : '-p icmpv6 -m icmp6 --icmpv6-type 128'],
    [1, '-m conntrack --ctstate NEW'],
    [1, '-m conntrack --ctstate RELATED'],
    [1, isEarly ? '-m state --state ESTABLISHED' : '-m conntrack --ctstate SNAT'],
    [1, '-m conntrack --ctstate DNAT'],
    [1, '-m conntrack --ctstatus SEEN_REPLY'],
    [1, '-m conntrack --ctstatus ASSURED --ctdir REPLY'],
    [1, `-m conntrack --ctproto 6 --ctorigdstport 80`],
    [1, `-m conntrack ! --ctreplsrc ${family.farHost}`],
    [1, '-m length --length 40:60'],
    [1, family.version === 4 ? '-m ttl --ttl-lt 64' : '-m hl --hl-lt 64'],
    [1, '-m tos --tos 0x10/0x3f'],
    [1, '-m dscp --dscp 0x0a'],
    [1, '-m mark --mark 0x1/0x1'],
    [1, '-m connmark --mark 0x7'],
    [1, '-m connbytes --connbytes 2:4 --connbytes-mode packets --connbytes-dir both'],
    [1, '-m statistic --mode nth --every 3 --packet 1'],
    [1, '-m addrtype --dst-type LOCAL'],
    [1, family.version === 4 ? '-f' : '-m frag --fragmore'],
    [1, family.version === 4 ? '-m u32 --u32 "6&0xff=6"' : '-m ipv6header --header frag --soft'],
    [1, family.version === 4 ? '-m ecn --ecn-ip-ect 1' : '-m hbh'],
    [1, family.version === 4 ? '-m string --string "dd" --algo bm' : '-m dst'],
  ]);
  if (specific !== '') parts.push(specific);
  if (dice.chance(8)) parts.push(keepingMatch(dice, specific));
  return parts.map((part) => ` ${part}`).join('');
}
