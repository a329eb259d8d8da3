/**
 * Ports that are kept for whoever uses the gateway's addresses besides it: neither endpoints, forwards nor NAT get them.
 */
import { refuseOther } from '../known.js';
import { PortProtocol, type PortRegistry, type Reservation } from './registry.js';
import { readBoundAddress } from './socket-address.js';

/** Ports that are kept until `release`. */
export interface KeptPort {
  /** Gives it back. Twice does nothing. */
  release(): void;
}

/**
 * Keeps a port of an address, of all addresses of a family (`0.0.0.0`, `::`), or of all (undefined). What comes
 * to it and belongs to no connection is dropped (UDP) or reset (TCP). Throws a ConfigurationError if somebody has it.
 */
export function keepPort(
  ports: PortRegistry,
  protocol: 'tcp' | 'udp',
  address: string | undefined,
  port: number,
  owner = 'reserved',
): KeptPort {
  refuseOther('protocol of a port', protocol, ['tcp', 'udp']);
  const held: Reservation[] = ports.reserveAll(
    readBoundAddress(address).map(({ version, words }) => ({
      version,
      protocol: protocol === 'tcp' ? PortProtocol.TCP : PortProtocol.UDP,
      port,
      owner,
      ...(words === undefined ? {} : { address: words }),
    })),
  );
  return {
    release: () => {
      for (const one of held) one.release();
    },
  };
}
