/**
 * Why conditions on the packet's connection, and on local sockets and routes, do not hold. Cold.
 */
import { type EntryId, NIL, Status } from '../../conntrack/entries.js';
import { CtInfo, type Packet } from '../../wire/packet.js';
import {
  type AddressCondition,
  type ConntrackMatch,
  CtState,
  CtStatus,
  type Family,
  type RangeCondition,
} from '../ast.js';
import { formatAddress } from '../text/address.js';
import { hex } from '../text/numbers.js';
import { bitNames } from '../text/values.js';
import type { Asked, ReasonScope, Reasons } from './asked.js';
import { outside } from './base.js';

const NO_CONNECTION = 'it has no connection';

const STATE_NAMES: ReadonlyMap<number, keyof typeof CtState> = new Map<number, keyof typeof CtState>([
  [CtInfo.ESTABLISHED, 'ESTABLISHED'],
  [CtInfo.RELATED, 'RELATED'],
  [CtInfo.NEW, 'NEW'],
  [CtInfo.ESTABLISHED_REPLY, 'ESTABLISHED'],
  [CtInfo.RELATED_REPLY, 'RELATED'],
  [CtInfo.UNTRACKED, 'UNTRACKED'],
]);

/** The packet's state in the rules' words. In the raw table a packet that CT gave a zone counts as NEW. */
export function stateOf(packet: Packet): keyof typeof CtState {
  if (packet.ctinfo === CtInfo.UNTRACKED) return 'UNTRACKED';
  if (packet.entry === NIL) return packet.template === 0 ? 'INVALID' : 'NEW';
  return STATE_NAMES.get(packet.ctinfo) ?? 'INVALID';
}

function statusOf({ packet, tracker }: ReasonScope): number {
  return packet.entry === NIL ? 0 : tracker.table(packet.version).entries.status(packet.entry as EntryId);
}

/** State names as `--ctstate` sees them: with SNAT and DNAT of the connection. */
function stateNames(scope: ReasonScope): string[] {
  const status = statusOf(scope);
  return [
    stateOf(scope.packet),
    ...((status & Status.SRC_NAT) === 0 ? [] : ['SNAT']),
    ...((status & Status.DST_NAT) === 0 ? [] : ['DNAT']),
  ];
}

function ctstateReason(
  state: { readonly bits: number; readonly negated: boolean },
  scope: ReasonScope,
  asked: Asked,
): string | undefined {
  const names = stateNames(scope);
  const some = names.some((name) => (state.bits & CtState[name as keyof typeof CtState]) !== 0);
  if (some !== state.negated) return undefined;
  return asked.isNot('ctstate', 'ctstate', names.join(','));
}

type End = readonly [
  condition: AddressCondition | undefined,
  ports: RangeCondition | undefined,
  direction: 0 | 1,
  end: 'source' | 'destination',
];

function conntrackReason(spec: ConntrackMatch, scope: ReasonScope, asked: Asked): string | undefined {
  const { packet, tracker, context } = scope;
  const state = spec.state === undefined ? undefined : ctstateReason(spec.state, scope, asked);
  if (state !== undefined) return state;
  if (packet.entry === NIL) return NO_CONNECTION;
  const entries = tracker.table(packet.version).entries;
  const entry = packet.entry as EntryId;
  const isReply = packet.ctinfo >= CtInfo.ESTABLISHED_REPLY;
  if (spec.direction !== undefined && (spec.direction === 'reply') !== isReply) {
    return asked.isNot('ctdir', 'direction', isReply ? 'REPLY' : 'ORIGINAL');
  }
  const ends: readonly End[] = [
    [spec.originalSource, spec.originalSourcePorts, 0, 'source'],
    [spec.originalDestination, spec.originalDestinationPorts, 0, 'destination'],
    [spec.replySource, spec.replySourcePorts, 1, 'source'],
    [spec.replyDestination, spec.replyDestinationPorts, 1, 'destination'],
  ];
  for (const [condition, , direction, end] of ends) {
    if (condition === undefined) continue;
    const words = [0, 1, 2, 3].map((i) =>
      end === 'source'
        ? entries.sourceWord(entry, direction, i)
        : entries.destinationWord(entry, direction, i),
    );
    const masked = condition.words.map((word, i) => word & (condition.mask[i] as number));
    const network = { ...condition, words: masked as unknown as AddressCondition['words'] };
    const subject = `${direction === 0 ? 'original' : 'reply'} ${end}`;
    const reason = outside(subject, words, 0, network, packet.version as Family);
    if (reason !== undefined) return reason;
  }
  const { protocol, status, expireSeconds } = spec;
  if (protocol !== undefined && (entries.protocol(entry) === protocol.value) === protocol.negated) {
    return asked.isNot('ctproto', "the connection's protocol", entries.protocol(entry));
  }
  for (const [, ports, direction, end] of ends) {
    if (ports === undefined) continue;
    const pair = entries.ports(entries.tuple(entry, direction));
    const port = end === 'source' ? pair >>> 16 : pair & 0xffff;
    if ((port >= ports.low && port <= ports.high) !== ports.negated) continue;
    const name = `ct${direction === 0 ? 'orig' : 'repl'}${end === 'source' ? 'src' : 'dst'}port`;
    return asked.isNot(name, `${direction === 0 ? 'original' : 'reply'} ${end} port`, port);
  }
  const has = entries.status(entry);
  if (status !== undefined && ((has & status.bits) !== 0) === status.negated) {
    return asked.isNot('ctstatus', 'ctstatus', bitNames(CtStatus, has) || 'NONE');
  }
  if (expireSeconds === undefined) return undefined;
  const isConfirmed = (has & Status.CONFIRMED) !== 0;
  const leftMs = isConfirmed ? (entries.expires(entry) - context.now) | 0 : 0;
  return asked.isNot('ctexpire', "the connection's time left", Math.max(0, Math.floor(leftMs / 1000)));
}

export const CONNECTION_REASONS: Reasons = {
  conntrack: conntrackReason,
  state: (_spec, { packet }, asked) => asked.isNot('state', 'state', stateOf(packet)),
  connmark: (_spec, { packet, tracker }, asked) => {
    if (packet.entry === NIL) return NO_CONNECTION;
    const mark = tracker.table(packet.version).entries.mark(packet.entry as EntryId);
    return asked.isNot('mark', 'connection mark', hex(mark >>> 0));
  },
  connbytes: ({ what, direction }, { packet, tracker }, asked) => {
    if (packet.entry === NIL) return NO_CONNECTION;
    const { entries } = tracker.table(packet.version);
    const entry = packet.entry as EntryId;
    const directions =
      direction === 'both' ? ([0, 1] as const) : direction === 'reply' ? ([1] as const) : ([0] as const);
    let [packets, bytes] = [0, 0];
    for (const one of directions) {
      packets += entries.packets(entry, one);
      bytes += entries.bytes(entry, one);
    }
    const count = { packets, bytes, avgpkt: packets === 0 ? 0 : Math.floor(bytes / packets) }[what];
    const subject = what === 'avgpkt' ? 'average bytes per packet' : `count of ${what}`;
    return asked.isNot('connbytes', `${subject} (${direction})`, count);
  },
  connlimit: ({ compare, limit, side }, { packet }) => {
    const address = formatAddress(packet.addresses, packet.version, side === 'source' ? 0 : 4);
    return compare === 'above'
      ? `the network of ${address} has no more than ${limit} connections`
      : `the network of ${address} has more than ${limit} connections`;
  },
  helper: ({ name, negated }) =>
    negated
      ? 'a helper expected its connection'
      : `no helper${name === '' ? '' : ` ${name}`} expected its connection`,
  connlabel: ({ label, negated }) => `the connection has ${negated ? 'the' : 'no'} label ${label}`,
  socket: (spec) => `no ${spec.transparent ? 'transparent ' : ''}local socket would get it`,
  owner: (_spec, _scope, asked) => `packets have no sockets with owners here: ${asked.text}`,
  rpfilter: ({ invert, loose }, { packet, host }) => {
    const source = formatAddress(packet.addresses, packet.version);
    const by = loose ? 'by any interface' : `by ${host.interfaceName(packet.inInterface)}`;
    return invert ? `answers to ${source} would leave ${by}` : `answers to ${source} would not leave ${by}`;
  },
};
