/**
 * What a gateway's interface will be, before there is one: its Ethernet address, and the addresses that it has besides
 * those it was given. Cold.
 */
import { ConfigurationError } from '../errors.js';
import type { SeededRandom } from '../random.js';
import { formatAddress } from '../wire/address.js';
import type { GatewayInterfaceOptions } from './gateway-options.js';
import { parseInterfaceAddress } from './interfaces.js';
import { linkLocalOf, type Mac, parseMac, randomMac } from './mac.js';

/** Largest IP packet of interfaces that say nothing, bytes. */
export const DEFAULT_MTU = 1500;

export interface InterfacePlan {
  readonly options: GatewayInterfaceOptions;
  readonly addresses: readonly string[];
  /** undefined for raw IP. */
  readonly mac: Mac | undefined;
}

/** Ethernet interfaces have an address of their own, and with IPv6 a link-local one. Throws a ConfigurationError. */
export function planInterface(options: GatewayInterfaceOptions, macs: SeededRandom): InterfacePlan {
  const { addresses, link = 'ip' } = options;
  const parsed = addresses.map(parseInterfaceAddress);
  const has6 = parsed.some(({ version }) => version === 6);
  const hasLinkLocal = parsed.some(({ version, words }) => version === 6 && words[0] >>> 22 === 0x3fa);
  const withLinkLocal = (mac: Mac) => [...addresses, `${formatAddress(linkLocalOf(mac), 6)}/64`];
  if (link === 'ip') {
    const word = options.mac !== undefined ? 'mac' : options.stations !== undefined ? 'stations' : undefined;
    if (word !== undefined) {
      throw new ConfigurationError('conflict', `${options.name} carries IP packets`, {
        word,
        expected: "link: 'ethernet'",
      });
    }
    const needsLinkLocal = options.advertise !== undefined && !hasLinkLocal;
    return {
      options,
      addresses: needsLinkLocal ? withLinkLocal(randomMac(macs)) : addresses,
      mac: undefined,
    };
  }
  const mac = options.mac === undefined ? randomMac(macs) : parseMac(options.mac);
  const needsLinkLocal = (has6 || options.advertise !== undefined) && !hasLinkLocal;
  return { options, addresses: needsLinkLocal ? withLinkLocal(mac) : addresses, mac };
}
