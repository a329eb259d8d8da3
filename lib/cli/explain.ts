/**
 * `conntide explain`: what a ruleset does to a packet, and why.
 *
 * Exit status: 0 explained (whatever became of the packet), 2 bad usage, an unreadable file or a ruleset that is refused.
 */
import { Command, InvalidArgumentError } from 'commander';
import { readCapture } from '../capture/capture.js';
import { LinkType } from '../capture/link.js';
import { ConfigurationError } from '../errors.js';
import type { InterfaceOptions } from '../network/interfaces.js';
import { readBytes } from '../node/files.js';
import { Explainer } from '../scenario/explain.js';
import { IngressFinder } from '../scenario/ingress.js';
import { parsePacket } from '../scenario/notation.js';
import type { Replay } from '../scenario/replay.js';
import { Packet } from '../wire/packet.js';
import { type Console, ExitStatus } from './console.js';
import { formatExplanation } from './explain-report.js';
import { EXAMPLE_INTERFACES, makeReplay, parseInterfaces } from './replay.js';

interface Options {
  readonly rules?: string;
  readonly rules6?: string;
  readonly sets?: string;
  readonly packet: readonly Uint8Array[];
  readonly after?: string;
  readonly iface?: readonly InterfaceOptions[];
  readonly route?: readonly string[];
  readonly in?: string;
  readonly json?: boolean;
}

const LOCAL = 'local';

/** The `explain` command; `finish` is told the exit status. */
export function explainCommand(out: Console, finish: (status: ExitStatus) => void): Command {
  return new Command('explain')
    .summary('tell what the rules do to a packet, and why')
    .description(
      'Sends a packet through a router with your rules and tells which rules it met, why each matched or did not,\n' +
        'what connection tracking and NAT decided, how it was routed and what came out.',
    )
    .option('--rules <file>', 'IPv4 rules, iptables-save text')
    .option('--rules6 <file>', 'IPv6 rules, iptables-save text')
    .option('--sets <file>', 'the sets that rules name, ipset save text')
    .requiredOption(
      '--packet <packet>',
      'the packet, as "udp 10.0.0.2:5000 > 1.1.1.1:53" or in hexadecimal (may be repeated: one after the other)',
      readPacket,
    )
    .option('--after <capture>', 'pcap or pcapng that is replayed first, so that there are connections')
    .option(
      '--iface <name=address,...>',
      `interfaces with their addresses, first the inner one (default: ${EXAMPLE_INTERFACES})`,
      parseInterfaces,
    )
    .option(
      '--route <route>',
      'a route, as for "ip route add" (may be repeated; default: out of the last one)',
      (route: string, before: readonly string[] = []) => [...before, route],
    )
    .option('--in <interface>', `where the packet comes in, or "${LOCAL}" (default: by its source address)`)
    .option('--json', 'print one JSON object per packet')
    .action((options: Options) => finish(explain(options, out)));
}

function readPacket(text: string, before: readonly Uint8Array[] = []): readonly Uint8Array[] {
  try {
    return [...before, parsePacket(text)];
  } catch (error) {
    if (error instanceof ConfigurationError) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

function explain(options: Options, out: Console): ExitStatus {
  const { rules, rules6, packet: packets, after } = options;
  const interfaces = options.iface ?? parseInterfaces(EXAMPLE_INTERFACES);
  if (rules === undefined && rules6 === undefined) {
    throw new ConfigurationError('value', 'there are no rules', {
      expected: '--rules FILE or --rules6 FILE',
    });
  }
  const before = after === undefined ? [] : readCapture(readBytes(after), { file: after }).packets;
  const startMs = before[0]?.timeMs ?? Date.now();
  const run = makeReplay(interfaces, { ...options, startMs });
  for (const packet of before) run.feed(packet);
  const nowMs = Number.isNaN(run.nowMs) ? startMs : run.nowMs;
  const ways = new WayIn(run, interfaces, options.in);
  const explainer = new Explainer(run.router);
  packets.forEach((bytes, i) => {
    const index = ways.find(bytes);
    const explanation =
      index === 0 ? explainer.sendLocal(bytes, nowMs) : explainer.receive(index, bytes, nowMs);
    if (options.json) {
      out.line(JSON.stringify(explanation));
      return;
    }
    if (i === 0) for (const line of surroundings(run, options, interfaces)) out.line(line);
    else out.line('');
    for (const line of formatExplanation(explanation)) out.line(line);
  });
  return ExitStatus.GOOD;
}

/** What the user may not know of the router: interfaces that were assumed, and names in the rules that it lacks. */
function surroundings(run: Replay, options: Options, interfaces: readonly InterfaceOptions[]): string[] {
  const lines: string[] = [];
  if (options.iface === undefined) {
    const list = interfaces.map(({ name, addresses }) => `${name} ${addresses.join(' ')}`);
    lines.push(`Interfaces (no --iface given): ${list.join(', ')}`);
  }
  const names = [...interfaces.map(({ name }) => name), 'lo'];
  const missing = new Set<string>();
  for (const family of [4, 6]) {
    for (const { chains } of run.router.engine.rules(family).toRuleset().tables) {
      for (const { inInterface, outInterface } of chains.flatMap((chain) => chain.rules)) {
        for (const one of [inInterface, outInterface]) {
          if (one === undefined) continue;
          const { name, wildcard } = one;
          if (!names.some((known) => (wildcard ? known.startsWith(name) : known === name))) {
            missing.add(`${name}${wildcard ? '+' : ''}`);
          }
        }
      }
    }
  }
  if (missing.size > 0) {
    lines.push(`The rules name interfaces that the router does not have: ${[...missing].join(', ')}`);
  }
  return lines.length === 0 ? [] : [...lines, ''];
}

/** Where packets come in: what the user says, or by their source address. */
class WayIn {
  readonly #run: Replay;
  readonly #named: number | undefined;
  readonly #finder: IngressFinder;
  readonly #view = new Packet();

  constructor(run: Replay, interfaces: readonly InterfaceOptions[], name: string | undefined) {
    this.#run = run;
    this.#finder = new IngressFinder(interfaces, interfaces.length);
    if (name === undefined) return;
    this.#named = name === LOCAL ? 0 : interfaces.findIndex((one) => one.name === name) + 1;
    if (this.#named === 0 && name !== LOCAL) {
      throw new ConfigurationError('unknown', '--in: no such interface', {
        word: name,
        expected: [...interfaces.map((one) => one.name), LOCAL].join(', '),
      });
    }
  }

  /** Index of the interface, from 1; 0 for a packet that the router sends itself. */
  find(bytes: Uint8Array): number {
    if (this.#named !== undefined) return this.#named;
    const view = this.#view;
    view.parse(bytes);
    if (view.version !== 0 && this.#run.router.interfaces.owner(view.version, view.addresses, 0) > 0)
      return 0;
    const ingress = this.#finder.find({
      seconds: 0,
      nanos: 0,
      timeMs: 0,
      interfaceId: 0,
      linkType: LinkType.RAW,
      bytes,
      originalLengthBytes: bytes.length,
    });
    return 'interface' in ingress ? ingress.interface : 1;
  }
}
