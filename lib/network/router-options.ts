/** What a router is made from. Cold. */
import type { EngineOptions } from '../engine.js';
import type { InterfaceOptions } from './interfaces.js';
import type { SocketOptions } from './local/socket-options.js';

/** Options of a `Router`: the engine's, and the network around it. */
export interface RouterOptions extends Omit<EngineOptions, 'host'> {
  readonly interfaces: readonly InterfaceOptions[];
  /** As in `ip route add`, with `-6` in front for IPv6. */
  readonly routes?: readonly string[];
  readonly sockets?: readonly SocketOptions[];
  /** Mark of packets that are for the router itself, whoever they are for: `0x1/0x1`. See docs/endpoints.md. */
  readonly localMark?: string;
  /** Loopback prefixes besides 127.0.0.0/8 and ::1/128: `fd00:1009:bacc::/48`. */
  readonly loopbackPrefixes?: readonly string[];
  /** Whether packets of established flows may take the short way (`flow-cache/`). Default true; it changes speed only. */
  readonly flowCache?: boolean;
}
