/**
 * Which conditions and targets depend on nothing but the flow of a packet: what a walk that is recorded (`record.ts`)
 * may be repeated for without looking at the packet again. Cold.
 *
 * The flow is: protocol, addresses, ports, the two interfaces, hook, and the connection with its tuples and its ctinfo
 * (state and direction); of whole packets whose transport header is complete, as those of tracked connections are. What
 * changes in a connection's life (status, NAT bits, marks, labels, counts, time left) is not of the flow, nor is what
 * the host says (addresses, routes, sockets). ICMP types are not: errors share the flow that they are about.
 */
import { CtState, type MatchSpec, type TargetSpec } from './ast.js';

const STATES = CtState.INVALID | CtState.ESTABLISHED | CtState.RELATED | CtState.NEW | CtState.UNTRACKED;

/** Whether a match says the same of every packet of a flow, and leaves no trace. */
export function isFlowPureMatch(spec: MatchSpec): boolean {
  switch (spec.kind) {
    case 'comment':
    case 'udp':
    case 'multiport':
    case 'iprange':
    case 'state':
      return true;
    case 'tcp':
      return spec.flags === undefined && spec.option === undefined;
    case 'sctp':
      return spec.chunks === undefined;
    case 'dccp':
      return spec.types === undefined && spec.option === undefined;
    case 'conntrack':
      return (
        spec.status === undefined &&
        spec.expireSeconds === undefined &&
        ((spec.state?.bits ?? 0) & ~STATES) === 0
      );
    default:
      return false;
  }
}

/** Whether a target only decides where the packet goes on. */
export function isFlowPureTarget(spec: TargetSpec): boolean {
  switch (spec.kind) {
    case 'none':
    case 'ACCEPT':
    case 'DROP':
    case 'RETURN':
    case 'jump':
    case 'goto':
    case 'AUDIT':
      return true;
    default:
      return false;
  }
}
