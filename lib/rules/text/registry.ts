/**
 * All matches and targets by name and family, and the names that Linux knows and we refuse. Cold.
 */

import type { Family } from '../ast.js';
import type { Extension, MatchExtension, TargetExtension } from './grammar.js';
import * as connection from './match-connection.js';
import * as ipv6 from './match-ipv6.js';
import * as packet from './match-packet.js';
import * as payload from './match-payload.js';
import * as rate from './match-rate.js';
import * as transport from './match-transport.js';
import * as change from './target-change.js';
import * as nat from './target-nat.js';
import * as tproxy from './target-tproxy.js';
import * as verdict from './target-verdict.js';

type Registry<E> = Readonly<Record<Family, ReadonlyMap<string, E>>>;

function registry<S>(...rooms: readonly Readonly<Record<string, Extension<S>>>[]): Registry<Extension<S>> {
  const all = rooms.flatMap((room) => Object.values(room));
  const of = (family: Family): ReadonlyMap<string, Extension<S>> =>
    new Map(
      all.filter((one) => one.family === undefined || one.family === family).map((one) => [one.name, one]),
    );
  return { 4: of(4), 6: of(6) };
}

const matches = registry(connection, ipv6, packet, payload, rate, transport);
const targets = registry(change, nat, tproxy, verdict);

export function findMatch(name: string, family: Family): MatchExtension | undefined {
  return matches[family].get(name);
}

export function findTarget(name: string, family: Family): TargetExtension | undefined {
  return targets[family].get(name);
}

export function matchNames(family: Family): readonly string[] {
  return [...matches[family].keys()].sort();
}

export function targetNames(family: Family): readonly string[] {
  return [...targets[family].keys()].sort();
}

/** In Linux, but without meaning in a network that lives in one process. */
export const REFUSED_MATCHES: ReadonlySet<string> = new Set(
  (
    'bpf cgroup cluster cpu devgroup eui64 ipcomp ipvs l2tp mh nfacct osf physdev policy rateest realm ' +
    'srh udplite'
  ).split(' '),
);
export const REFUSED_TARGETS: ReadonlySet<string> = new Set(
  'CLUSTERIP CONNSECMARK DNPT HMARK IDLETIMER LED RATEEST SECMARK SNPT SYNPROXY ULOG'.split(' '),
);

/** The match that `-p` brings in when one of its options is used. */
export function protocolMatch(protocol: number, family: Family): MatchExtension | undefined {
  const name = PROTOCOL_MATCHES.get(protocol);
  return name === undefined ? undefined : findMatch(name, family);
}

const PROTOCOL_MATCHES: ReadonlyMap<number, string> = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [33, 'dccp'],
  [50, 'esp'],
  [51, 'ah'],
  [58, 'icmp6'],
  [132, 'sctp'],
]);
