/** What a policy's options must be like before they are read: JavaScript has no compiler that would say so. Cold. */
import { type Names, refuseNoTexts, refuseOther, refuseUnknown } from '../known.js';
import type { PolicyLimits } from './chains.js';
import type { DenialLimits } from './denials.js';
import type { DomainLimits } from './domains.js';
import type { PolicyOptions } from './policy.js';

const OPTIONS: Names<PolicyOptions> = {
  allowOut: true,
  denyOut: true,
  allowIn: true,
  denyIn: true,
  forwards: true,
  limits: true,
  guests: true,
  deny: true,
  protect: true,
  privateAnswers: true,
  domains: true,
  reports: true,
};
const LIMITS: Names<PolicyLimits> = { connectionsPerSource: true, newPerSecond: true };
const DOMAINS: Names<DomainLimits> = { leastTtlSeconds: true, mostTtlSeconds: true, addressesPerName: true };
const REPORTS: Names<DenialLimits> = { repeatMs: true, perSecond: true };

/** Throws a ConfigurationError for an option that does not exist, or is of another kind. */
export function checkPolicy(options: PolicyOptions): void {
  refuseUnknown('policy', options, OPTIONS);
  for (const list of ['allowOut', 'denyOut', 'allowIn', 'denyIn', 'guests', 'protect'] as const) {
    refuseNoTexts(list, options[list]);
  }
  refuseOther('deny', options.deny, ['reject', 'drop']);
  refuseOther('privateAnswers', options.privateAnswers, ['refuse', 'allow']);
  if (options.limits !== undefined) refuseUnknown('limits', options.limits, LIMITS);
  if (options.domains !== undefined) refuseUnknown('domains', options.domains, DOMAINS);
  if (options.reports !== undefined) refuseUnknown('reports', options.reports, REPORTS);
}
