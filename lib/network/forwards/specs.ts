/**
 * Rules of forwards as objects: what their text (`chains.ts`) would be read as. A set may have thousands, and reading text
 * is most of what they cost. Cold.
 */
import { AddressType } from '../../host.js';
import { type AddressCondition, CtState, type InterfaceCondition, type RuleSpec } from '../../rules/ast.js';
import type { AddressWords } from '../../wire/address.js';
import { type ActiveForward, protocolNumberOf, targetPort } from './active.js';
import type { Ports } from './rule.js';

const HOST4: AddressWords = [-1, 0, 0, 0];
const HOST6: AddressWords = [-1, -1, -1, -1];

/** The rule that translates what comes to `ports` of a forward. */
export function translationSpec(forward: ActiveForward, ports: Ports): RuleSpec {
  const { version, protocol, address, target } = forward;
  const first = targetPort(forward, ports.first);
  const isShifted = first !== ports.first;
  const isOne = ports.first === ports.last;
  const isAside = forward.interface === '' && forward.hairpin === 'off';
  const destinationPorts = { low: ports.first, high: ports.last, negated: false };
  return {
    ...(address === undefined ? {} : { destination: hostCondition(address, version) }),
    ...(isAside ? { inInterface: interfaceCondition(forward.targetInterface) } : {}),
    protocol: { number: protocolNumberOf(protocol), negated: false },
    matches: [
      { kind: protocol, destinationPorts },
      ...(address === undefined
        ? [{ kind: 'addrtype' as const, destination: { bits: 1 << AddressType.LOCAL, negated: false } }]
        : []),
    ],
    target: {
      kind: 'DNAT',
      addresses: { low: target, high: target },
      ...(isOne || isShifted ? { ports: { low: first, high: targetPort(forward, ports.last) } } : {}),
      ...(isShifted && !isOne ? { basePort: ports.first } : {}),
      random: false,
      randomFully: false,
      persistent: false,
    },
  };
}

/** The rule that lets its connections pass, both ways. */
export function passageSpec(forward: ActiveForward, ports: Ports): RuleSpec {
  const { version, protocol, address, target } = forward;
  const of = (words: AddressWords) => ({ written: words, ...hostCondition(words, version) });
  return {
    matches: [
      {
        kind: 'conntrack',
        state: { bits: CtState.DNAT, negated: false },
        protocol: { value: protocolNumberOf(protocol), negated: false },
        ...(address === undefined ? {} : { originalDestination: of(address) }),
        replySource: of(target),
        originalDestinationPorts: { low: ports.first, high: ports.last, negated: false },
        replySourcePorts: {
          low: targetPort(forward, ports.first),
          high: targetPort(forward, ports.last),
          negated: false,
        },
      },
    ],
    target: { kind: 'ACCEPT' },
  };
}

function hostCondition(words: AddressWords, version: 4 | 6): AddressCondition {
  return { words, mask: version === 4 ? HOST4 : HOST6, negated: false };
}

/** `! -i NAME`. */
function interfaceCondition(name: string): InterfaceCondition {
  const wildcard = name.endsWith('+');
  return { name: wildcard ? name.slice(0, -1) : name, wildcard, negated: true };
}
