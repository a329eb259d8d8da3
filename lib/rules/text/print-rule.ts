/**
 * A rule as iptables-save prints it. Cold.
 */

import type {
  AddressCondition,
  Family,
  InterfaceCondition,
  MatchSpec,
  RuleSpec,
  TargetSpec,
} from '../ast.js';
import { formatAddress, formatMask } from './address.js';
import { protocolName } from './names.js';
import { findMatch, findTarget } from './registry.js';

/** `-A CHAIN` and the rule, without counters. */
export function formatRule(chain: string, rule: RuleSpec, family: Family): string {
  const { source, destination, inInterface, outInterface, protocol, fragment, matches, target } = rule;
  const parts = [
    `-A ${chain}`,
    formatAddressCondition('-s', source, family),
    formatAddressCondition('-d', destination, family),
    formatInterface('-i', inInterface),
    formatInterface('-o', outInterface),
    protocol && `${not(protocol.negated)}-p ${protocolName(protocol.number)}`,
    fragment && `${not(fragment === 'not-fragment')}-f`,
    ...matches.map((match) => formatMatch(match, family)),
    formatTarget(target, family),
  ];
  return join(parts);
}

function not(negated: boolean): string {
  return negated ? '! ' : '';
}

function join(parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== '').join(' ');
}

function formatAddressCondition(
  option: string,
  condition: AddressCondition | undefined,
  family: Family,
): string | undefined {
  if (condition === undefined) return undefined;
  const { words, mask, negated } = condition;
  return `${not(negated)}${option} ${formatAddress(words, family)}${formatMask(mask, family)}`;
}

/** Linux prints nothing for `+`, not even negated. */
function formatInterface(option: string, condition: InterfaceCondition | undefined): string | undefined {
  if (condition === undefined || condition.name === '') return undefined;
  const { name, wildcard, negated } = condition;
  return `${not(negated)}${option} ${name}${wildcard ? '+' : ''}`;
}

function formatMatch(spec: MatchSpec, family: Family): string {
  const extension = findMatch(spec.kind, family);
  return join([`-m ${spec.kind}`, ...(extension?.print(spec, family) ?? [])]);
}

function formatTarget(spec: TargetSpec, family: Family): string | undefined {
  switch (spec.kind) {
    case 'none':
      return undefined;
    case 'jump':
      return `-j ${spec.chain}`;
    case 'goto':
      return `-g ${spec.chain}`;
    case 'ACCEPT':
    case 'DROP':
    case 'RETURN':
      return `-j ${spec.kind}`;
  }
  if (spec.kind === 'NFQUEUE' && spec.verdict === 'QUEUE') return '-j QUEUE';
  const extension = findTarget(spec.kind, family);
  return join([`-j ${spec.kind}`, ...(extension?.print(spec, family) ?? [])]);
}
