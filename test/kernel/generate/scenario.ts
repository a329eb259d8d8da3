/**
 * Seeded random scenarios. `generateScenario(seed, index)` is the same scenario for the same numbers; the kinds rotate
 * by weight. Steps follow each other at once, so time stands all but still; a few scenarios shorten timeouts and wait.
 */
import { DEFAULT_INTERFACES, DEFAULT_ROUTES, type Trace } from '../../../lib/scenario/trace.js';
import { Datagrams, sendError } from './datagrams.js';
import { Dice } from './dice.js';
import { sendExtensions, sendFragments, sendMalformed } from './oddities.js';
import { generateRules, type Theme } from './rules.js';
import { type Host, Scene } from './scene.js';
import { TcpFlow } from './tcp.js';

export const KINDS = [
  'tcp',
  'nat',
  'icmp',
  'filter',
  'fragments',
  'extensions',
  'malformed',
  'time',
] as const;
export type Kind = (typeof KINDS)[number];

const WEIGHTS: readonly (readonly [number, Kind])[] = [
  [28, 'tcp'],
  [28, 'nat'],
  [12, 'icmp'],
  [12, 'filter'],
  [10, 'fragments'],
  [4, 'extensions'],
  [5, 'malformed'],
  [1, 'time'],
];
const THEMES: Readonly<Record<Kind, Theme>> = {
  tcp: 'tracking',
  nat: 'nat',
  icmp: 'nat',
  filter: 'filter',
  fragments: 'tracking',
  extensions: 'filter',
  malformed: 'tracking',
  time: 'tracking',
};
const DMZ = { name: 'dmz', dev: 'tun2', addr: ['10.0.1.1/24', 'fd00:b::1/64'], mtu: 1500 };
const SHORT_TIMEOUTS = [
  'tcp_timeout_syn_sent',
  'tcp_timeout_syn_recv',
  'tcp_timeout_established',
  'tcp_timeout_fin_wait',
  'tcp_timeout_close_wait',
  'tcp_timeout_last_ack',
  'tcp_timeout_time_wait',
  'tcp_timeout_close',
  'udp_timeout',
  'udp_timeout_stream',
  'icmp_timeout',
  'icmpv6_timeout',
  'generic_timeout',
];

/** Something that sends packets of a kind, one a step. */
type Actor = () => void;

export function generateScenario(seed: number, index: number, only?: Kind): Trace {
  const dice = new Dice((Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca77)) >>> 0);
  const kind = only ?? dice.weighted(WEIGHTS);
  const version = kind === 'extensions' || (kind !== 'time' && dice.chance(28)) ? 6 : 4;
  const rules = generateRules(dice, version, THEMES[kind]);
  const scene = new Scene(dice, version, rules.hasNat);
  const interfaces = dice.chance(10) ? [...DEFAULT_INTERFACES, DMZ] : [...DEFAULT_INTERFACES];
  const hasDmz = interfaces.length === 3;
  if (kind === 'fragments' && dice.chance(30)) {
    const place = dice.below(2);
    interfaces[place] = { ...(interfaces[place] as (typeof interfaces)[number]), mtu: 1280 };
  }
  const actors = makeActors(scene, kind, hasDmz);
  const length = dice.between(5, kind === 'tcp' ? 24 : 16);
  const sysctls: Record<string, string> = settings(dice, kind);
  while (scene.steps.length < length) {
    dice.oneOf(actors)();
    if (kind === 'time' && dice.chance(25)) scene.wait(dice.oneOf([700, 1100, 1500]));
  }
  return {
    name: `kernel_${seed}_${index}`,
    description: `${kind}, IPv${version}`,
    interfaces,
    routes: DEFAULT_ROUTES,
    sysctls,
    forceTracking: !dice.chance(3),
    sockets: dice.chance(15) ? [{ proto: 'udp', port: 53, addr: version === 4 ? '0.0.0.0' : '::' }] : [],
    fixedPorts: rules.fixedPorts,
    randomDestinations: true,
    ...(rules.sets === '' ? {} : { sets: rules.sets }),
    ...(version === 4 ? { rules4: rules.text } : { rules6: rules.text }),
    slotMs: 2,
    dumpMs: 1,
    steps: scene.steps,
    random: [],
    source: {},
  };
}

function settings(dice: Dice, kind: Kind): Record<string, string> {
  const sysctls: Record<string, string> = {};
  const set = (name: string, value: number) => {
    sysctls[`net.netfilter.nf_conntrack_${name}`] = String(value);
  };
  if (kind === 'time') {
    for (const name of SHORT_TIMEOUTS) if (dice.chance(70)) set(name, dice.between(1, 3));
  }
  if (dice.chance(10)) set('tcp_loose', 0);
  if (dice.chance(8)) set('tcp_be_liberal', 1);
  if (dice.chance(6)) set('tcp_ignore_invalid_rst', 1);
  if (dice.chance(6)) set('checksum', 0);
  if (dice.chance(6)) set('tcp_max_retrans', dice.between(0, 2));
  return sysctls;
}

function makeActors(scene: Scene, kind: Kind, hasDmz: boolean): Actor[] {
  const { dice } = scene;
  const mutation = dice.weighted([
    [3, 8],
    [4, 25],
    [2, 50],
  ]);
  const flows = Array.from({ length: dice.between(1, 3) }, () => {
    const [client, server] = ends(scene, hasDmz);
    const ports = flowPorts(scene);
    const isTcp = kind === 'tcp' || (kind === 'time' && dice.chance(60)) || dice.chance(45);
    if (isTcp) {
      const flow = new TcpFlow(scene, { client, server, clientPort: ports[0], serverPort: ports[1] });
      return () => flow.step(mutation);
    }
    const what = dice.weighted<'udp' | 'ping' | 'other'>([
      [5, 'udp'],
      [3, 'ping'],
      [1, 'other'],
    ]);
    const datagrams = new Datagrams(scene, client, server, what, ports);
    return () => datagrams.step(mutation / 2);
  });
  const [from, to] = ends(scene, hasDmz);
  const errors = () => sendError(scene);
  const fragments = () => sendFragments(scene, from, to);
  const malformed = () => sendMalformed(scene, from, to);
  const extensions = () => sendExtensions(scene, from, to);
  switch (kind) {
    case 'icmp':
      return [...flows, errors, errors];
    case 'fragments':
      return [...flows.slice(0, 1), fragments, fragments];
    case 'extensions':
      return [...flows.slice(0, 1), extensions, extensions];
    case 'malformed':
      return [...flows, malformed, malformed, errors];
    case 'tcp':
      return dice.chance(20) ? [...flows, errors] : flows;
    default:
      return [...flows, ...flows, errors, ...(dice.chance(5) ? [malformed] : [])];
  }
}

/** Client and server; mostly from inside to outside. */
function ends(scene: Scene, hasDmz: boolean): [Host, Host] {
  const { dice } = scene;
  const way = dice.weighted<[Host['side'], Host['side']]>([
    [12, ['lan', 'wan']],
    [4, ['wan', 'lan']],
    [4, ['wan', 'local']],
    [2, ['lan', 'local']],
    [2, ['local', 'wan']],
    [1, ['local', 'lan']],
    [1, ['lan', 'lan']],
    [hasDmz ? 8 : 0, ['lan', 'dmz']],
    [hasDmz ? 4 : 0, ['dmz', 'wan']],
  ]);
  const [client, server] = [scene.host(way[0]), scene.host(way[1])];
  // Answers to the router's own address are sent by a host behind it.
  if (way[1] === 'local')
    return [client, { side: dice.chance(50) ? 'lan' : 'local', address: server.address }];
  return [client, server];
}

/** Few ports, so that tuples clash. */
function flowPorts(scene: Scene): [number, number] {
  const { dice } = scene;
  return [dice.oneOf([4000, 4000, 4001, 40000, 40000, 500, 1023]), dice.oneOf([80, 80, 53])];
}
