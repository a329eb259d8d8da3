/**
 * `conntide replay`: a recorded capture through a ruleset. Without options it replays the bundled example.
 *
 * Exit status: 0 done, 2 bad usage, an unreadable file or a ruleset that is refused.
 */
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { readCapture } from '../capture/capture.js';
import { LinkType, wrapInEthernet } from '../capture/link.js';
import { PcapngWriter } from '../capture/pcapng-writer.js';
import { ConfigurationError } from '../errors.js';
import type { InterfaceOptions } from '../network/interfaces.js';
import { fileError, readBytes, readText } from '../node/files.js';
import { type Passed, Replay, type Sent } from '../scenario/replay.js';
import { type Console, ExitStatus } from './console.js';
import { formatReport, type ReplayFacts, reportObject } from './replay-report.js';
import { describeFlow, describePassed } from './replay-words.js';
import { PROGRAM } from './version.js';

interface Options {
  readonly in?: string;
  readonly out?: string;
  readonly rules?: string;
  readonly rules6?: string;
  readonly sets?: string;
  readonly iface?: readonly InterfaceOptions[];
  readonly route?: readonly string[];
  readonly linger?: number;
  readonly dropped?: boolean;
  readonly json?: boolean;
}

/** The bundled example, in the package's folder. */
const EXAMPLE = fileURLToPath(new URL('../../examples/replay/', import.meta.url));
export const EXAMPLE_INTERFACES = 'lan=10.0.0.1/24,fd00:a::1/64,wan=203.0.113.1/24,2001:db8:1::1/64';
const EXAMPLE_OUTPUT = 'out/gateway.translated.pcapng';
/** Interface of packets that were dropped, in the written file. */
const DROPPED = 'dropped';

/** The `replay` command; `finish` is told the exit status. */
export function replayCommand(out: Console, finish: (status: ExitStatus) => void): Command {
  return new Command('replay')
    .summary('replay a capture through a ruleset')
    .description(
      'Replays a capture through a router with your rules: capture time drives the clock, so connections age and\n' +
        'expire as they would have. Without --in, a bundled recording of a home gateway is replayed.',
    )
    .option('--in <file>', 'capture to replay, pcap or pcapng')
    .option('--out <file>', 'pcapng to write the packets to that left the router')
    .option('--dropped', 'write dropped packets too, on an interface of that name')
    .option('--rules <file>', 'IPv4 rules, iptables-save text')
    .option('--rules6 <file>', 'IPv6 rules, iptables-save text')
    .option('--sets <file>', 'the sets that rules name, ipset save text')
    .option(
      '--iface <name=address,...>',
      'interfaces with their addresses, the inner one first: lan=10.0.0.1/24,fd00:a::1/64,wan=203.0.113.1/24',
      parseInterfaces,
    )
    .option(
      '--route <route>',
      'a route, as for "ip route add" (may be repeated; default: out of the last one)',
      collect,
    )
    .option('--linger <seconds>', 'time that goes by after the last packet', parseSeconds)
    .option('--json', 'print one JSON object instead of text')
    .action((options: Options) => finish(replay(options, out)));
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!(seconds >= 0 && seconds <= 1e9)) throw new InvalidArgumentError('Seconds from 0 on.');
  return seconds;
}

/** `lan=10.0.0.1/24,fd00::1/64,wan=203.0.113.1/24,mtu=1400`: a name, its addresses, perhaps its MTU, the next name. */
export function parseInterfaces(
  text: string,
  before: readonly InterfaceOptions[] = [],
): readonly InterfaceOptions[] {
  const interfaces: { name: string; addresses: string[]; mtu?: number }[] = [];
  for (const word of text.split(',').map((part) => part.trim())) {
    const [, name, value] = /^([^=]+)=(.*)$/.exec(word) ?? [];
    const last = interfaces.at(-1);
    if (name === 'mtu' && last !== undefined && /^\d+$/.test(value ?? '')) last.mtu = Number(value);
    else if (name !== undefined) interfaces.push({ name, addresses: value ? [value] : [] });
    else if (last !== undefined && word !== '') last.addresses.push(word);
    else throw new InvalidArgumentError('Expected NAME=ADDRESS/LENGTH,...');
  }
  return [...before, ...interfaces];
}

function replay(options: Options, out: Console): ExitStatus {
  const isExample = options.in === undefined;
  const input = options.in ?? `${EXAMPLE}gateway.pcapng`;
  const rules = options.rules ?? (isExample ? `${EXAMPLE}rules.v4` : undefined);
  const rules6 = options.rules6 ?? (isExample ? `${EXAMPLE}rules.v6` : undefined);
  const interfaces = options.iface ?? (isExample ? parseInterfaces(EXAMPLE_INTERFACES) : []);
  const output = options.out ?? (isExample ? EXAMPLE_OUTPUT : undefined);
  if (interfaces.length === 0) {
    throw new ConfigurationError('value', 'the router has no interfaces', {
      expected: '--iface lan=10.0.0.1/24,wan=203.0.113.1/24 or the like',
    });
  }
  const capture = readCapture(readBytes(input), { file: input });
  const run = makeReplay(interfaces, { ...options, rules, rules6, startMs: capture.packets[0]?.timeMs });
  const writer =
    output === undefined ? undefined : new OutputFile(output, interfaces, options.dropped === true);
  const progress = new Progress(out, capture.packets.length, options.json === true);
  const endMs = playAll(run, capture.packets, writer, progress, options.linger ?? 0);
  writer?.close();
  const first = capture.packets[0];
  const facts: ReplayFacts = {
    input: shown(input),
    format: capture.format,
    packets: capture.packets.length,
    ...(first === undefined ? {} : { firstMs: first.timeMs, spanMs: endMs - first.timeMs }),
    ...(capture.damage === undefined ? {} : { damage: capture.damage.message }),
    interfaces,
    ...(rules === undefined ? {} : { rules: shown(rules) }),
    ...(rules6 === undefined ? {} : { rules6: shown(rules6) }),
    ...(output === undefined ? {} : { output, written: writer?.written ?? 0 }),
  };
  if (options.json) out.line(JSON.stringify(reportObject(run, facts)));
  else for (const line of formatReport(run, facts)) out.line(line);
  return ExitStatus.GOOD;
}

/** What a router is made of, besides its interfaces: files, and routes in the words of `ip route add`. */
export interface ReplayFiles {
  readonly route?: readonly string[] | undefined;
  readonly rules?: string | undefined;
  readonly rules6?: string | undefined;
  readonly sets?: string | undefined;
  /** Time of the first packet, ms since 1970: from then on the timeouts of sets count. */
  readonly startMs?: number | undefined;
}

/** A router with the files' rules that captures can be replayed through; it forwards. */
export function makeReplay(interfaces: readonly InterfaceOptions[], files: ReplayFiles): Replay {
  const { route, rules, rules6, sets, startMs = 0 } = files;
  const uplink = (interfaces.at(-1) as InterfaceOptions).name;
  const run = new Replay({
    interfaces,
    routes: route ?? [`default dev ${uplink}`, `-6 default dev ${uplink}`],
    // Without any rules there would be nothing to see.
    tracking: rules === undefined && rules6 === undefined ? 'always' : 'auto',
    wallTimeMs: (nowMs) => nowMs,
  });
  run.router.sysctl('net.ipv4.ip_forward', '1');
  run.router.sysctl('net.ipv6.conf.all.forwarding', '1');
  const { engine } = run.router;
  if (sets !== undefined) engine.sets.restore(readText(sets), startMs, sets);
  if (rules !== undefined) engine.restore(4, readText(rules), rules);
  if (rules6 !== undefined) engine.restore(6, readText(rules6), rules6);
  return run;
}

/** Feeds every packet; returns the time at the end. */
function playAll(
  run: Replay,
  packets: ReturnType<typeof readCapture>['packets'],
  writer: OutputFile | undefined,
  progress: Progress,
  lingerSeconds: number,
): number {
  for (const [i, packet] of packets.entries()) {
    const passed = run.feed(packet);
    writer?.write(packet, passed, i + 1);
    progress.show(run, i + 1);
  }
  const last = packets.at(-1);
  if (last === undefined) return 0;
  const endMs = run.nowMs + lingerSeconds * 1000;
  const late = run.advance(endMs);
  writer?.writeLate(last, late);
  progress.end();
  return endMs;
}

/** The pcapng of what left the router: Ethernet, one interface per router interface, a comment on every packet. */
class OutputFile {
  readonly #fd: number;
  readonly #writer: PcapngWriter;
  readonly #names: readonly string[];
  readonly #dropped: number | undefined;
  written = 0;

  constructor(file: string, interfaces: readonly InterfaceOptions[], withDropped: boolean) {
    try {
      mkdirSync(dirname(file), { recursive: true });
      this.#fd = openSync(file, 'w');
    } catch (error) {
      throw fileError(error, file);
    }
    const sink = (block: Uint8Array) => {
      try {
        writeSync(this.#fd, block);
      } catch (error) {
        throw fileError(error, file);
      }
    };
    this.#writer = new PcapngWriter(sink, { application: PROGRAM });
    this.#names = interfaces.map(({ name }) => name);
    for (const name of this.#names) this.#writer.addInterface({ linkType: LinkType.ETHERNET, name });
    if (withDropped)
      this.#dropped = this.#writer.addInterface({ linkType: LinkType.ETHERNET, name: DROPPED });
  }

  write(packet: Recorded, passed: Passed, number: number): void {
    this.writeLate(packet, passed.late);
    for (const sent of passed.sent) {
      const way = `${passed.inInterface} > ${this.#names[sent.interface] ?? 'lo'}`;
      const verdict =
        sent.origin === 'forwarded'
          ? `forwarded, ${way}`
          : `made by the router, in answer to (${describePassed(passed)})`;
      const flow = sent.origin === 'forwarded' ? describeFlow(passed) : '';
      this.#add(packet, sent, `packet ${number}: ${verdict}${flow === '' ? '' : `; ${flow}`}`);
    }
    if (this.#dropped !== undefined && passed.fate === 'dropped' && passed.bytes !== undefined) {
      const comment = `packet ${number}: ${describePassed(passed)}`;
      this.#add(packet, { interface: this.#dropped, origin: 'forwarded', bytes: passed.bytes }, comment);
    }
  }

  /** What the router sent of its own accord, at the time of `packet`. */
  writeLate(packet: Recorded, sent: readonly Sent[]): void {
    for (const one of sent) this.#add(packet, one, 'made by the router: a timer ran out');
  }

  #add({ seconds, nanos }: Recorded, { interface: interfaceId, bytes }: Sent, comment: string): void {
    if (interfaceId >= this.#names.length + (this.#dropped === undefined ? 0 : 1)) return;
    const direction = interfaceId === this.#dropped ? 'in' : 'out';
    this.#writer.addPacket({ interfaceId, seconds, nanos, bytes: wrapInEthernet(bytes), direction, comment });
    this.written++;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

interface Recorded {
  readonly seconds: number;
  readonly nanos: number;
}

/** Shows how far it is: one line that is replaced for people, one line per tenth for files. */
class Progress {
  readonly #out: Console;
  readonly #total: number;
  readonly #isQuiet: boolean;
  #shown = 0;

  constructor(out: Console, total: number, isQuiet: boolean) {
    this.#out = out;
    this.#total = total;
    this.#isQuiet = isQuiet;
  }

  show(run: Replay, done: number): void {
    const tenths = Math.floor((done * (this.#out.isTerminal ? 100 : 10)) / this.#total);
    if (this.#isQuiet || tenths === this.#shown) return;
    this.#shown = tenths;
    const { forwarded, dropped } = run.counts;
    const text =
      `${String(Math.floor((done * 100) / this.#total)).padStart(3)} %  ${done} of ${this.#total} packets, ` +
      `${forwarded} forwarded, ${dropped} dropped, ${run.router.engine.connections.size} flows`;
    if (this.#out.isTerminal) this.#out.progress(text);
    else this.#out.line(text);
  }

  end(): void {
    if (!this.#isQuiet) this.#out.progress('');
  }
}

/** A path as it is shown: relative where that is the shorter way to say it. */
function shown(path: string): string {
  const short = relative('', path);
  return short.startsWith('..') || short === '' ? path : short;
}
