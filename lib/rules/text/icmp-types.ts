/**
 * Names of ICMP and ICMPv6 types and codes (RFC 792, RFC 4443 and their successors). Cold.
 */

import type { Reader } from './grammar.js';
import { wholeNumber } from './numbers.js';

export interface IcmpCodes {
  readonly type: number;
  readonly codeLow: number;
  readonly codeHigh: number;
}

/** name=type or name=type/code. */
function table(text: string): ReadonlyMap<string, IcmpCodes> {
  return new Map(
    text.split(' ').map((entry) => {
      const [, name, type, code] = /^(.*)=(\d+)(?:\/(\d+))?$/.exec(entry)!;
      const codes = code === undefined ? [0, 255] : [Number(code), Number(code)];
      return [name!, { type: Number(type), codeLow: codes[0]!, codeHigh: codes[1]! }];
    }),
  );
}

export const ICMP_TYPES = table(
  'any=255 echo-reply=0 pong=0 destination-unreachable=3 network-unreachable=3/0 host-unreachable=3/1 ' +
    'protocol-unreachable=3/2 port-unreachable=3/3 fragmentation-needed=3/4 source-route-failed=3/5 ' +
    'network-unknown=3/6 host-unknown=3/7 network-prohibited=3/9 host-prohibited=3/10 ' +
    'TOS-network-unreachable=3/11 TOS-host-unreachable=3/12 communication-prohibited=3/13 ' +
    'host-precedence-violation=3/14 precedence-cutoff=3/15 source-quench=4 redirect=5 network-redirect=5/0 ' +
    'host-redirect=5/1 TOS-network-redirect=5/2 TOS-host-redirect=5/3 echo-request=8 ping=8 ' +
    'router-advertisement=9 router-solicitation=10 time-exceeded=11 ttl-exceeded=11 ' +
    'ttl-zero-during-transit=11/0 ttl-zero-during-reassembly=11/1 parameter-problem=12 ip-header-bad=12/0 ' +
    'required-option-missing=12/1 timestamp-request=13 timestamp-reply=14 address-mask-request=17 ' +
    'address-mask-reply=18',
);

export const ICMP6_TYPES = table(
  'destination-unreachable=1 no-route=1/0 communication-prohibited=1/1 beyond-scope=1/2 ' +
    'address-unreachable=1/3 port-unreachable=1/4 failed-policy=1/5 reject-route=1/6 packet-too-big=2 ' +
    'time-exceeded=3 ttl-exceeded=3 ttl-zero-during-transit=3/0 ttl-zero-during-reassembly=3/1 ' +
    'parameter-problem=4 bad-header=4/0 unknown-header-type=4/1 unknown-option=4/2 echo-request=128 ping=128 ' +
    'echo-reply=129 pong=129 mld-listener-query=130 mld-listener-report=131 mld-listener-done=132 ' +
    'mld-listener-reduction=132 router-solicitation=133 router-advertisement=134 neighbour-solicitation=135 ' +
    'neighbor-solicitation=135 neighbour-advertisement=136 neighbor-advertisement=136 redirect=137',
);

/** `type`, `type/code`, a name or an unambiguous beginning of one, in any case. */
export function icmpType(names: ReadonlyMap<string, IcmpCodes>): Reader<IcmpCodes> {
  return (text, { where }) => {
    const wanted = text.toLowerCase();
    const named = [...names].filter(([name]) => name.toLowerCase().startsWith(wanted));
    const exact = named.find(([name]) => name.toLowerCase() === wanted);
    if (exact !== undefined) return exact[1];
    if (named.length > 1 && text !== '') {
      where.refuse('value', 'ambiguous ICMP type', `one of ${named.map(([name]) => name).join(', ')}`);
    }
    if (named.length === 1) return named[0]![1];
    const slash = text.indexOf('/');
    const type = wholeNumber(slash < 0 ? text : text.slice(0, slash), 0, 255);
    const code = slash < 0 ? undefined : wholeNumber(text.slice(slash + 1), 0, 255);
    if (type === undefined || (slash >= 0 && code === undefined)) {
      return where.refuse('value', 'unknown ICMP type', 'a name, or type or type/code, each 0-255');
    }
    return { type, codeLow: code ?? 0, codeHigh: code ?? 255 };
  };
}
