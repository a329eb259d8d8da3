/**
 * Why a match did not hold, in words: asked after it said no, of the same packet. Nothing here decides. Cold.
 */
import type { Family, MatchSpec } from '../ast.js';
import { Asked, type ReasonScope, type Reasons } from './asked.js';
import { CONNECTION_REASONS } from './connection.js';
import { HISTORY_REASONS } from './history.js';
import { NETWORK_REASONS } from './network.js';
import { TRANSPORT_REASONS } from './transport.js';

const REASONS: Reasons = {
  ...NETWORK_REASONS,
  ...TRANSPORT_REASONS,
  ...CONNECTION_REASONS,
  ...HISTORY_REASONS,
};

/** The reason; where it cannot be told, the condition as it is written. */
export function matchReason(spec: MatchSpec, scope: ReasonScope): string {
  const asked = new Asked(spec, scope.packet.version as Family);
  if (scope.context.hotdrop === 1) return `the packet ends before what ${spec.kind} reads: it is dropped`;
  const reason = REASONS[spec.kind] as
    | ((spec: MatchSpec, scope: ReasonScope, asked: Asked) => string | undefined)
    | undefined;
  return reason?.(spec, scope, asked) ?? `${asked.text} does not hold`;
}
