/**
 * Scenario and trace files: their types, and reading with every field checked. Cold.
 *
 * A scenario has the inputs; a trace has also what a router did with them. The fields marked "recorded" are the
 * latter: a file may leave them out, and running a file never reads them. The format is described in
 * docs/scenario-format.md; names and order of fields are those of the files.
 */
import { ConfigurationError } from '../errors.js';

export interface Trace {
  readonly name: string;
  readonly description: string;
  readonly interfaces: readonly TraceInterface[];
  /** Arguments of `ip route add`, with `-6 ` before those of IPv6. */
  readonly routes: readonly string[];
  readonly sysctls: Readonly<Record<string, string>>;
  /** Whether connections are tracked whatever the rules say. */
  readonly forceTracking: boolean;
  readonly sockets: readonly TraceSocket[];
  /** Ports that the rules fix: never random picks. */
  readonly fixedPorts: readonly number[];
  /** Whether destination ports may be random picks. */
  readonly randomDestinations: boolean;
  /** Sets that the rules name, as `ipset restore` reads them. */
  readonly sets?: string;
  readonly rules4?: string;
  readonly rules6?: string;
  readonly slotMs: number;
  readonly dumpMs: number;
  readonly steps: readonly TraceStep[];
  /** Recorded: what chance decided, in order; an input when the file is run again. */
  readonly random: readonly RandomPick[];
  /** Recorded. */
  readonly final4?: string;
  /** Recorded. */
  readonly final6?: string;
  /** The file's object as it was read, for fields that only pass through. */
  readonly source: Readonly<Record<string, unknown>>;
}

export interface TraceInterface {
  /** What `in` and `if` call it. */
  readonly name: string;
  /** What rules and routes call it. */
  readonly dev: string;
  readonly addr: readonly string[];
  readonly mtu: number;
}

export interface TraceSocket {
  readonly proto: 'udp';
  readonly addr?: string;
  readonly port: number;
}

export interface RandomPick {
  readonly step: number;
  readonly entry: string;
  readonly what: 'sport' | 'dport' | 'icmp_id';
  readonly value: number;
}

export interface TraceStep {
  /** Milliseconds after the first step. */
  readonly t: number;
  /** Interface name, or `local` for a packet that the router sends itself; absent: only time goes by. */
  readonly in?: string;
  /** Hexadecimal. */
  readonly packet?: string;
  readonly note?: string;
  readonly patch?: readonly Patch[];
  readonly advance_ms?: number;
  /** Recorded; absent in a scenario, and then nothing of this step is compared. */
  readonly out?: readonly TracePacket[];
  /** Recorded: errno of the injection. */
  readonly write_error?: number;
  /** Recorded: packets that came out after the table was read. */
  readonly late?: readonly TracePacket[];
  /** Recorded: `4:table/CHAIN/number` to count. */
  readonly hits?: Readonly<Record<string, number>>;
  /** Recorded: entries new or changed in anything but age. */
  readonly ct?: readonly TraceEntry[];
  /** Recorded: ids that are no longer in the table. */
  readonly gone?: readonly string[];
}

/** A field of this step's packet that is set from an earlier output. */
export interface Patch {
  readonly set: string;
  readonly step: number;
  readonly out?: number;
  readonly get: string;
  readonly len?: number;
}

export interface TracePacket {
  readonly if: string;
  /** Made by the router itself, not forwarded. */
  readonly gen?: true;
  /** `norm`: a random IPv4 id was replaced by 0. */
  readonly ipid?: 'norm';
  /** `norm`: a random IPv6 fragment id was replaced by 0. */
  readonly fragid?: 'norm';
  readonly packet: string;
}

export interface TraceTuple {
  readonly src: string;
  readonly dst: string;
  readonly sport?: number;
  readonly dport?: number;
  readonly type?: number;
  readonly code?: number;
  readonly id?: number;
}

export interface TraceEntry {
  readonly id: string;
  readonly l3: 'ipv4' | 'ipv6';
  readonly l4: string;
  /** Seconds left, rounded up; null for an entry without a timeout. */
  readonly timeout: number | null;
  readonly state?: string;
  /** Window scale and flags: original, reply; original, reply. */
  readonly tcp?: readonly number[];
  readonly orig: TraceTuple;
  readonly reply: TraceTuple;
  readonly flags: readonly string[];
  readonly status: number;
  readonly mark: number;
  readonly zone?: number;
  /** Packets and bytes of the original direction, packets and bytes of the reply direction. */
  readonly acct?: readonly number[];
  /** Step in which it was created. */
  readonly born?: number | null;
}

export const DEFAULT_INTERFACES: readonly TraceInterface[] = [
  { name: 'lan', dev: 'tun0', addr: ['10.0.0.1/24', 'fd00:a::1/64'], mtu: 1500 },
  { name: 'wan', dev: 'tun1', addr: ['203.0.113.1/24', '2001:db8:1::1/64'], mtu: 1500 },
];
export const DEFAULT_ROUTES: readonly string[] = ['default dev tun1', '-6 default dev tun1'];
export const DEFAULT_SLOT_MS = 12;
export const DEFAULT_DUMP_MS = 6;
/** Longest time that a file may speak of: ten days. */
const MOST_MS = 864_000_000;

/**
 * Reads a file's text. Throws a ConfigurationError naming `file` and the field that is missing or of the wrong
 * form.
 */
export function readTrace(text: string, file: string): Trace {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConfigurationError('syntax', `not JSON: ${(error as Error).message}`, { file });
  }
  const root = new Field(value, '', file).record();
  const slotMs = root.get('slot_ms')?.duration() ?? DEFAULT_SLOT_MS;
  const interfaces = root.get('interfaces')?.list().map(readInterface) ?? DEFAULT_INTERFACES;
  const trace: Trace = {
    name: root.need('name').text(),
    description: root.get('description')?.text() ?? '',
    interfaces: interfaces.length === 0 ? DEFAULT_INTERFACES : interfaces,
    routes: root.get('routes')?.texts() ?? DEFAULT_ROUTES,
    sysctls: readSysctls(root.get('sysctls')),
    forceTracking: root.get('force_ct')?.truth() ?? true,
    sockets: root.get('sockets')?.list().map(readSocket) ?? [],
    fixedPorts: root.get('fixed_ports')?.integers() ?? [],
    randomDestinations: root.get('random_dst')?.truth() ?? false,
    ...optional('sets', root.get('sets')?.text()),
    ...optional('rules4', root.get('rules4')?.text()),
    ...optional('rules6', root.get('rules6')?.text()),
    slotMs,
    dumpMs: root.get('dump_ms')?.duration() ?? DEFAULT_DUMP_MS,
    steps: readSteps(root.need('steps'), slotMs),
    random: root.get('random')?.list().map(readPick) ?? [],
    ...optional('final4', root.get('final4')?.text()),
    ...optional('final6', root.get('final6')?.text()),
    source: value as Record<string, unknown>,
  };
  if (/[/\\]|^\.*$/.test(trace.name)) throw root.need('name').refuse('a name usable as a file name');
  checkSteps(trace, file);
  return trace;
}

/** Refuses steps that come in by no interface, or before the table of the step before was read. */
function checkSteps(trace: Trace, file: string): void {
  const names = new Set(trace.interfaces.map((one) => one.name)).add('local');
  let earliest = 0;
  for (const [k, step] of trace.steps.entries()) {
    if (!(step.t >= earliest)) {
      throw new ConfigurationError('value', `steps[${k}].t: too early`, {
        file,
        word: String(step.t),
        expected: `${earliest} or later: the table is read ${trace.dumpMs} ms after each step`,
      });
    }
    earliest = step.t + trace.dumpMs;
    if (step.in !== undefined && !names.has(step.in)) {
      throw new ConfigurationError('unknown', `steps[${k}].in: no such interface`, { file, word: step.in });
    }
  }
}

function readSysctls(field: Field | undefined): Record<string, string> {
  const sysctls: Record<string, string> = {};
  if (field === undefined) return sysctls;
  for (const [name, value] of field.record().entries()) {
    sysctls[name] = typeof value.value === 'number' ? String(value.value) : value.text();
  }
  return sysctls;
}

function readInterface(field: Field): TraceInterface {
  const record = field.record();
  const name = record.need('name').text();
  return {
    name,
    dev: record.get('dev')?.text() ?? name,
    addr: record.get('addr')?.texts() ?? [],
    mtu: record.get('mtu')?.integer() ?? 1500,
  };
}

function readSocket(field: Field): TraceSocket {
  const record = field.record();
  const proto = record.need('proto');
  if (proto.value !== 'udp') throw proto.refuse('udp');
  return {
    proto: 'udp',
    ...optional('addr', record.get('addr')?.text()),
    port: record.need('port').integer(),
  };
}

function readPick(field: Field): RandomPick {
  const record = field.record();
  const what = record.need('what');
  if (what.value !== 'sport' && what.value !== 'dport' && what.value !== 'icmp_id') {
    throw what.refuse('sport, dport or icmp_id');
  }
  return {
    step: record.need('step').integer(),
    entry: record.get('entry')?.text() ?? '',
    what: what.value,
    value: record.need('value').integer(),
  };
}

function readSteps(field: Field, slotMs: number): TraceStep[] {
  let t = -slotMs;
  return field.list().map((one) => {
    const record = one.record();
    const advance = record.get('advance_ms')?.duration();
    const at = record.get('t');
    t = at === undefined ? t + slotMs + (advance ?? 0) : at.duration();
    return {
      t,
      ...optional('write_error', record.get('write_error')?.integer()),
      ...optional('in', record.get('in')?.text()),
      ...optional('packet', record.get('packet')?.hex()),
      ...optional('note', record.get('note')?.text()),
      ...optional('patch', record.get('patch')?.list().map(readPatch)),
      ...optional('advance_ms', advance),
      ...optional('out', record.get('out')?.list().map(readPacket)),
      ...optional('late', record.get('late')?.list().map(readPacket)),
      ...optional('hits', record.get('hits')?.counts()),
      ...optional('ct', record.get('ct')?.list().map(readEntry)),
      ...optional('gone', record.get('gone')?.texts()),
    };
  });
}

function readPatch(field: Field): Patch {
  const record = field.record();
  return {
    set: record.need('set').text(),
    step: record.need('step').integer(),
    ...optional('out', record.get('out')?.integer()),
    get: record.get('get')?.text() ?? 'packet',
    ...optional('len', record.get('len')?.integer()),
  };
}

function readPacket(field: Field): TracePacket {
  const record = field.record();
  return {
    if: record.need('if').text(),
    ...(record.get('fragid') === undefined ? {} : { fragid: 'norm' }),
    ...(record.get('gen') === undefined ? {} : { gen: true }),
    ...(record.get('ipid') === undefined ? {} : { ipid: 'norm' }),
    packet: record.need('packet').hex(),
  };
}

function readEntry(field: Field): TraceEntry {
  const record = field.record();
  const l3 = record.need('l3');
  if (l3.value !== 'ipv4' && l3.value !== 'ipv6') throw l3.refuse('ipv4 or ipv6');
  const timeout = record.need('timeout');
  return {
    id: record.need('id').text(),
    l3: l3.value,
    l4: record.need('l4').text(),
    timeout: timeout.value === null ? null : timeout.integer(),
    ...optional('state', record.get('state')?.text()),
    ...optional('tcp', record.get('tcp')?.integers()),
    orig: readTuple(record.need('orig')),
    reply: readTuple(record.need('reply')),
    flags: record.need('flags').texts(),
    status: record.need('status').integer(),
    mark: record.need('mark').integer(),
    ...optional('zone', record.get('zone')?.integer()),
    ...optional('acct', record.get('acct')?.integers()),
    ...optional('born', record.get('born')?.integer()),
  };
}

function readTuple(field: Field): TraceTuple {
  const record = field.record();
  const tuple: Record<string, string | number> = {
    src: record.need('src').text(),
    dst: record.need('dst').text(),
  };
  for (const name of ['sport', 'dport', 'type', 'code', 'id']) {
    const found = record.get(name);
    if (found !== undefined) tuple[name] = found.integer();
  }
  return tuple as unknown as TraceTuple;
}

/** `{ [name]: value }`, or nothing at all without a value. */
function optional<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { [P in K]: V });
}

/** A value in the file with the way to it, for errors. */
class Field {
  readonly value: unknown;
  readonly #path: string;
  readonly #file: string;

  constructor(value: unknown, path: string, file: string) {
    this.value = value;
    this.#path = path;
    this.#file = file;
  }

  refuse(expected: string): ConfigurationError {
    const word = JSON.stringify(this.value) ?? 'nothing';
    return new ConfigurationError('value', `${this.#path || 'the file'}: not as it should be`, {
      file: this.#file,
      word: word.length > 60 ? `${word.slice(0, 57)}...` : word,
      expected,
    });
  }

  record(): this {
    if (typeof this.value !== 'object' || this.value === null || Array.isArray(this.value)) {
      throw this.refuse('an object');
    }
    return this;
  }

  entries(): [string, Field][] {
    return Object.entries(this.value as object).map(([name, value]) => [name, this.#at(name, value)]);
  }

  /** A member of a record; undefined when it is absent or null. */
  get(name: string): Field | undefined {
    const record = this.value as Record<string, unknown>;
    const value = Object.hasOwn(record, name) ? record[name] : undefined;
    return value === undefined || value === null ? undefined : this.#at(name, value);
  }

  /** A member that must be there; may be null. */
  need(name: string): Field {
    const record = this.value as Record<string, unknown>;
    if (!Object.hasOwn(record, name)) {
      const message = `${this.#path === '' ? '' : `${this.#path}: `}'${name}' is missing`;
      throw new ConfigurationError('syntax', message, { file: this.#file });
    }
    return this.#at(name, record[name]);
  }

  list(): Field[] {
    if (!Array.isArray(this.value)) throw this.refuse('a list');
    return this.value.map((one, i) => new Field(one, `${this.#path}[${i}]`, this.#file));
  }

  text(): string {
    if (typeof this.value !== 'string') throw this.refuse('a text');
    return this.value;
  }

  texts(): string[] {
    return this.list().map((one) => one.text());
  }

  number(): number {
    if (typeof this.value !== 'number' || !Number.isFinite(this.value)) throw this.refuse('a number');
    return this.value;
  }

  /** Milliseconds. */
  duration(): number {
    const value = this.number();
    if (value < 0 || value > MOST_MS) throw this.refuse(`0 to ${MOST_MS} ms`);
    return value;
  }

  integer(): number {
    if (!Number.isInteger(this.value)) throw this.refuse('a whole number');
    return this.value as number;
  }

  integers(): number[] {
    return this.list().map((one) => one.integer());
  }

  truth(): boolean {
    if (typeof this.value !== 'boolean') throw this.refuse('true or false');
    return this.value;
  }

  hex(): string {
    const text = this.text();
    if (!/^([0-9a-f]{2})*$/.test(text)) throw this.refuse('bytes in lower-case hexadecimal');
    return text;
  }

  counts(): Record<string, number> {
    return Object.fromEntries(
      this.record()
        .entries()
        .map(([name, value]) => [name, value.integer()]),
    );
  }

  #at(name: string, value: unknown): Field {
    return new Field(value, this.#path === '' ? name : `${this.#path}.${name}`, this.#file);
  }
}
