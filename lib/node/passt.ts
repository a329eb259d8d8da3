/**
 * passt as an uplink that needs no rights: it turns what we send into ordinary connections of its user's. We play its
 * guest: ask for an address (or have one), then plug the uplink into a port of the gateway, which answers ARP.
 *
 *   const uplink = await startPasst();
 *   const gateway = createGateway({
 *     interfaces: [{ name: 'wan', link: 'ethernet', mac: uplink.mac, addresses: [uplink.lease.address] }, ...],
 *     routes: [`default via ${uplink.lease.routers[0]} dev wan`],
 *     policy: { protect: [...PROTECTED, ...uplink.hostAddresses] },
 *   });
 *   uplink.attach(gateway.interface('wan'));
 *
 * To passt its router's address is the host itself: connections to it reach the host's loopback (unless it runs with
 * --no-map-gw). A policy that is to keep guests from the host protects `hostAddresses` too.
 */
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { ConfigurationError } from '../errors.js';
import { claimPort, LONGEST_FRAME_BYTES, needEthernet } from '../network/attachment.js';
import { formatMac, type Mac, parseMac, randomMac } from '../network/mac.js';
import type { LinkPort } from '../network/port.js';
import { unpredictableRandom } from '../random.js';
import { DhcpClient, type DhcpLease } from './dhcp-client.js';
import { fileError } from './files.js';
import { attachSocket, connectSocket, type FramedAttachment } from './qemu.js';

export interface PasstOptions {
  /** Our Ethernet address, a random one by default. The gateway's interface should have the same. */
  readonly mac?: string;
  /** `ask`, the default: the uplink is ready when it has a lease. `none`: addresses are the caller's to know. */
  readonly dhcp?: 'ask' | 'none';
  /** How long to wait for the lease; 5 s by default. */
  readonly leaseTimeoutMs?: number;
  /** Bytes that may wait for passt; 1 MiB by default. */
  readonly queueBytes?: number;
  /** passt has gone. It serves one connection; a new uplink is to be made. */
  readonly onGone?: () => void;
}

export interface ConnectPasstOptions extends PasstOptions {
  /** passt's socket: `passt -f -s PATH`. */
  readonly path: string;
}

export interface StartPasstOptions extends PasstOptions {
  /** Program to start, `passt` by default. */
  readonly program?: string;
  /** Further arguments: `-t 8080` forwards a port of the host to us, `--no-map-gw` hides the host. */
  readonly arguments?: readonly string[];
}

/** A connection to passt, not yet plugged in. */
export interface PasstUplink {
  readonly mac: string;
  /** undefined with `dhcp: 'none'`. */
  readonly lease: DhcpLease | undefined;
  /**
   * Addresses by which passt reaches the loopback of its host, as the lease and the arguments tell: its router's, unless
   * it runs with --no-map-gw, and those of --gateway and --map-host-loopback. Empty if nothing tells.
   */
  readonly hostAddresses: readonly string[];
  readonly link: FramedAttachment;
  /** Plugs it into an Ethernet port. What came before is gone, as on a cable. */
  attach(port: LinkPort): void;
  /** Ends the connection, and passt with it. */
  close(): Promise<void>;
}

/** An uplink that has asked for its address. */
export type LeasedUplink = PasstUplink & { readonly lease: DhcpLease };

export async function connectToPasst(
  options: ConnectPasstOptions & { readonly dhcp: 'none' },
): Promise<PasstUplink>;
export async function connectToPasst(options: ConnectPasstOptions): Promise<LeasedUplink>;
/** Connects to a passt that runs. Throws a ConfigurationError: no such socket, no lease. */
export async function connectToPasst(options: ConnectPasstOptions): Promise<PasstUplink> {
  return openUplink(await connectSocket(options.path), options, [], async () => {});
}

export async function startPasst(
  options: StartPasstOptions & { readonly dhcp: 'none' },
): Promise<PasstUplink>;
export async function startPasst(options?: StartPasstOptions): Promise<LeasedUplink>;
/**
 * Starts passt with one end of a socket pair as its guest: no path that others could connect to. Throws a
 * ConfigurationError with passt's own words if it ends before the lease is there.
 */
export async function startPasst(options: StartPasstOptions = {}): Promise<PasstUplink> {
  const program = options.program ?? 'passt';
  const words = ['--foreground', '--fd', '3', ...(options.arguments ?? [])];
  const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (text: string) => {
    said = (said + text).slice(-LAST_WORDS);
  });
  const ended = new Promise<Error>((resolve) => {
    child.once('error', (error) => resolve(fileError(error, program)));
    child.once('close', (status, signal) => {
      const words = said.trim().split('\n').at(-1) ?? '';
      const reason = `passt ended (${signal ?? status})${words === '' ? '' : `: ${words}`}`;
      resolve(new ConfigurationError('io', reason, { word: program }));
    });
  });
  // A pair of connected sockets; Node knows no narrower type for it.
  const socket = child.stdio[3] as Socket;
  socket.on('error', () => {});
  const end = async (): Promise<void> => {
    child.kill();
    await ended;
  };
  const uplink = openUplink(socket, options, options.arguments ?? [], end);
  const failure = ended.then((error) => Promise.reject(error));
  try {
    return await Promise.race([uplink, failure]);
  } catch (error) {
    // Its end of the pair closes before we hear that it has ended, and its own words say more than that.
    const reason = socket.closed
      ? await Promise.race([ended, pause(LAST_WORDS_MS, error, { ref: false })])
      : error;
    socket.destroy();
    uplink.catch(() => {});
    await end();
    throw reason;
  } finally {
    failure.catch(() => {});
  }
}

/** Characters of passt's complaints that are kept for the error. */
const LAST_WORDS = 4096;
/** How long they are waited for once its end of the pair is closed. */
const LAST_WORDS_MS = 1000;
const LEASE_TIMEOUT_MS = 5000;

async function openUplink(
  socket: Socket,
  options: PasstOptions,
  words: readonly string[],
  end: () => Promise<void>,
): Promise<PasstUplink> {
  const random = unpredictableRandom();
  const mac = options.mac === undefined ? randomMac(random) : parseMac(options.mac);
  const cable = new Cable();
  const link = attachSocket(cable, socket, {
    ...(options.queueBytes === undefined ? {} : { queueBytes: options.queueBytes }),
    onPeer: (state) => {
      if (state === 'disconnected') options.onGone?.();
    },
  });
  let release: (() => void) | undefined;
  const close = async (): Promise<void> => {
    release?.();
    cable.target = undefined;
    await link.close();
    await end();
  };
  let lease: DhcpLease | undefined;
  try {
    if (options.dhcp !== 'none') {
      lease = await askForLease(cable, socket, mac, random.u32(), options.leaseTimeoutMs ?? LEASE_TIMEOUT_MS);
    }
  } catch (error) {
    await link.close();
    throw error;
  }
  return {
    mac: formatMac(mac.high, mac.low),
    lease,
    hostAddresses: hostAddressesOf(words, lease),
    link,
    attach: (port) => {
      needEthernet(port, 'passt');
      release?.();
      release = claimPort(port, (frame, offload) => cable.onTransmit?.(frame, offload), close);
      cable.target = port;
    },
    close,
  };
}

/** What {@link PasstUplink.hostAddresses} says, of a passt with these arguments and its lease. */
export function hostAddressesOf(words: readonly string[], lease: DhcpLease | undefined): string[] {
  const given = (names: readonly string[]): string[] =>
    words.flatMap((word, i) => {
      const [name = '', value] = word.split('=', 2);
      if (!names.includes(name)) return [];
      return value ?? words[i + 1] ?? [];
    });
  const mapped = given(['--map-host-loopback']);
  const isUnmapped = words.includes('--no-map-gw') || mapped.includes('none');
  const routers = isUnmapped ? [] : [...(lease?.routers ?? []), ...given(['-g', '--gateway'])];
  return [...new Set([...routers, ...mapped.filter((address) => address !== 'none')])];
}

/** Stands between the connection and the port, which comes later. */
class Cable implements LinkPort {
  readonly link = 'ethernet';
  readonly mtu = LONGEST_FRAME_BYTES;
  onTransmit: LinkPort['onTransmit'];
  target: Pick<LinkPort, 'receive'> | undefined;

  receive(frame: Uint8Array): void {
    this.target?.receive(frame);
  }
}

async function askForLease(
  cable: Cable,
  socket: Socket,
  mac: Mac,
  transaction: number,
  timeoutMs: number,
): Promise<DhcpLease> {
  const client = new DhcpClient({ mac, transaction, send: (frame) => cable.onTransmit?.(frame) });
  const gone = (): void =>
    client.fail(new ConfigurationError('io', 'passt has gone before the lease was there'));
  const timer = setTimeout(() => {
    client.fail(new ConfigurationError('io', `no DHCP lease from passt within ${timeoutMs} ms`));
  }, timeoutMs);
  socket.once('close', gone);
  cable.target = client;
  client.start();
  try {
    return await client.lease;
  } finally {
    clearTimeout(timer);
    socket.off('close', gone);
    cable.target = undefined;
  }
}
