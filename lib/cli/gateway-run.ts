/**
 * A gateway that runs as a configuration file says: started, reconfigured when the file has changed, asked, ended. Cold.
 */

import { formatConnection } from '../conntrack/dump.js';
import type { DnsOptions } from '../network/dns-forwarder.js';
import type { Gateway } from '../network/gateway.js';
import { askDnsServers } from '../node/dns-servers.js';
import type { LogRecord } from '../rules/environment.js';
import { formatPacket } from '../scenario/notation.js';
import { type LoadedConfig, loadGatewayConfig } from './gateway-config.js';
import { GatewayLinks } from './gateway-links.js';
import type { GatewayLog } from './gateway-log.js';
import { type Baseline, reconfigure } from './gateway-reload.js';
import { makeGateway, rehearse } from './gateway-setup.js';

/** Flows that a report lists. */
const MOST_FLOWS = 1000;

export class GatewayRun {
  readonly gateway: Gateway;
  readonly #file: string;
  readonly #log: GatewayLog;
  readonly #links: GatewayLinks;
  readonly #baseline: Baseline;
  readonly #resolver: Resolver;
  #loaded: LoadedConfig;
  #closed: Promise<void> | undefined;

  private constructor(
    file: string,
    log: GatewayLog,
    parts: { loaded: LoadedConfig; links: GatewayLinks; gateway: Gateway; resolver: Resolver },
  ) {
    this.#file = file;
    this.#log = log;
    this.#loaded = parts.loaded;
    this.#links = parts.links;
    this.gateway = parts.gateway;
    this.#resolver = parts.resolver;
    this.#baseline = baselineOf(parts.loaded);
    listen(this.gateway, log);
  }

  /** Starts one. Throws a ConfigurationError, and nothing is left open then. */
  static async start(file: string, log: GatewayLog): Promise<GatewayRun> {
    const loaded = loadGatewayConfig(file);
    rehearse(loaded);
    const links = new GatewayLinks(loaded, log);
    let gateway: Gateway | undefined;
    try {
      await links.openUplinks();
      const resolver = new Resolver(loaded);
      gateway = makeGateway(loaded, { leases: links.leases, answer: resolver.answer });
      await links.attach(gateway);
      const run = new GatewayRun(file, log, { loaded, links, gateway, resolver });
      log.event('started', `started: ${summaryOf(loaded)}`, { config: file });
      return run;
    } catch (error) {
      gateway?.close();
      await links.close();
      throw error;
    }
  }

  /** Does what the file says now. Throws a ConfigurationError, and nothing has changed then. */
  reload(): void {
    const next = loadGatewayConfig(this.#file);
    const resolver = new Resolver(next);
    reconfigure(this.gateway, this.#loaded, next, this.#links.leases, this.#baseline);
    this.#resolver.follow(resolver);
    this.#loaded = next;
    this.#log.event('reloaded', `reloaded: ${summaryOf(next)}`, { config: this.#file });
  }

  /** Tells counters and flows. */
  report(): void {
    const { gateway } = this;
    const interfaces = gateway.interfaces.map(({ name, state, counters, drops }) => ({
      name,
      state,
      ...counters,
      drops: drops.toObject(),
    }));
    const drops = gateway.drops.toObject();
    const flows = [...gateway.engine.connections.list()].map((flow) => formatConnection(flow));
    const shown = flows.slice(0, MOST_FLOWS);
    const text = [
      `report: ${flows.length} flows`,
      ...interfaces.map(
        ({ name, state, receivedPackets, receivedBytes, transmittedPackets, transmittedBytes, drops }) =>
          `  ${name} ${state}: in ${receivedPackets} packets, ${receivedBytes} bytes; ` +
          `out ${transmittedPackets} packets, ${transmittedBytes} bytes${listing(drops)}`,
      ),
      `  gateway${listing(drops) || ': nothing dropped'}`,
      ...shown.map((flow) => `  ${flow}`),
      ...(flows.length > shown.length ? [`  and ${flows.length - shown.length} more flows`] : []),
    ];
    this.#log.event('report', text.join('\n'), { interfaces, drops, flowCount: flows.length, flows: shown });
  }

  /** Ends it: links are let go, files are written. Twice does nothing. */
  close(reason: string): Promise<void> {
    this.#closed ??= this.#close(reason);
    return this.#closed;
  }

  async #close(reason: string): Promise<void> {
    this.gateway.close();
    await this.#links.close();
    this.#log.event('closed', `closed: ${reason}`, { reason });
  }
}

/** Tries a configuration without its links. Throws a ConfigurationError. Returns what it is about. */
export function checkGatewayConfig(file: string): string {
  const loaded = loadGatewayConfig(file);
  rehearse(loaded);
  return summaryOf(loaded);
}

/** Asks the servers of the configuration in force. */
class Resolver {
  #ask: (query: Uint8Array) => Promise<Uint8Array | undefined>;
  readonly answer: DnsOptions['answer'] = (query) => this.#ask(query);

  constructor({ config: { dns = {} } }: LoadedConfig) {
    const { servers, timeoutMs } = dns;
    this.#ask = askDnsServers({
      ...(servers === undefined ? {} : { servers }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  }

  follow(next: Resolver): void {
    this.#ask = next.#ask;
  }
}

/** What settings were before the configuration: as a gateway without it has them. */
function baselineOf(loaded: LoadedConfig): Baseline {
  const { sysctls = {} } = loaded.config;
  const baseline: Baseline = new Map();
  if (Object.keys(sysctls).length === 0) return baseline;
  const { config, ...rest } = loaded;
  const { sysctls: _, rules: __, routes: ___, forwards: ____, policy: _____, dns: ______, ...bare } = config;
  const scratch = makeGateway(
    { ...rest, config: bare, rules: {}, sets: undefined },
    { leases: new Map(), answer: () => undefined },
    { maxConnections: 64 },
  );
  for (const name of Object.keys(sysctls)) {
    const value = scratch.getSysctl(name);
    if (value !== undefined) baseline.set(name, value);
  }
  scratch.close();
  return baseline;
}

function listen({ events, engine }: Gateway, log: GatewayLog): void {
  events.on('neighbour', (report) => {
    const { kind, address, station = '', claimant } = report;
    if (kind === 'unreachable') return;
    const by = claimant === undefined ? '' : ` by ${claimant}`;
    log.event('neighbour', `${report.interface}: ${address} of ${station} ${kind}${by}`, { ...report });
  });
  events.on('lease', (report) => {
    const { kind, mac, hostName, address = '' } = report;
    if (kind === 'renewed') return;
    const who = hostName === '' ? mac : `${mac} (${printable(hostName)})`;
    log.event('lease', `${report.interface}: ${address} ${kind}: ${who}`, { ...report });
  });
  events.on('denied', (denial) => {
    const { direction, protocol, source, destination, port, domain, rule, count } = denial;
    const to = `${destination}${port === undefined ? '' : ` port ${port}`}${domain === undefined ? '' : ` (${printable(domain)})`}`;
    const times = count > 1 ? `, ${count} times` : '';
    log.event(
      'denied',
      `${denial.interface}: ${protocol} ${source} > ${to} denied ${direction}: ${rule}${times}`,
      {
        ...denial,
      },
    );
  });
  const before = engine.observers.onLog;
  engine.observers.onLog = (record) => {
    before?.(record);
    if (record.kind === 'LOG') tellPacket(record, log);
  };
}

/** A packet that a LOG rule tells of. */
function tellPacket(record: LogRecord, log: GatewayLog): void {
  const { prefix, inInterface, outInterface, bytes, level, family } = record;
  const { table, chain, number } = record.place;
  const packet = formatPacket(bytes);
  log.event('log', `${prefix}IN=${inInterface} OUT=${outInterface} ${packet}`, {
    ...{ prefix, level, family, table, chain, rule: number },
    ...{ in: inInterface, out: outInterface, packet },
  });
}

/** A guest's word without what a terminal would obey. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 64);
}

function listing(drops: Record<string, number>): string {
  const reasons = Object.entries(drops).map(([reason, count]) => `${count} ${reason}`);
  return reasons.length === 0 ? '' : `; dropped ${reasons.join(', ')}`;
}

function summaryOf({ config, rules }: LoadedConfig): string {
  const parts = [
    config.interfaces.map(({ name }) => name).join(', '),
    ...[4, 6].flatMap((family) => (rules[family as 4 | 6] === undefined ? [] : [`IPv${family} rules`])),
    ...(config.policy === undefined ? [] : ['policy']),
    ...(config.forwards === undefined ? [] : [`${config.forwards.length} forwards`]),
    ...(config.dns === undefined ? [] : ['DNS']),
  ];
  return parts.join('; ');
}
