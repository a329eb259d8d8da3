/**
 * Forwards in force: rules with everything looked up, and their place in a flow's memory. Cold.
 */
import { type AddressWords, formatAddress } from '../../wire/address.js';
import type { ForwardProtocol, ForwardRule, Ports } from './rule.js';

/** What somebody asked for. */
export interface ForwardRequest {
  readonly protocol: ForwardProtocol;
  /** In passt's grammar: `8080:10.0.0.2/80`. */
  readonly spec: string;
  /** Name of the interface that connections come in by, for specs that name none. Default: any. */
  readonly from?: string;
  /** Where specs without a target address lead; one per family. Default: the gateway's. */
  readonly to?: string | readonly string[];
  /**
   * `on`: hosts behind the target's own interface, the target itself and the router's own programs may use the forward
   * too; their address is hidden behind the router's. Default `off`: to them the port is closed.
   */
  readonly hairpin?: 'on' | 'off';
}

/** One rule of one family, ready to be compiled. */
export interface ActiveForward extends Ports {
  readonly request: ForwardRequest;
  readonly rule: ForwardRule;
  readonly version: 4 | 6;
  readonly protocol: ForwardProtocol;
  /** '' and 0: any. */
  readonly interface: string;
  readonly interfaceIndex: number;
  readonly address: AddressWords | undefined;
  readonly target: AddressWords;
  /** Interface behind which the target is. */
  readonly targetInterface: string;
  readonly targetInterfaceIndex: number;
  readonly targetFirst: number;
  readonly hairpin: 'on' | 'off';
  /** Ports of the range that are forwarded; others are taken, or closed at the target. */
  readonly usable: readonly Ports[];
}

/** Number of a protocol. */
export function protocolNumberOf(protocol: ForwardProtocol): 6 | 17 {
  return protocol === 'tcp' ? 6 : 17;
}

/** Text that two forwards share only if they do the same. */
export function identityOf(forward: ActiveForward): string {
  const { version, protocol, address, target, first, last, targetFirst, hairpin, usable } = forward;
  return [
    version,
    protocol,
    forward.interface,
    address === undefined ? '*' : formatAddress(address, version),
    `${first}-${last}`,
    formatAddress(target, version),
    targetFirst,
    hairpin,
    usable.map((range) => `${range.first}-${range.last}`).join(','),
  ].join(' ');
}

/** Port at the target of a port that is forwarded. */
export function targetPort(forward: ActiveForward, port: number): number {
  return forward.targetFirst + port - forward.first;
}
