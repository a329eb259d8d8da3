/**
 * Makes the object of a target from its typed form. Cold.
 */
import { ConfigurationError } from '../../errors.js';
import type { TargetSpec } from '../ast.js';
import type { Target } from '../context.js';
import type { RuleScope } from '../rows.js';
import { ConnmarkTarget, ConntrackTarget, NotrackTarget } from './connection.js';
import { ChecksumTarget, EcnBitsTarget, HopLimitTarget, TrafficClassTarget } from './header.js';
import { LogTarget } from './log.js';
import { MarkTarget, PriorityTarget, TraceTarget } from './mark.js';
import {
  DestinationNatTarget,
  MasqueradeTarget,
  NetmapTarget,
  RedirectTarget,
  SourceNatTarget,
} from './nat.js';
import { QueueTarget, TeeTarget } from './queue.js';
import { RejectTarget } from './reject.js';
import { SetChangeTarget } from './set.js';
import { MssTarget, StripOptionsTarget } from './tcp.js';
import { TransparentProxyTarget } from './tproxy.js';

/** Undefined for a target without effect here. Throws a ConfigurationError for one that cannot be had. */
export function createTarget(spec: TargetSpec, scope: RuleScope): Target | undefined {
  const { tracker, nat, host, observers } = scope.environment;
  switch (spec.kind) {
    case 'REJECT':
      return new RejectTarget(spec, tracker, host);
    case 'LOG':
    case 'NFLOG':
      return new LogTarget(spec, scope);
    case 'SNAT':
      return new SourceNatTarget(spec, nat);
    case 'DNAT':
      return new DestinationNatTarget(spec, scope);
    case 'MASQUERADE':
      return new MasqueradeTarget(spec, nat);
    case 'REDIRECT':
      return new RedirectTarget(spec, nat);
    case 'NETMAP':
      return new NetmapTarget(spec, nat);
    case 'MARK':
      return new MarkTarget(spec);
    case 'CONNMARK':
      return new ConnmarkTarget(spec, tracker);
    case 'CT':
      return spec.notrack ? new NotrackTarget() : new ConntrackTarget(spec, scope);
    case 'NOTRACK':
      return new NotrackTarget();
    case 'TTL':
    case 'HL':
      return new HopLimitTarget(spec);
    case 'DSCP':
    case 'TOS':
      return new TrafficClassTarget(spec);
    case 'ECN':
      return new EcnBitsTarget(spec);
    case 'TCPMSS':
      return new MssTarget(spec, scope.family, host);
    case 'TCPOPTSTRIP':
      return new StripOptionsTarget(spec);
    case 'TRACE':
      return new TraceTarget();
    case 'CLASSIFY':
      return new PriorityTarget(spec);
    case 'CHECKSUM':
      return new ChecksumTarget();
    case 'NFQUEUE':
      return new QueueTarget(spec, observers);
    case 'TEE':
      return new TeeTarget(spec, scope.family, observers);
    case 'TPROXY':
      return new TransparentProxyTarget(spec, host);
    case 'SET':
      return new SetChangeTarget(spec, scope);
    case 'AUDIT':
      return undefined;
    default:
      throw new ConfigurationError('unsupported', 'this target is not supported', {
        ...scope.rule.place,
        word: spec.kind,
      });
  }
}
