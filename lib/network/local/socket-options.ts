/**
 * Open ports as the router's options name them. Cold.
 */
import { ConfigurationError } from '../../errors.js';
import { parseAddress } from '../../wire/address.js';
import { PortProtocol, type PortRequest } from './registry.js';

/** A local UDP or TCP port that is open. As on Linux, NAT may give it to connections all the same. */
export interface SocketOptions {
  /** `udp` or `tcp`. */
  readonly protocol: string;
  /** Default: any address of both families. */
  readonly address?: string;
  readonly port: number;
  /** Whether TPROXY may give it packets that are for others. Default no. */
  readonly transparent?: boolean;
}

/** What an open port reserves: one request for each family. Throws a ConfigurationError. */
export function readSocket({ protocol, address, port, transparent }: SocketOptions): PortRequest[] {
  if ((protocol !== 'udp' && protocol !== 'tcp') || !(port > 0 && port <= 65535)) {
    throw new ConfigurationError('value', 'not a socket', {
      word: `${protocol} ${port}`,
      expected: 'udp or tcp and a port',
    });
  }
  const common = {
    protocol: protocol === 'tcp' ? PortProtocol.TCP : PortProtocol.UDP,
    port,
    owner: 'socket',
    nat: 'shared' as const,
    ...(transparent === undefined ? {} : { transparent }),
  };
  if (address === undefined) return [4, 6].map((version) => ({ ...common, version: version as 4 | 6 }));
  const version = address.includes(':') ? 6 : 4;
  const words = parseAddress(address, version);
  if (words === undefined) throw new ConfigurationError('value', 'not an address', { word: address });
  const isAny = words.every((word) => word === 0);
  return [{ ...common, version, ...(isAny ? {} : { address: words }) }];
}
