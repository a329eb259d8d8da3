/**
 * Stations around a gateway, joined by nothing else: a TUN device per interface, moved into the station's namespace.
 * The gateway runs in this process, whose own namespace is a new one too, without a way out.
 */
import { createGateway, type Gateway } from '../../lib/network/gateway.js';
import type { GatewayOptions } from '../../lib/network/gateway-options.js';
import { attachTun, type TunAttachment, type TunOptions } from '../../lib/node/tun.js';
import { unshareNetwork } from '../kernel/libc.js';
import { Station } from './station.js';

export class Lab {
  readonly gateway: Gateway;
  readonly stations: Station[] = [];
  readonly #tuns: TunAttachment[] = [];

  private constructor(options: GatewayOptions) {
    this.gateway = createGateway(options);
  }

  /** Once per process. */
  static open(options: GatewayOptions): Lab {
    unshareNetwork();
    return new Lab(options);
  }

  async station(name: string): Promise<Station> {
    const station = await Station.make(name);
    this.stations.push(station);
    return station;
  }

  /** Puts a TUN device of the gateway's interface into a station, with these addresses. */
  async plug(
    name: string,
    station: Station,
    addresses: readonly string[],
    options: TunOptions = {},
  ): Promise<TunAttachment> {
    const tun = await attachTun(this.gateway.interface(name), { name: `${name}0`, ...options });
    this.#tuns.push(tun);
    station.adopt(tun.name, addresses);
    return tun;
  }

  async close(): Promise<void> {
    await Promise.all(this.stations.map((station) => station.close()));
    await Promise.all(this.#tuns.map((tun) => tun.close()));
    this.gateway.close();
  }
}

/** A kernel's cable between two stations; each end is named after the other station. */
export function cable(
  from: Station,
  fromAddresses: readonly string[],
  to: Station,
  toAddresses: readonly string[],
  mtu: number,
): void {
  from.ip(`link add ${to.name} mtu ${mtu} type veth peer name ${from.name} mtu ${mtu} netns ${to.pid}`);
  const ends = [
    [from, to.name, fromAddresses],
    [to, from.name, toAddresses],
  ] as const;
  for (const [station, device, addresses] of ends) {
    for (const address of addresses) station.addAddress(address, device);
    station.ip(`link set ${device} up`);
  }
}
