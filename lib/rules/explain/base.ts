/**
 * Why a condition that every rule may have does not hold, in words: addresses, interfaces, protocol. Undefined where it
 * holds. Cold.
 */
import type { Host } from '../../host.js';
import type { Packet } from '../../wire/packet.js';
import type {
  AddressCondition,
  AddressWords,
  Family,
  InterfaceCondition,
  ProtocolCondition,
} from '../ast.js';
import type { RuleContext } from '../context.js';
import type { InterfaceTest } from '../interfaces.js';
import { formatAddress, formatMask, isZero, maskPrefix } from '../text/address.js';
import { protocolName } from '../text/names.js';

/** `ctstate is NEW, wanted ESTABLISHED`; negated: `wanted anything but NEW`. */
export function isNot(subject: string, is: string | number, wanted: string, negated: boolean): string {
  return `${subject} is ${is}, wanted ${negated ? 'anything but ' : ''}${wanted}`;
}

/** `source 10.0.0.2 is not in 192.168.0.0/16`. `words` at `at` are the address. */
export function outside(
  subject: string,
  words: ArrayLike<number>,
  at: number,
  condition: AddressCondition,
  family: Family,
): string | undefined {
  let inside = true;
  for (let i = 0; i < (family === 4 ? 1 : 4); i++) {
    if (((words[at + i] as number) & (condition.mask[i] as number)) !== condition.words[i]) inside = false;
  }
  if (inside !== condition.negated) return undefined;
  const address = formatAddress(words, family, at);
  return `${subject} ${address} is ${inside ? '' : 'not '}${network(condition.words, condition.mask, family)}`;
}

function network(words: AddressWords, mask: AddressWords, family: Family): string {
  if (isZero(mask)) return 'any address';
  const text = formatAddress(words, family);
  return maskPrefix(mask, family) === (family === 4 ? 32 : 128)
    ? text
    : `in ${text}${formatMask(mask, family)}`;
}

export function addressReason(
  side: 'source' | 'destination',
  condition: AddressCondition | undefined,
  packet: Packet,
  family: Family,
): string | undefined {
  if (condition === undefined) return undefined;
  return outside(side, packet.addresses, side === 'source' ? 0 : 4, condition, family);
}

export function interfaceReason(
  side: 'in' | 'out',
  condition: InterfaceCondition,
  index: number,
  { test, host }: { readonly test: InterfaceTest; readonly host: Host },
): string | undefined {
  if ((test.matches(index) === 1) !== condition.negated) return undefined;
  const wanted = `${condition.negated ? 'anything but ' : ''}${condition.name}${condition.wildcard ? '+' : ''}`;
  const name = host.interfaceName(index);
  if (name === '')
    return `it has no interface ${side === 'in' ? 'that it came in by' : 'to leave by'}, wanted ${wanted}`;
  return `it ${side === 'in' ? 'came in by' : 'leaves by'} ${name}, wanted ${wanted}`;
}

export function protocolReason(
  condition: ProtocolCondition | undefined,
  context: RuleContext,
): string | undefined {
  if (condition === undefined) return undefined;
  if (context.protocol < 0) {
    context.hotdrop = 1;
    return 'its headers cannot be walked to a protocol: it is dropped';
  }
  if ((context.protocol === condition.number) !== condition.negated) return undefined;
  return isNot('protocol', protocolName(context.protocol), protocolName(condition.number), condition.negated);
}
