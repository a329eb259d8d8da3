/**
 * Options of a gateway, as users write them.
 */
import type { Clock } from '../clock.js';
import type { TimeWaitOptions } from '../conntrack/time-wait.js';
import type { EngineOptions } from '../engine.js';
import type { AdvertiseOptions } from './advertisements.js';
import type { DhcpOptions, FixedStation } from './dhcp.js';
import type { DnsOptions } from './dns-forwarder.js';
import type { AccessOptions } from './gateway-access.js';
import type { LivenessOptions } from './liveness/options.js';
import type { NeighbourOptions } from './neighbours.js';

/** One interface of a gateway. */
export interface GatewayInterfaceOptions {
  /** Name by which rules and routes know it. */
  readonly name: string;
  /** What goes over it: IP packets (a TUN device), or Ethernet frames (an emulated network card). Default `ip`. */
  readonly link?: 'ip' | 'ethernet';
  /** The gateway's own addresses on it: `10.0.0.1/24`, `fd00::1/64`. */
  readonly addresses: readonly string[];
  /** Largest IP packet, bytes. Default 1500. */
  readonly mtu?: number;
  /** Whether IPv4 packets from and to 127.0.0.0/8 may come in and leave by it, as DNAT to 127.0.0.1 needs. Default no. */
  readonly routeLocalnet?: boolean;
  /** Ethernet: the gateway's own address. Default: a random, locally administered one. */
  readonly mac?: string;
  /** Ethernet: limits and times of the neighbour table. */
  readonly neighbours?: NeighbourOptions;
  /** Ethernet: stations with fixed addresses; nobody else gets them, and DHCP gives them these (and the name). */
  readonly stations?: readonly FixedStation[];
  /** Ethernet: gives addresses to guests; `{}` serves the whole subnet. */
  readonly dhcp?: DhcpOptions;
  /** Advertises the gateway as IPv6 router, and prefixes for addresses; `{}` does what most guests need. */
  readonly advertise?: AdvertiseOptions;
}

/** Options that a gateway may be given anew while it runs: `gateway.change`. */
export interface ChangeableOptions extends LivenessOptions {
  /** When a connection in TIME_WAIT gives its tuple to a new one. Left out: as in Linux. */
  readonly timeWaitReuse?: TimeWaitOptions;
  /** Prefixes that are loopback's alone, besides 127.0.0.0/8 and ::1/128: `fd00:1009:bacc::/48`. */
  readonly loopbackPrefixes?: readonly string[];
}

/** Options of `createGateway`; the engine's own may be among them. */
export interface GatewayOptions extends Omit<EngineOptions, 'host'>, AccessOptions, ChangeableOptions {
  readonly interfaces: readonly GatewayInterfaceOptions[];
  /** As in `ip route add`: `default via 203.0.113.254`, `10.1.0.0/16 dev lan`; `-6` in front for IPv6. */
  readonly routes?: readonly string[];
  /** iptables-save text by family. */
  readonly rules?: { readonly 4?: string; readonly 6?: string };
  /** Settings by their names under /proc/sys. */
  readonly sysctls?: Readonly<Record<string, string | number>>;
  /** Mark of packets that are for the gateway itself, whoever they are for: `0x1/0x1`. What TPROXY takes needs none. */
  readonly localMark?: string;
  /** Whether packets of established flows may take the short way (`flow-cache/`). Default true; it changes speed only. */
  readonly flowCache?: boolean;
  /** Answers DNS queries at the gateway's addresses. */
  readonly dns?: DnsOptions;
  /** Default: the machine's monotonic clock. */
  readonly clock?: Clock;
}
