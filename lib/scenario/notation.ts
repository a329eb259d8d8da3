/**
 * Packets in one line of text, read into bytes. Cold. Writing is in `notation-format.ts`.
 *
 *     udp 10.0.0.2:5000 > 1.1.1.1:53 len 5
 *     tcp [fd00:a::2]:40000 > [2001:db8:2::7]:80 SYN,ACK seq 1 ack 2 win 64240 <mss 1460,sackok,nop,wscale 7> ttl 63
 *     icmp 203.0.113.9 > 10.0.0.2 port-unreachable { udp 10.0.0.2:5000 > 1.1.1.1:53 len 5 }
 *     icmpv6 fd00:a::2 > 2001:db8:2::7 echo-request id 7 seq 1 len 8
 *     ip 10.0.0.2 > 1.1.1.1 proto esp len 40
 *
 * After the addresses, in any order. Transport: tcp flags or NONE, `seq ack win urg`, `<options>` (mss wscale sackok
 * sack ts nop eol, `opt kind:hex`); an ICMP type by name or `type/code`, `id seq mtu rest`, `{ quoted packet }`; `tag`
 * (SCTP), `cover` (UDP-Lite), `udplen`, `nosum`, `sum`. Payload: `len N` (zeros), `data HEX` or `data "text"`. Network:
 * `ttl tos ipid df mf frag N options HEX`, IPv6 also `flow fragid ext TYPE:HEX`; `iplen ipsum` set a field to a wrong
 * value, `cut N` keeps the first N bytes. What is left out has its default (ttl 64, win 65535, all else 0); lengths and
 * checksums come out right. `raw HEX`, or bare hexadecimal, is the bytes themselves; (words in parentheses) say nothing.
 */
import { ConfigurationError, type ConfigurationErrorCode } from '../errors.js';
import type { AddressWords } from '../rules/ast.js';
import { protocolNumber } from '../rules/text/names.js';
import { parseAddress } from '../wire/address.js';
import { encodeDraft, newDraft, type PacketDraft, Protocol } from './draft.js';
import { setU16 } from './fields.js';
import { parseHex } from './hex.js';
import { icmpOfWord, isQuery, KINDS, NO_FLAGS, TCP_FLAGS, TcpOption } from './notation-words.js';

export { formatPacket, type NotationForm } from './notation-format.js';

/** The bytes of a packet in the notation. Throws a ConfigurationError that names the column and the word. */
export function parsePacket(text: string): Uint8Array {
  const words = new Words(text);
  const bytes = readPacket(words);
  if (!words.isDone) throw words.refuse('syntax', 'something follows the packet', 'the end');
  return bytes;
}

interface Word {
  readonly text: string;
  readonly column: number;
}

/** The text's words; options in angle brackets and quoted texts are one word each. */
class Words {
  readonly #words: Word[] = [];
  #at = 0;

  constructor(text: string) {
    for (const match of text.matchAll(/\([^)]*\)|<[^>]*>|"[^"]*"|[{}]|[^\s{}<"(]+|\S/g)) {
      if (!match[0].startsWith('(')) this.#words.push({ text: match[0], column: match.index + 1 });
    }
  }

  get isDone(): boolean {
    return this.#at >= this.#words.length;
  }

  /** The next word, not taken; '' at the end. */
  peek(): string {
    return this.#words[this.#at]?.text ?? '';
  }

  take(): string {
    const next = this.peek();
    this.#at++;
    return next;
  }

  /** An error at the next word. */
  refuse(code: ConfigurationErrorCode, message: string, expected?: string): ConfigurationError {
    const word = this.#words[this.#at];
    return new ConfigurationError(code, word === undefined ? `${message}: the text ends` : message, {
      column: word?.column,
      word: word?.text,
      expected,
    });
  }

  number(max: number, name: string): number {
    const value = /^(\d+|0x[0-9a-fA-F]+)$/.test(this.peek()) ? Number(this.peek()) : Number.NaN;
    if (!(value <= max)) throw this.refuse('value', `${name}: not a number`, `0 to ${max}`);
    this.take();
    return value;
  }

  bytes(name: string): Uint8Array {
    const next = this.peek();
    if (next.startsWith('"')) {
      this.take();
      return new TextEncoder().encode(next.slice(1, -1));
    }
    const hex = next.replace(/^0x/, '').toLowerCase();
    if (!/^([0-9a-f]{2})+$/.test(hex))
      throw this.refuse('value', `${name}: not bytes`, 'hexadecimal, or "text"');
    this.take();
    return parseHex(hex);
  }
}

function readPacket(words: Words): Uint8Array {
  if (words.peek() === 'raw') {
    words.take();
    return words.isDone || words.peek() === '}' ? new Uint8Array(0) : words.bytes('raw');
  }
  const kind = words.peek();
  if (/^([0-9a-fA-F]{2})+$/.test(kind) && !KINDS.has(kind)) return words.bytes('packet');
  const protocol = kind === 'ip' ? 0 : KINDS.get(kind);
  if (protocol === undefined) {
    throw words.refuse(
      'unknown',
      'unknown kind of packet',
      `${[...KINDS.keys()].join(', ')}, ip, raw or hexadecimal`,
    );
  }
  words.take();
  const hasPorts = protocol !== 0 && protocol !== Protocol.ICMP && protocol !== Protocol.ICMPV6;
  const source = readEndpoint(words, hasPorts);
  if (words.peek() !== '>') throw words.refuse('syntax', 'between the addresses', '>');
  words.take();
  if (isVersion6(words.peek()) !== (source.version === 6)) {
    throw words.refuse('conflict', 'the addresses are of two families', `IPv${source.version}`);
  }
  const destination = readEndpoint(words, hasPorts);
  const draft = newDraft(source.version, protocol);
  draft.isOpaque = protocol === 0;
  draft.source = source.words;
  draft.destination = destination.words;
  draft.sourcePort = source.port;
  draft.destinationPort = destination.port;
  if (protocol === Protocol.TCP) {
    draft.tcp = { flags: 0, seq: 0, ack: 0, window: 65535, urgent: 0, options: new Uint8Array(0) };
  }
  if (!hasPorts && protocol !== 0) draft.icmp = readIcmp(words, protocol);
  while (!words.isDone && words.peek() !== '}') readWord(words, draft);
  return encodeDraft(draft);
}

interface Endpoint {
  readonly version: 4 | 6;
  readonly words: AddressWords;
  readonly port: number;
}

function isVersion6(word: string): boolean {
  return word.startsWith('[') || (word.match(/:/g) ?? []).length > 1;
}

function readEndpoint(words: Words, hasPorts: boolean): Endpoint {
  const next = words.peek();
  const version = isVersion6(next) ? 6 : 4;
  const split = version === 6 ? /^\[(.*)\]:(\d+)$/.exec(next) : /^(.*):(\d+)$/.exec(next);
  const address = parseAddress(split?.[1] ?? next.replace(/^\[(.*)\]$/, '$1'), version);
  const port = Number(split?.[2] ?? 0);
  if (address === undefined || (split !== null) !== hasPorts || port > 65535) {
    throw words.refuse(
      'value',
      'not an endpoint',
      hasPorts ? 'ADDRESS:PORT or [ADDRESS]:PORT' : 'an address',
    );
  }
  words.take();
  return { version, words: address, port };
}

function readIcmp(words: Words, protocol: number): NonNullable<PacketDraft['icmp']> {
  const found = icmpOfWord(protocol, words.peek());
  if (found === undefined) throw words.refuse('unknown', 'unknown ICMP type', 'its name, or TYPE/CODE');
  words.take();
  return { ...found, rest: 0 };
}

/** Reads one of the words behind the addresses, with its value. */
function readWord(words: Words, draft: PacketDraft): void {
  const next = words.peek();
  if (draft.tcp !== undefined && readTcpWord(words, draft.tcp)) return;
  if (draft.icmp !== undefined && readIcmpWord(words, draft, draft.icmp)) return;
  const setting = SETTINGS[next];
  if (setting === undefined || !Object.hasOwn(SETTINGS, next)) {
    throw words.refuse('unknown', 'unknown word in a packet', Object.keys(SETTINGS).join(', '));
  }
  words.take();
  setting(draft, words);
}

const SETTINGS: Readonly<Record<string, (draft: PacketDraft, words: Words) => void>> = {
  proto: (draft, words) => {
    const protocol = protocolNumber(words.peek());
    if (protocol === undefined) throw words.refuse('unknown', 'unknown protocol', 'a name or 0 to 255');
    words.take();
    draft.protocol = protocol;
  },
  len: (draft, words) => {
    draft.payload = new Uint8Array(words.number(65535, 'len'));
  },
  data: (draft, words) => {
    draft.payload = words.bytes('data');
  },
  ttl: (draft, words) => {
    draft.ttl = words.number(255, 'ttl');
  },
  tos: (draft, words) => {
    draft.tos = words.number(255, 'tos');
  },
  ipid: (draft, words) => {
    draft.id = words.number(65535, 'ipid');
  },
  df: (draft) => {
    draft.df = true;
  },
  mf: (draft) => {
    draft.moreFragments = true;
    draft.hasFragmentHeader = draft.version === 6;
  },
  frag: (draft, words) => {
    draft.fragmentOffset = words.number(65535, 'frag') & 0xfff8;
    draft.hasFragmentHeader = draft.version === 6;
  },
  fragid: (draft, words) => {
    draft.id = words.number(0xffffffff, 'fragid');
    draft.hasFragmentHeader = true;
  },
  flow: (draft, words) => {
    draft.flow = words.number(0xfffff, 'flow');
  },
  options: (draft, words) => {
    draft.options = padded(words.bytes('options'));
  },
  ext: (draft, words) => {
    const match = /^(\d{1,3}):((?:[0-9a-f]{2})+)$/.exec(words.peek());
    if (match === null) throw words.refuse('value', 'not an extension header', 'TYPE:HEX');
    words.take();
    draft.extensions.push({ type: Number(match[1]), body: parseHex(match[2] as string) });
  },
  tag: (draft, words) => {
    draft.tag = words.number(0xffffffff, 'tag');
  },
  cover: (draft, words) => {
    draft.coverage = words.number(65535, 'cover');
  },
  udplen: (draft, words) => {
    draft.coverage = words.number(65535, 'udplen');
  },
  iplen: (draft, words) => {
    draft.lengthField = words.number(65535, 'iplen');
  },
  ipsum: (draft, words) => {
    draft.headerSum = words.number(65535, 'ipsum');
  },
  sum: (draft, words) => {
    draft.sum = words.number(0xffffffff, 'sum');
  },
  nosum: (draft) => {
    draft.sum = 0;
  },
  cut: (draft, words) => {
    draft.cut = words.number(65535, 'cut');
  },
};

function readTcpWord(words: Words, tcp: NonNullable<PacketDraft['tcp']>): boolean {
  const next = words.peek();
  if (next.startsWith('<')) {
    tcp.options = readTcpOptions(words);
    return true;
  }
  const bits =
    next === NO_FLAGS ? [0] : next.split(',').map((name) => TCP_FLAGS.find(([flag]) => flag === name)?.[1]);
  if (bits.every((bit) => bit !== undefined)) {
    words.take();
    tcp.flags = bits.reduce((all, bit) => all | bit, 0);
    return true;
  }
  const fields = { seq: 0xffffffff, ack: 0xffffffff, win: 65535, urg: 65535 };
  if (!Object.hasOwn(fields, next)) return false;
  words.take();
  const value = words.number(fields[next as keyof typeof fields], next);
  if (next === 'seq') tcp.seq = value;
  if (next === 'ack') tcp.ack = value;
  if (next === 'win') tcp.window = value;
  if (next === 'urg') tcp.urgent = value;
  return true;
}

function readTcpOptions(words: Words): Uint8Array {
  const bytes: number[] = [];
  for (const text of words.peek().slice(1, -1).split(',')) {
    const option = tcpOption(text.trim());
    if (option === undefined) {
      throw words.refuse(
        'value',
        `not a TCP option: ${text}`,
        'mss, wscale, sackok, sack, ts, nop, eol or opt',
      );
    }
    bytes.push(...option);
  }
  if (bytes.length > 40) throw words.refuse('value', 'too many TCP options', 'at most 40 bytes');
  words.take();
  return padded(Uint8Array.from(bytes));
}

function tcpOption(text: string): number[] | undefined {
  const [name = '', value = ''] = text.split(/\s+/);
  if (name === 'nop') return [TcpOption.NOP];
  if (name === 'eol') return [TcpOption.END];
  if (name === 'sackok') return [TcpOption.SACKOK, 2];
  if (name === 'hex' && /^([0-9a-f]{2})+$/.test(value)) return [...parseHex(value)];
  const raw = /^(\d+):((?:[0-9a-f]{2})*)$/.exec(value);
  if (name === 'opt' && raw !== null) {
    const body = parseHex(raw[2] as string);
    return [Number(raw[1]) & 255, body.length + 2, ...body];
  }
  if (!/^\d+([:-]\d+)*$/.test(value)) return undefined;
  const numbers = value.split(/[:-]/).map(Number);
  const [first = 0] = numbers;
  if (name === 'mss' && numbers.length === 1) return [TcpOption.MSS, 4, (first >> 8) & 255, first & 255];
  if (name === 'wscale' && numbers.length === 1) return [TcpOption.WSCALE, 3, first & 255];
  if (name === 'ts' && numbers.length === 2) return [TcpOption.TS, 10, ...numbers.flatMap(fourBytes)];
  if (name === 'sack' && numbers.length % 2 === 0) {
    return [TcpOption.SACK, 2 + 4 * numbers.length, ...numbers.flatMap(fourBytes)];
  }
  return undefined;
}

function fourBytes(value: number): number[] {
  return [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}

/** With zeros up to a multiple of 4. */
function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array((bytes.length + 3) & ~3);
  whole.set(bytes);
  return whole;
}

function readIcmpWord(words: Words, draft: PacketDraft, icmp: NonNullable<PacketDraft['icmp']>): boolean {
  const next = words.peek();
  if (next === '{') {
    words.take();
    draft.payload = readPacket(words);
    if (words.peek() !== '}') throw words.refuse('syntax', 'the quoted packet does not end', '}');
    words.take();
    return true;
  }
  if (next === 'mtu' || next === 'rest') {
    words.take();
    icmp.rest = words.number(0xffffffff, next);
    return true;
  }
  if ((next !== 'id' && next !== 'seq') || !isQuery(draft.protocol, icmp.type)) return false;
  words.take();
  const rest = new Uint8Array(4);
  setU16(rest, 0, icmp.rest >>> 16);
  setU16(rest, 2, icmp.rest & 0xffff);
  setU16(rest, next === 'id' ? 0 : 2, words.number(65535, next));
  icmp.rest = ((rest[0]! << 24) | (rest[1]! << 16) | (rest[2]! << 8) | rest[3]!) >>> 0;
  return true;
}
