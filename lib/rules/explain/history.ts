/**
 * Why conditions with a memory, lots, the clock, sets and the payload do not hold. What they count is not asked again:
 * asking would count. Cold.
 */
import { hasPorts } from '../../conntrack/tuples.js';
import { formatAddress } from '../text/address.js';
import type { Reasons } from './asked.js';

export const HISTORY_REASONS: Reasons = {
  limit: (_spec, _scope, asked) => {
    const burst = asked.value('limit-burst') || '5';
    return `the limit of ${asked.value('limit')} (burst ${burst}) is used up`;
  },
  hashlimit: ({ compare, name }) =>
    compare === 'above'
      ? `the rate of its entry in ${name} is not above the limit`
      : `the rate of its entry in ${name} is above the limit`,
  quota: ({ bytes, negated }) =>
    negated ? `the quota of ${bytes} bytes is not used up` : `the quota of ${bytes} bytes is used up`,
  statistic: (spec, _scope, asked) =>
    spec.mode === 'random'
      ? `the lot fell otherwise (probability ${asked.value('probability')})`
      : `it is${spec.negated ? '' : ' not'} the packet that is counted of every ${spec.every}`,
  recent: ({ action, name, side, negated, seconds, hitCount }, { packet }) => {
    const address = formatAddress(packet.addresses, packet.version, side === 'source' ? 0 : 4);
    if (action === 'set') return `${address} was put on the list ${name}, and the rule wants the opposite`;
    const often = hitCount === 0 ? '' : ` ${hitCount} times`;
    const within = seconds === 0 ? '' : ` within ${seconds} s`;
    if (negated) return `${side} ${address} is on the list ${name}${often}${within}`;
    return `${side} ${address} is not on the list ${name}${often}${within}`;
  },
  time: (_spec, _scope, asked) => {
    const span = asked.text.replace('-m time ', '').replace(/ ?--datestop 2038-01-19T03:14:07/, '');
    return `the time of the packet is outside of ${span}`;
  },
  string: ({ from, to, negated }, _scope, asked) => {
    const pattern = asked.value('string') || asked.value('hex-string');
    const where = from === 0 && to === 65535 ? 'it' : `bytes ${from} to ${to === 65535 ? 'the end' : to}`;
    return `${where} ${negated ? 'contains' : 'does not contain'} ${pattern}`;
  },
  u32: (_spec, _scope, asked) =>
    `its bytes are not as asked: u32 ${asked.isNegated('u32') ? '! ' : ''}${asked.value('u32')}`,
  set: ({ name, sides, negated, packets, bytes }, { packet, context }) => {
    const end = (at: 0 | 1) => {
      const address = formatAddress(packet.addresses, packet.version, 4 * at);
      const hasPort = hasPorts(context.protocol) === 1 && context.fragmentOffset === 0;
      if (!hasPort || context.transport + 4 > packet.end) return address;
      return `${packet.version === 6 ? `[${address}]` : address}:${packet.u16(context.transport + 2 * at)}`;
    };
    const counts =
      packets === undefined && bytes === undefined ? '' : ', or not with the counts that are asked';
    const by = sides.join(',');
    return `${end(0)} > ${end(1)} is ${negated ? '' : 'not '}in the set ${name} by ${by}${counts}`;
  },
};
