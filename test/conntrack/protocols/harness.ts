/**
 * Drives the tracker alone, without rules, NAT or a router, over the packets of a recorded trace and tells the
 * first step at which the table is not what Linux's was. What a router would decide (does the packet reach the end
 * of its way, does it answer itself) is taken from the trace: a packet that left or was delivered is confirmed.
 */
import { readFileSync } from 'node:fs';
import { Direction, type EntryId, Status } from '../../../lib/conntrack/entries.js';
import { protocolName, stateName } from '../../../lib/conntrack/protocols/names.js';
import type { ConntrackTable } from '../../../lib/conntrack/table.js';
import { Tracker } from '../../../lib/conntrack/tracker.js';
import { KEY_KIND, KEY_PORTS, KEY_WORDS } from '../../../lib/conntrack/tuples.js';
import { CtInfo, Packet } from '../../../lib/wire/packet.js';
import { Hook } from '../../../lib/wire/verdict.js';

interface Tuple {
  src: string;
  dst: string;
  sport?: number;
  dport?: number;
  type?: number;
  code?: number;
  id?: number;
}

interface TraceEntry {
  id: string;
  l3: string;
  l4: string;
  state?: string;
  timeout: number;
  tcp?: number[];
  orig: Tuple;
  reply: Tuple;
  flags: string[];
  status: number;
  acct: number[];
  born: number;
}

interface Step {
  t: number;
  in?: string;
  packet?: string;
  advance_ms?: number;
  late?: unknown;
  out: { if: string; packet: string; gen?: unknown }[];
  hits?: Record<string, number>;
  ct?: TraceEntry[];
  gone?: string[];
}

export interface Trace {
  name: string;
  sysctls?: Record<string, string | number>;
  rules4?: string;
  rules6?: string;
  dump_ms: number;
  interfaces: { addr: string[] }[];
  steps: Step[];
}

export function readTrace(path: string): Trace {
  return JSON.parse(readFileSync(path, 'utf8')) as Trace;
}

const CTINFO_RULES = [
  '-m conntrack --ctstate INVALID',
  '-m conntrack --ctstate NEW',
  '-m conntrack --ctstate ESTABLISHED',
  '-m conntrack --ctstate RELATED',
  '-m conntrack --ctstate UNTRACKED',
];

/** Why a trace is not for this harness, undefined if it is. */
export function unsuitable(trace: Trace): string | undefined {
  for (const text of [trace.rules4, trace.rules6]) {
    for (const line of (text ?? '').split('\n')) {
      if (!line.startsWith('-A')) continue;
      if (!CTINFO_RULES.some((rule) => line === `-A PREROUTING ${rule}`)) return `rule ${line}`;
    }
    if ((text ?? '').includes('*nat')) return 'nat table';
  }
  const packet = new Packet();
  for (const step of trace.steps) {
    if (step.in === 'local') return 'local packet';
    if (step.packet === undefined) continue;
    packet.parse(fromHex(step.packet));
    if (packet.fragmentOffset > 0 || packet.moreFragments === 1) return 'fragments';
  }
  return undefined;
}

const SETTINGS: Record<
  string,
  'tcpLoose' | 'tcpBeLiberal' | 'tcpIgnoreInvalidRst' | 'tcpMaxRetrans' | 'checksum'
> = {
  nf_conntrack_tcp_loose: 'tcpLoose',
  nf_conntrack_tcp_be_liberal: 'tcpBeLiberal',
  nf_conntrack_tcp_ignore_invalid_rst: 'tcpIgnoreInvalidRst',
  nf_conntrack_tcp_max_retrans: 'tcpMaxRetrans',
  nf_conntrack_checksum: 'checksum',
};

/** Runs a trace. Returns the first difference, undefined if there is none. */
export function runTrace(trace: Trace): string | undefined {
  const tracker = new Tracker({ maxConnections: 1024, seed: 1 });
  for (const [path, value] of Object.entries(trace.sysctls ?? {})) {
    const name = path.replace(/^.*[./]/, '');
    const setting = SETTINGS[name];
    if (setting !== undefined) tracker.context.settings[setting] = Number(value);
    else if (name.startsWith('nf_conntrack_') && name.includes('timeout'))
      tracker.context.timeouts.set(name, Number(value));
  }
  const packet = new Packet();
  const expected = new Map<string, { entry: TraceEntry; at: number }>();
  for (const [index, step] of trace.steps.entries()) {
    if (step.packet !== undefined) {
      const said = run(tracker, packet, step);
      if (said !== undefined) return `step ${index}: ${said}`;
    }
    const readAt = step.t + trace.dump_ms;
    for (const id of step.gone ?? []) expected.delete(id);
    for (const entry of step.ct ?? []) expected.set(entry.id, { entry, at: readAt });
    const difference = compare(tracker, readAt, expected);
    if (difference !== undefined) return `step ${index}: ${difference}`;
  }
  return undefined;
}

function run(tracker: Tracker, packet: Packet, step: Step): string | undefined {
  if (packet.parse(fromHex(step.packet as string)) !== 0) return undefined;
  tracker.begin(step.t);
  tracker.track(packet, Hook.PREROUTING);
  const hit = Object.keys(step.hits ?? {}).find((key) => /mangle\/PREROUTING\/[1-5]$/.test(key));
  const family = hit?.startsWith('6') ? 6 : 4;
  if (hit !== undefined && family === packet.version) {
    const known = ['INVALID', 'NEW', 'ESTABLISHED', 'RELATED', 'UNTRACKED'][Number(hit.slice(-1)) - 1];
    const got = infoName(packet.ctinfo);
    if (got !== known) return `packet is ${got}, expected ${known}`;
  }
  // Rules in these traces drop nothing; a router drops what it cannot send, and says so.
  const isForwarded = step.out.some((out) => out.gen === undefined);
  const isDelivered = step.hits?.[`${packet.version}:mangle/INPUT/P`] !== undefined;
  if (isForwarded || isDelivered) tracker.confirm(packet);
  else tracker.discard(packet);
  for (const out of step.out) if (out.gen !== undefined) runGenerated(tracker, out.packet);
  return undefined;
}

function runGenerated(tracker: Tracker, hex: string): void {
  const packet = new Packet();
  if (packet.parse(fromHex(hex)) !== 0) return;
  tracker.track(packet, Hook.OUTPUT);
  tracker.confirm(packet);
}

function infoName(ctinfo: number): string {
  switch (ctinfo) {
    case CtInfo.INVALID:
      return 'INVALID';
    case CtInfo.NEW:
      return 'NEW';
    case CtInfo.UNTRACKED:
      return 'UNTRACKED';
    case CtInfo.RELATED:
    case CtInfo.RELATED_REPLY:
      return 'RELATED';
    default:
      return 'ESTABLISHED';
  }
}

function compare(
  tracker: Tracker,
  readAt: number,
  expected: Map<string, { entry: TraceEntry; at: number }>,
): string | undefined {
  const now = tracker.timeOf(readAt);
  const left = new Map(expected);
  for (const table of tracker.tables()) {
    const { entries } = table;
    for (let slot = 0; slot < 1024; slot++) {
      const entry = entries.entryOfSlot(slot);
      if ((entries.status(entry) & Status.CONFIRMED) === 0) continue;
      const remainingMs = entries.expires(entry) - now;
      const text = tupleText(table, entry, Direction.ORIGINAL);
      const found = [...left.values()].find(({ entry: known }) => keyText(known, known.orig) === text);
      if (found === undefined) {
        if (remainingMs > 30) return `entry ${text} that Linux does not have`;
        continue;
      }
      left.delete(found.entry.id);
      const difference = compareEntry(table, entry, found.entry);
      if (difference !== undefined) return `${text}: ${difference}`;
      const wanted = found.entry.timeout - (readAt - found.at) / 1000;
      const off = remainingMs / 1000 - wanted;
      if (found.at === readAt) {
        const seconds = Math.ceil(remainingMs / 1000);
        const nearSecond = Math.abs(remainingMs / 1000 - Math.round(remainingMs / 1000)) <= 0.03;
        if (seconds !== wanted && !(nearSecond && Math.abs(seconds - wanted) <= 1)) {
          return `${text}: timeout ${remainingMs / 1000}, expected ${wanted}`;
        }
      } else if (Math.abs(off) > 1.1) {
        return `${text}: timeout ${remainingMs / 1000}, expected about ${wanted}`;
      }
    }
  }
  for (const { entry, at } of left.values()) {
    if (entry.timeout * 1000 - (readAt - at) > 1030) return `entry ${keyText(entry, entry.orig)} is missing`;
  }
  return undefined;
}

function compareEntry(table: ConntrackTable, entry: EntryId, known: TraceEntry): string | undefined {
  const { entries } = table;
  const got: Record<string, unknown> = {
    reply: tupleText(table, entry, Direction.REPLY),
    status: entries.status(entry) & 0x0f,
    acct: [Direction.ORIGINAL, Direction.REPLY].flatMap((d) => [
      entries.packets(entry, d),
      entries.bytes(entry, d),
    ]),
  };
  const wanted: Record<string, unknown> = {
    reply: keyText(known, known.reply),
    status: known.status & 0x0f,
    acct: known.acct,
  };
  if (known.state !== undefined) {
    const state = entries.state(entry);
    // The traces have numbers for the states of SCTP.
    got.state = known.state.startsWith('SCTP:') ? `SCTP:${state}` : stateName(entries.protocol(entry), state);
    wanted.state = known.state;
  }
  if (known.tcp !== undefined) {
    const both = [Direction.ORIGINAL, Direction.REPLY];
    got.tcp = [...both.map((d) => entries.tdScale(entry, d)), ...both.map((d) => entries.tdFlags(entry, d))];
    wanted.tcp = known.tcp;
  }
  for (const field of Object.keys(wanted)) {
    const a = JSON.stringify(got[field]);
    const b = JSON.stringify(wanted[field]);
    if (a !== b) return `${field} ${a}, expected ${b}`;
  }
  return undefined;
}

function tupleText(table: ConntrackTable, entry: EntryId, direction: Direction): string {
  const key = new Int32Array(KEY_WORDS);
  table.entries.getKey(entry, direction, key);
  const protocol = (key[KEY_KIND] as number) & 255;
  const ports = key[KEY_PORTS] as number;
  const isIcmp = protocol === 1 || protocol === 58;
  const numbers = isIcmp
    ? `${(ports >>> 8) & 255},${ports & 255},${ports >>> 16}`
    : [6, 17, 47, 132, 136].includes(protocol)
      ? `${ports >>> 16},${ports & 0xffff}`
      : '';
  const name = protocolName(protocol);
  const address = (at: number): string =>
    table.version === 4 ? words4(key[at] as number) : words6(key.slice(at, at + 4));
  return `${name} ${address(0)}>${address(4)} ${numbers}`;
}

function keyText(entry: TraceEntry, tuple: Tuple): string {
  const numbers =
    tuple.type !== undefined
      ? `${tuple.type},${tuple.code},${tuple.id}`
      : tuple.sport !== undefined
        ? `${tuple.sport},${tuple.dport}`
        : '';
  const name = /^\d+$/.test(entry.l4) ? protocolName(Number(entry.l4)) : entry.l4;
  return `${name} ${canonical(tuple.src)}>${canonical(tuple.dst)} ${numbers}`;
}

function canonical(address: string): string {
  if (!address.includes(':')) return address;
  const [head = '', tail = ''] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === '' ? [] : tail.split(':');
  const zeros = address.includes('::') ? Array<string>(8 - left.length - right.length).fill('0') : [];
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16).toString(16)).join(':');
}

function words4(word: number): string {
  return [24, 16, 8, 0].map((shift) => (word >>> shift) & 255).join('.');
}

function words6(words: Int32Array): string {
  return [...words].flatMap((word) => [(word >>> 16).toString(16), (word & 0xffff).toString(16)]).join(':');
}

export function fromHex(hex: string): Uint8Array {
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) =>
    Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
}
