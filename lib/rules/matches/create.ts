/**
 * Makes the object of a match from its typed form. Cold.
 */
import { ConfigurationError } from '../../errors.js';
import type { ConntrackMatch, MatchSpec } from '../ast.js';
import type { Match } from '../context.js';
import type { RuleScope } from '../rows.js';
import {
  ConnectionBytesMatch,
  ConnectionLabelMatch,
  ConnectionStateMatch,
  ConnmarkMatch,
  ConntrackFieldsMatch,
  CtstateMatch,
} from './connection.js';
import { ConnectionLimitMatch } from './connlimit.js';
import { HashlimitTableMatch } from './hashlimit.js';
import {
  AuthenticationHeaderMatch,
  FragmentHeaderMatch,
  HeaderOptionsMatch,
  HeaderSetMatch,
  RoutingHeaderMatch,
} from './headers6.js';
import { ExpectedByHelperMatch, LocalSocketMatch, OwnerTest, ReversePathMatch } from './local.js';
import {
  AddressRangeMatch,
  AddressTypeMatch,
  EcnBitsMatch,
  HopLimitMatch,
  MacSourceMatch,
  PacketLengthMatch,
  PacketMarkMatch,
  PacketTypeMatch,
  TrafficClassMatch,
} from './network.js';
import { PatternMatch, WordMatch } from './payload.js';
import { ByteQuotaMatch, ChanceMatch, NthMatch, TokenBucketMatch } from './rate.js';
import { RecentListMatch } from './recent.js';
import { SpiMatch } from './security.js';
import { SetMembershipMatch } from './set.js';
import { DccpHeaderMatch, SctpHeaderMatch } from './streams.js';
import { WallTimeMatch } from './time.js';
import { IcmpTypeMatch, MssMatch, PortListMatch, TcpHeaderMatch, UdpHeaderMatch } from './transport.js';

/** Time of the machine's clock, for rules that nobody gave another. */
function machineTime(): number {
  return Date.now();
}

function asksStateAlone(spec: ConntrackMatch): boolean {
  for (const field in spec) {
    if (field !== 'kind' && field !== 'state') return false;
  }
  return true;
}

/** Undefined for a match that always holds. Throws a ConfigurationError for one that cannot be had here. */
export function createMatch(spec: MatchSpec, scope: RuleScope): Match | undefined {
  const { tracker, host, random } = scope.environment;
  switch (spec.kind) {
    case 'comment':
      return undefined;
    case 'tcp':
      return new TcpHeaderMatch(spec);
    case 'udp':
      return new UdpHeaderMatch(spec);
    case 'icmp':
    case 'icmp6':
      return new IcmpTypeMatch(spec);
    case 'multiport':
      return new PortListMatch(spec);
    case 'tcpmss':
      return new MssMatch(spec);
    case 'conntrack':
      return spec.state !== undefined && asksStateAlone(spec)
        ? new CtstateMatch(spec.state, tracker)
        : new ConntrackFieldsMatch(spec, tracker);
    case 'state':
      return new ConnectionStateMatch(spec);
    case 'connmark':
      return new ConnmarkMatch(spec, tracker);
    case 'connbytes':
      return new ConnectionBytesMatch(spec, tracker);
    case 'connlimit':
      return new ConnectionLimitMatch(spec, tracker);
    case 'length':
      return new PacketLengthMatch(spec);
    case 'mark':
      return new PacketMarkMatch(spec);
    case 'addrtype':
      return new AddressTypeMatch(spec, host);
    case 'iprange':
      return new AddressRangeMatch(spec);
    case 'ttl':
    case 'hl':
      return new HopLimitMatch(spec);
    case 'dscp':
    case 'tos':
      return new TrafficClassMatch(spec);
    case 'ecn':
      return new EcnBitsMatch(spec);
    case 'pkttype':
      return new PacketTypeMatch(spec);
    case 'mac':
      return new MacSourceMatch(spec);
    case 'limit':
      return new TokenBucketMatch(spec);
    case 'quota':
      return new ByteQuotaMatch(spec);
    case 'statistic':
      return spec.mode === 'nth' ? new NthMatch(spec) : new ChanceMatch(spec, random);
    case 'ipv6header':
      return new HeaderSetMatch(spec);
    case 'frag':
      return new FragmentHeaderMatch(spec);
    case 'rt':
      return new RoutingHeaderMatch(spec);
    case 'hbh':
    case 'dst':
      return new HeaderOptionsMatch(spec);
    case 'ah':
      return scope.family === 4 ? new SpiMatch(spec) : new AuthenticationHeaderMatch(spec);
    case 'esp':
      return new SpiMatch(spec);
    case 'sctp':
      return new SctpHeaderMatch(spec);
    case 'dccp':
      return new DccpHeaderMatch(spec);
    case 'string':
      return new PatternMatch(spec);
    case 'u32':
      return new WordMatch(spec);
    case 'time':
      return new WallTimeMatch(spec, scope.environment.wallTimeMs ?? machineTime);
    case 'recent':
      return new RecentListMatch(spec, scope.shared, scope.releases);
    case 'hashlimit':
      return new HashlimitTableMatch(spec, scope.family, scope.shared, scope.releases);
    case 'socket':
      return new LocalSocketMatch(spec, host, tracker);
    case 'owner':
      return new OwnerTest(spec);
    case 'rpfilter':
      return new ReversePathMatch(spec, host);
    case 'helper':
      return new ExpectedByHelperMatch(spec, tracker);
    case 'connlabel':
      return new ConnectionLabelMatch(spec, tracker);
    case 'set':
      return new SetMembershipMatch(spec, scope);
    default:
      throw new ConfigurationError('unsupported', 'this match is not supported', {
        ...scope.rule.place,
        word: (spec as MatchSpec).kind,
      });
  }
}
