/**
 * What `conntide gateway` is configured with: schema/gateway.schema.json as types, and its files read. Cold.
 *
 * Everything that one file alone can be wrong in is found here, all of it at once, by line and column. What only shows
 * when a gateway is made of it is found by the rehearsal (gateway-setup.ts).
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ConfigurationError } from '../errors.js';
import type { ForwardInput } from '../network/forwards/forwards.js';
import { parseForward } from '../network/forwards/spec.js';
import type { ChangeableOptions, GatewayInterfaceOptions } from '../network/gateway-options.js';
import { parseInterfaceAddress } from '../network/interfaces.js';
import { parseMac } from '../network/mac.js';
import type { PolicyOptions } from '../network/policy/policy.js';
import { readServer } from '../node/dns-servers.js';
import { readText } from '../node/files.js';
import { parseAddress } from '../wire/address.js';
import { JsonDocument } from './json-document.js';
import { type JsonSchema, SchemaCheck } from './json-schema.js';

export interface TunAdapter {
  readonly type: 'tun';
  readonly device?: string;
  readonly offload?: 'none' | 'virtio';
}

export interface QemuAdapter {
  readonly type: 'qemu';
  readonly socket: string;
  readonly role?: 'listen' | 'connect';
  readonly reconnectMs?: number;
}

export interface PasstAdapter {
  readonly type: 'passt';
  readonly socket?: string;
  readonly program?: string;
  readonly arguments?: readonly string[];
}

export interface RelayAdapter {
  readonly type: 'relay';
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
  readonly origins?: 'any' | readonly string[];
  readonly maxGuests?: number;
  readonly guests?: 'together' | 'apart';
}

export type AdapterConfig = TunAdapter | QemuAdapter | PasstAdapter | RelayAdapter;

export interface InterfaceConfig extends Omit<GatewayInterfaceOptions, 'addresses'> {
  readonly addresses?: readonly string[];
  readonly adapter?: AdapterConfig | readonly AdapterConfig[];
  readonly capture?: string;
}

export interface DnsConfig {
  readonly servers?: readonly string[];
  readonly on?: readonly string[];
  readonly timeoutMs?: number;
  readonly maxInFlight?: number;
  readonly maxPerClient?: number;
  readonly maxConnections?: number;
  readonly maxConnectionsPerClient?: number;
  readonly idleMs?: number;
}

export interface GatewayConfig extends ChangeableOptions {
  readonly interfaces: readonly InterfaceConfig[];
  readonly routes?: readonly string[];
  readonly rules?: { readonly 4?: string; readonly 6?: string };
  readonly sets?: string;
  readonly sysctls?: Readonly<Record<string, string | number>>;
  readonly forwards?: readonly ForwardInput[];
  readonly policy?: PolicyOptions;
  readonly dns?: DnsConfig;
  readonly tracking?: 'auto' | 'always';
  readonly invalid?: 'pass' | 'drop';
  readonly maxConnections?: number;
}

/** A text file that the configuration names. */
export interface NamedText {
  readonly file: string;
  readonly text: string;
}

/** A configuration as it was read: nothing changes it when files do. */
export interface LoadedConfig {
  readonly config: GatewayConfig;
  readonly document: JsonDocument;
  readonly rules: { readonly 4?: NamedText; readonly 6?: NamedText };
  readonly sets: NamedText | undefined;
  /** A path that the configuration gives, from its own folder. */
  path(given: string): string;
}

/** All that is wrong with a configuration. The message has a line for each. */
export class GatewayConfigError extends ConfigurationError {
  readonly faults: readonly ConfigurationError[];

  constructor(faults: readonly ConfigurationError[]) {
    const [first] = faults;
    super(first?.code ?? 'value', faults.map(({ message }) => message).join('\n'));
    this.faults = faults;
  }
}

/** Reads and checks a file. Throws a {@link GatewayConfigError} with every fault. */
export function loadGatewayConfig(file: string): LoadedConfig {
  const document = new JsonDocument(readText(file), file);
  const faults = schemaCheck().faults(document);
  if (faults.length > 0) throw new GatewayConfigError(faults);
  const config = document.value() as GatewayConfig;
  const path = (given: string) => resolve(dirname(file), given);
  const read = (given: string | undefined, ...at: string[]): NamedText | undefined => {
    if (given === undefined) return undefined;
    try {
      return { file: given, text: readText(path(given)) };
    } catch (error) {
      faults.push(document.errorAt(document.find(at), 'io', reasonOf(error)));
      return undefined;
    }
  };
  const rules4 = read(config.rules?.[4], 'rules', '4');
  const rules6 = read(config.rules?.[6], 'rules', '6');
  const sets = read(config.sets, 'sets');
  faults.push(...conflicts(config, document));
  if (faults.length > 0) throw new GatewayConfigError(faults);
  return {
    config,
    document,
    rules: { ...(rules4 && { 4: rules4 }), ...(rules6 && { 6: rules6 }) },
    sets,
    path,
  };
}

/** The adapters of an interface, as a list. */
export function adaptersOf({ adapter }: InterfaceConfig): readonly AdapterConfig[] {
  if (adapter === undefined) return [];
  return 'type' in adapter ? [adapter] : adapter;
}

/** What an interface's link is, if nobody says: what its adapter carries. */
export function linkOf(one: InterfaceConfig): 'ip' | 'ethernet' {
  if (one.link !== undefined) return one.link;
  return adaptersOf(one).some(({ type }) => type !== 'tun') || adaptersOf(one).length > 1 ? 'ethernet' : 'ip';
}

/** The schema, as published. */
export function gatewaySchema(): JsonSchema {
  const file = new URL('../../schema/gateway.schema.json', import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as JsonSchema;
}

let check: SchemaCheck | undefined;

function schemaCheck(): SchemaCheck {
  check ??= new SchemaCheck(gatewaySchema(), FORMATS);
  return check;
}

/** What words of the schema's formats must be. */
const FORMATS = {
  'interface-address': parseInterfaceAddress,
  mac: parseMac,
  server: readServer,
  address: (word: string) => needAddress(word, [4, 6]),
  address4: (word: string) => needAddress(word, [4]),
  address6: (word: string) => needAddress(word, [6]),
};

function needAddress(word: string, families: readonly (4 | 6)[]): void {
  if (families.some((family) => parseAddress(word, family) !== undefined)) return;
  const expected = families.length === 2 ? 'an address' : `an IPv${families[0]} address`;
  throw new ConfigurationError('value', 'not an address', { word, expected });
}

/** What each value may be, but not together with another. */
function conflicts(config: GatewayConfig, document: JsonDocument): ConfigurationError[] {
  const faults: ConfigurationError[] = [];
  const fault = (path: (string | number)[], message: string, expected: string): void => {
    faults.push(document.errorAt(document.find(path), 'conflict', message, expected));
  };
  const names = new Map<string, number>();
  for (const [i, one] of config.interfaces.entries()) {
    const at = ['interfaces', i];
    const other = names.get(one.name);
    if (other !== undefined)
      fault([...at, 'name'], `interfaces[${other}] has this name`, 'a name of its own');
    names.set(one.name, i);
    const adapters = adaptersOf(one);
    const isPasst = adapters.length === 1 && adapters[0]?.type === 'passt';
    if (one.addresses === undefined && !isPasst) {
      fault(at, "'addresses' is missing", 'a list; only the lease of passt makes up for it');
    }
    if (linkOf(one) === 'ip' && adapters.some(({ type }) => type !== 'tun')) {
      fault([...at, 'link'], `${adapters[0]?.type} carries Ethernet frames`, 'ethernet');
    }
    for (const [j, adapter] of adapters.entries()) {
      const path = [...at, 'adapter', ...(Array.isArray(one.adapter) ? [j] : [])];
      if (adapter.type === 'passt' && adapters.length > 1) {
        fault(path, 'passt has its interface alone', 'an interface of its own');
      }
      if (adapter.type === 'passt' && adapter.socket !== undefined) {
        const idle =
          adapter.program !== undefined ? 'program' : adapter.arguments !== undefined ? 'arguments' : '';
        if (idle !== '') fault([...path, idle], "with 'socket' no passt is started", 'one of them, not both');
      }
      if (adapter.type === 'qemu' && adapter.reconnectMs !== undefined && adapter.role !== 'connect') {
        fault([...path, 'reconnectMs'], 'we listen', 'role: connect');
      }
    }
  }
  for (const [i, forward] of (config.forwards ?? []).entries()) {
    const isText = typeof forward === 'string';
    const spec = isText ? forward.slice(4) : forward.spec;
    const protocol = isText ? (forward.slice(0, 3) as 'tcp' | 'udp') : forward.protocol;
    try {
      parseForward(spec, { protocol });
    } catch (error) {
      faults.push(document.blame(error, ['forwards', i, ...(isText ? [] : ['spec'])]));
    }
  }
  return faults;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof ConfigurationError)) throw error;
  const { file } = error.place;
  return file === undefined ? error.message : error.message.slice(file.length + 2);
}
