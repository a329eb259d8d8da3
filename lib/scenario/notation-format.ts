/**
 * Packets as one line of text. Cold. The grammar is described in `notation.ts`.
 */

import { protocolName } from '../rules/text/names.js';
import { formatAddress } from '../wire/address.js';
import { decodeDraft, decodeQuote, encodeDraft, type PacketDraft, Protocol, type TcpDraft } from './draft.js';
import { u16, u32 } from './fields.js';
import { formatHex } from './hex.js';
import { icmpWord, isQuery, KINDS, NO_FLAGS, TCP_FLAGS, TcpOption } from './notation-words.js';

/** `short` leaves out payload bytes, IPv4 ids and checksums; `exact` has all that reading needs for the same bytes. */
export type NotationForm = 'short' | 'exact';

const KIND_NAMES = new Map([...KINDS].map(([name, protocol]) => [protocol, name]));

/** The packet as text; bytes that the notation cannot say are `raw` and hexadecimal. */
export function formatPacket(bytes: Uint8Array, form: NotationForm = 'short'): string {
  const draft = decodeDraft(bytes);
  if (draft === undefined) return raw(bytes);
  const text = formatDraft(draft, bytes, form);
  return form === 'exact' && formatHex(encodeDraft(draft)) !== formatHex(bytes) ? raw(bytes) : text;
}

function raw(bytes: Uint8Array): string {
  return bytes.length === 0 ? 'raw' : `raw ${formatHex(bytes)}`;
}

function formatDraft(draft: PacketDraft, bytes: Uint8Array, form: NotationForm): string {
  const isKnown = !draft.isOpaque && KIND_NAMES.has(draft.protocol);
  const kind = isKnown ? (KIND_NAMES.get(draft.protocol) as string) : 'ip';
  const words = [kind, ...endpoints(draft, isKnown)];
  if (!isKnown) words.push('proto', protocolName(draft.protocol));
  if (isKnown) words.push(...transportWords(draft, bytes, form));
  words.push(...payloadWords(draft, bytes, form), ...networkWords(draft, form));
  if (form === 'exact') words.push(...sumWords(draft));
  else if (draft.sum !== undefined && draft.cut === undefined && !draft.moreFragments)
    words.push(sumRemark(draft));
  return words.join(' ');
}

function sumRemark(draft: PacketDraft): string {
  return draft.protocol === Protocol.UDP && draft.sum === 0 ? 'nosum' : '(bad checksum)';
}

function endpoints(draft: PacketDraft, isKnown: boolean): string[] {
  const hasPorts = isKnown && draft.icmp === undefined;
  return [
    endpoint(draft, draft.source, hasPorts ? draft.sourcePort : undefined),
    '>',
    endpoint(draft, draft.destination, hasPorts ? draft.destinationPort : undefined),
  ];
}

function endpoint(draft: PacketDraft, words: PacketDraft['source'], port: number | undefined): string {
  const address = formatAddress(words, draft.version);
  if (port === undefined) return address;
  return draft.version === 4 ? `${address}:${port}` : `[${address}]:${port}`;
}

function transportWords(draft: PacketDraft, bytes: Uint8Array, form: NotationForm): string[] {
  if (draft.tcp !== undefined) return tcpWords(draft.tcp);
  if (draft.icmp !== undefined) return icmpWords(draft, bytes, form);
  if (draft.protocol === Protocol.SCTP) return ['tag', `0x${draft.tag.toString(16)}`];
  if (draft.coverage === 0) return [];
  return [draft.protocol === Protocol.UDP ? 'udplen' : 'cover', String(draft.coverage)];
}

function tcpWords(tcp: TcpDraft): string[] {
  const flags = TCP_FLAGS.filter(([, bit]) => (tcp.flags & bit) !== 0).map(([name]) => name);
  return [
    flags.length === 0 ? NO_FLAGS : flags.join(','),
    'seq',
    String(tcp.seq),
    ...(tcp.ack !== 0 || (tcp.flags & 16) !== 0 ? ['ack', String(tcp.ack)] : []),
    'win',
    String(tcp.window),
    ...(tcp.urgent === 0 ? [] : ['urg', String(tcp.urgent)]),
    ...(tcp.options.length === 0 ? [] : [`<${tcpOptions(tcp.options)}>`]),
  ];
}

function tcpOptions(options: Uint8Array): string {
  const texts: string[] = [];
  for (let at = 0; at < options.length; ) {
    const kind = options[at] as number;
    if (kind === TcpOption.END) {
      const rest = options.subarray(at);
      texts.push(rest.every((byte) => byte === 0) ? 'eol' : `hex ${formatHex(rest)}`);
      break;
    }
    if (kind === TcpOption.NOP) {
      texts.push('nop');
      at++;
      continue;
    }
    const length = options[at + 1] ?? 0;
    if (length < 2 || at + length > options.length) {
      texts.push(`hex ${formatHex(options.subarray(at))}`);
      break;
    }
    texts.push(tcpOption(kind, options.subarray(at + 2, at + length)));
    at += length;
  }
  return texts.join(',');
}

function tcpOption(kind: number, body: Uint8Array): string {
  if (kind === TcpOption.MSS && body.length === 2) return `mss ${u16(body, 0)}`;
  if (kind === TcpOption.WSCALE && body.length === 1) return `wscale ${body[0]}`;
  if (kind === TcpOption.SACKOK && body.length === 0) return 'sackok';
  if (kind === TcpOption.TS && body.length === 8) return `ts ${u32(body, 0)}:${u32(body, 4)}`;
  if (kind === TcpOption.SACK && body.length > 0 && body.length % 8 === 0) {
    const blocks = Array.from(
      { length: body.length / 8 },
      (_, i) => `${u32(body, 8 * i)}-${u32(body, 8 * i + 4)}`,
    );
    return `sack ${blocks.join(':')}`;
  }
  return `opt ${kind}:${formatHex(body)}`;
}

function icmpWords(draft: PacketDraft, bytes: Uint8Array, form: NotationForm): string[] {
  const { type, code, rest } = draft.icmp as NonNullable<PacketDraft['icmp']>;
  const words = [icmpWord(draft.protocol, type, code)];
  if (isQuery(draft.protocol, type)) words.push('id', String(rest >>> 16), 'seq', String(rest & 0xffff));
  else if (draft.protocol === Protocol.ICMPV6 ? type === 2 : type === 3 && code === 4)
    words.push('mtu', String(rest));
  else if (rest !== 0) words.push('rest', `0x${rest.toString(16)}`);
  const quote = draft.cut === undefined ? decodeQuote(bytes) : undefined;
  if (quote !== undefined && quote.length > 0) words.push('{', formatPacket(quote, form), '}');
  return words;
}

function payloadWords(draft: PacketDraft, bytes: Uint8Array, form: NotationForm): string[] {
  const isQuoted = draft.icmp !== undefined && draft.cut === undefined && decodeQuote(bytes) !== undefined;
  if (isQuoted || draft.payload.length === 0) return [];
  if (form === 'short' || draft.payload.every((byte) => byte === 0))
    return ['len', String(draft.payload.length)];
  return ['data', formatHex(draft.payload)];
}

function networkWords(draft: PacketDraft, form: NotationForm): string[] {
  const words: string[] = [];
  const isFragment = draft.hasFragmentHeader || draft.moreFragments || draft.fragmentOffset > 0;
  for (const { type, body } of draft.extensions) words.push('ext', `${type}:${formatHex(body)}`);
  if (draft.fragmentOffset > 0 || draft.hasFragmentHeader) words.push('frag', String(draft.fragmentOffset));
  if (draft.moreFragments) words.push('mf');
  if (draft.df) words.push('df');
  if (draft.id !== 0 && (form === 'exact' || isFragment)) {
    words.push(draft.version === 4 ? 'ipid' : 'fragid', String(draft.id));
  }
  if (draft.ttl !== 64) words.push('ttl', String(draft.ttl));
  if (draft.tos !== 0) words.push('tos', `0x${draft.tos.toString(16)}`);
  if (draft.flow !== 0) words.push('flow', `0x${draft.flow.toString(16)}`);
  if (draft.options.length > 0) words.push('options', formatHex(draft.options));
  if (draft.lengthField !== undefined) words.push('iplen', String(draft.lengthField));
  if (draft.headerSum !== undefined) words.push('ipsum', `0x${draft.headerSum.toString(16)}`);
  if (draft.cut !== undefined) words.push('cut', String(draft.cut));
  return words;
}

function sumWords(draft: PacketDraft): string[] {
  if (draft.sum === undefined) return [];
  if (draft.sum === 0 && draft.protocol === Protocol.UDP) return ['nosum'];
  return ['sum', `0x${draft.sum.toString(16)}`];
}
