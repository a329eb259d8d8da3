/**
 * The router of a scenario, made of the running kernel: this process's thread goes into a new network namespace and
 * sets up TUN devices, addresses, routes, settings and rules there. One at a time per process; `close` it before the
 * next. Never touches the namespace the process started in, nor settings that are the whole machine's.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseAddress } from '../../lib/rules/text/address.js';
import type { SentPacket } from '../../lib/scenario/outputs.js';
import type { Trace, TraceSocket } from '../../lib/scenario/trace.js';
import { RuleCounters } from './counters.js';
import * as libc from './libc.js';
import { Conntrack } from './netlink.js';
import { run } from './programs.js';

const BASE_SYSCTLS: Readonly<Record<string, string>> = {
  'net.ipv4.ip_forward': '1',
  'net.ipv4.icmp_ratelimit': '0',
  'net.ipv4.icmp_ratemask': '0',
  'net.ipv4.icmp_msgs_per_sec': '1000000',
  'net.ipv4.icmp_msgs_burst': '1000000',
  'net.ipv4.ip_local_port_range': '32768 60999',
  'net.ipv6.conf.all.forwarding': '1',
  // Devices made while this is 0 do not join the all-routers group: no MLD reports through OUTPUT.
  'net.ipv6.conf.default.forwarding': '0',
  'net.ipv6.conf.lo.forwarding': '0',
  'net.ipv6.icmp.ratelimit': '0',
  'net.ipv6.auto_flowlabels': '0',
  'net.netfilter.nf_conntrack_acct': '1',
  'net.netfilter.nf_conntrack_checksum': '1',
  'net.netfilter.nf_conntrack_log_invalid': '0',
};
const INTERFACE_SYSCTLS: Readonly<Record<string, string>> = {
  'net.ipv4.conf.*.rp_filter': '0',
  'net.ipv4.conf.*.send_redirects': '0',
  'net.ipv4.conf.*.accept_redirects': '0',
  'net.ipv4.conf.*.log_martians': '0',
  'net.ipv6.conf.*.accept_ra': '0',
  'net.ipv6.conf.*.accept_dad': '0',
  'net.ipv6.conf.*.dad_transmits': '0',
  'net.ipv6.conf.*.addr_gen_mode': '1',
  'net.ipv6.conf.*.router_solicitations': '0',
  'net.ipv6.conf.*.accept_redirects': '0',
};
/** The machine's, not the namespace's: writable from the first namespace only. */
const MACHINE_SYSCTLS: ReadonlySet<string> = new Set(['net.netfilter.nf_conntrack_max']);

/** Rules that no packet meets, but that need connection tracking: it is on whatever the scenario's rules are. */
const TRACKING_GUARD = `*security
:TRACKING - [0:0]
-A TRACKING -m conntrack --ctstate NEW -j RETURN
COMMIT
`;
/** How long packets of devices that come up may take, ms. */
const LINK_UP_MS = 2;
/** How long the routes of addresses may take, ms. */
const MOST_WAIT_MS = 2000;
const IPPROTO_RAW = 255;
const IPV6_HDRINCL = 36;
const IPV6_V6ONLY = 26;
const SOL_IPV6 = 41;
const EINVAL = 22;

interface Rules {
  readonly counters: RuleCounters;
  /** As iptables-save prints them, counters zero. */
  readonly text: string;
}

export class KernelRouter {
  readonly conntrack: Conntrack;
  readonly #interfaces: readonly string[];
  readonly #tuns: number[] = [];
  readonly #sockets: number[] = [];
  readonly #raw4: number;
  readonly #raw6: number;
  readonly #rules4: Rules | undefined;
  readonly #rules6: Rules | undefined;
  readonly #buffer = new Uint8Array(1 << 16);

  /** Throws if the kernel refuses something; the rules' text is the usual reason. */
  constructor(trace: Trace) {
    libc.unshareNetwork();
    this.#interfaces = trace.interfaces.map(({ name }) => name);
    for (const [name, value] of Object.entries(BASE_SYSCTLS)) writeSysctl(name, value);
    for (const { dev } of trace.interfaces) this.#tuns.push(libc.openTun(dev));
    for (const [pattern, value] of Object.entries(INTERFACE_SYSCTLS)) {
      for (const where of ['all', 'default', ...trace.interfaces.map(({ dev }) => dev)]) {
        writeSysctl(pattern.replace('*', where), value);
      }
    }
    run('ip', ['-batch', '-'], linkCommands(trace));
    for (const [name, value] of Object.entries(trace.sysctls)) {
      if (!MACHINE_SYSCTLS.has(name)) writeSysctl(name, value);
    }
    if (trace.sets) run('ipset', ['restore'], trace.sets);
    this.#rules4 = restore(4, trace.rules4, trace.forceTracking);
    this.#rules6 = restore(6, trace.rules6, trace.forceTracking);
    for (const socket of trace.sockets) this.#sockets.push(openUdp(socket));
    this.#raw4 = libc.openSocket(libc.AF_INET, libc.SOCK_RAW, IPPROTO_RAW);
    this.#raw6 = libc.openSocket(libc.AF_INET6, libc.SOCK_RAW, IPPROTO_RAW);
    libc.setOption(this.#raw6, SOL_IPV6, IPV6_HDRINCL, 1);
    this.conntrack = new Conntrack();
    waitForRoutes(trace);
    pause(LINK_UP_MS);
    this.forget();
  }

  /** Back to as it was when new, but for what the kernel keeps besides entries and counters. */
  forget(): void {
    this.takeSent();
    this.conntrack.flush();
    this.#rules4?.counters.reset();
    this.#rules6?.counters.reset();
  }

  /** A packet comes in on an interface, or from the router itself (`local`); returns 0 or the errno. */
  inject(from: string, packet: Uint8Array): number {
    if (from !== 'local') return libc.write(this.#tuns[this.#interfaces.indexOf(from)] as number, packet);
    const version = (packet[0] as number) >> 4;
    if (version === 4) return libc.sendTo(this.#raw4, packet, socketAddress(4, packet.subarray(16, 20), 0));
    return version === 6
      ? libc.sendTo(this.#raw6, packet, socketAddress(6, packet.subarray(24, 40), 0))
      : EINVAL;
  }

  /** What came out of the devices since the last call. */
  takeSent(): SentPacket[] {
    const sent: SentPacket[] = [];
    for (const [place, fd] of this.#tuns.entries()) {
      for (let size = 1; size > 0; ) {
        size = libc.readNow(fd, this.#buffer);
        if (size > 0) sent.push({ interface: place, bytes: this.#buffer.slice(0, size) });
      }
    }
    return sent;
  }

  /** Which rules counted packets since the last call. */
  hits(): Record<string, number> {
    return { ...this.#rules4?.counters.delta(), ...this.#rules6?.counters.delta() };
  }

  /** iptables-save text with the counters since `forget`, of the tables that the scenario's rules have. */
  finals(): Pick<Trace, 'final4' | 'final6'> {
    const [rules4, rules6] = [this.#rules4, this.#rules6];
    return {
      ...(rules4 === undefined ? {} : { final4: rules4.counters.fill(rules4.text) }),
      ...(rules6 === undefined ? {} : { final6: rules6.counters.fill(rules6.text) }),
    };
  }

  close(): void {
    this.conntrack.close();
    this.#rules4?.counters.close();
    this.#rules6?.counters.close();
    for (const fd of [...this.#tuns, ...this.#sockets, this.#raw4, this.#raw6]) libc.close(fd);
  }
}

/** Stops this thread. */
export function pause(durationMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs);
}

/**
 * IPv6 addresses have their local routes some time after they are set: a kernel thread adds them. Until then packets to
 * them are forwarded.
 */
function waitForRoutes({ interfaces }: Trace): void {
  const wanted = interfaces.flatMap(({ addr }) =>
    addr.flatMap((one) => (one.includes(':') ? [`${hexOf(one.split('/', 1)[0] as string)} 80 `] : [])),
  );
  for (let waitedMs = 0; waitedMs < MOST_WAIT_MS; waitedMs++) {
    const routes = readFileSync('/proc/thread-self/net/ipv6_route', 'utf8');
    if (wanted.every((start) => routes.includes(start))) return;
    pause(1);
  }
  throw new Error(`no local routes for ${wanted.join()}`);
}

/** An IPv6 address as /proc/net shows it. */
function hexOf(text: string): string {
  const words = parseAddress(text, 6);
  if (words === undefined) throw new Error(`not an address: ${text}`);
  return words.map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}

function writeSysctl(name: string, value: string): void {
  writeFileSync(`/proc/sys/${name.replaceAll('.', '/')}`, value);
}

function linkCommands({ interfaces, routes }: Trace): string {
  const lines = ['link set lo up'];
  for (const { dev, addr, mtu } of interfaces) {
    lines.push(`link set dev ${dev} mtu ${mtu} multicast off up`);
    for (const one of addr) lines.push(`addr add ${one} dev ${dev}${one.includes(':') ? ' nodad' : ''}`);
  }
  for (const route of routes) {
    const isIpv6 = route.startsWith('-6 ');
    const words = isIpv6 ? route.slice(3) : route;
    lines.push(`route add ${isIpv6 ? words.replace(/^default/, '::/0') : words}`);
  }
  return `${lines.join('\n')}\n`;
}

function restore(family: 4 | 6, text: string | undefined, isTrackingForced: boolean): Rules | undefined {
  const program = family === 4 ? 'iptables-legacy' : 'ip6tables-legacy';
  const input = (isTrackingForced ? TRACKING_GUARD : '') + (text ?? '');
  if (input !== '') run(`${program}-restore`, ['-w', '5', '-n'], input);
  if (!text) return undefined;
  const tables = text.split('\n').flatMap((line) => (line.startsWith('*') ? [line.slice(1).trim()] : []));
  const saved = run(`${program}-save`, ['-c'], '');
  return { counters: new RuleCounters(family, tables), text: onlyTables(saved, tables) };
}

/** iptables-save text without comments and tables not asked for. */
function onlyTables(text: string, tables: readonly string[]): string {
  let table = '';
  const lines = text.split('\n').filter((line) => {
    if (line.startsWith('*')) table = line.slice(1);
    return line !== '' && !line.startsWith('#') && tables.includes(table);
  });
  return `${lines.join('\n')}\n`;
}

function openUdp({ addr, port }: TraceSocket): number {
  const version = addr?.includes(':') ? 6 : 4;
  const fd = libc.openSocket(version === 4 ? libc.AF_INET : libc.AF_INET6, libc.SOCK_DGRAM, 0);
  if (version === 6) libc.setOption(fd, SOL_IPV6, IPV6_V6ONLY, 1);
  const words = parseAddress(addr ?? '0.0.0.0', version);
  if (words === undefined) throw new Error(`not an address: ${addr}`);
  const bytes = new Uint8Array(version === 4 ? 4 : 16);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < bytes.length; i += 4) view.setInt32(i, words[i / 4] as number);
  libc.bindSocket(fd, socketAddress(version, bytes, port));
  return fd;
}

/** A struct sockaddr_in or sockaddr_in6. */
function socketAddress(version: 4 | 6, address: Uint8Array, port: number): Uint8Array {
  const bytes = new Uint8Array(version === 4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, version === 4 ? libc.AF_INET : libc.AF_INET6, true);
  view.setUint16(2, port);
  bytes.set(address, version === 4 ? 4 : 8);
  return bytes;
}
