/**
 * Rule counters of iptables-legacy tables, read with getsockopt: much faster than running iptables-save, and exact per
 * step. What the table looks like as text is asked of iptables-save once; the final text is that with the counters
 * filled in.
 *
 * Layouts: linux/netfilter_ipv4/ip_tables.h and netfilter_ipv6/ip6_tables.h. A table's blob is its entries one behind
 * the other: the built-in chains in hook order, each closed by its policy, then the user's chains, each opened by an
 * ERROR entry with the name and closed by an unnamed RETURN, and an ERROR entry at the very end.
 */
import * as libc from './libc.js';

const GET_INFO = 64;
const GET_ENTRIES = 65;
const INFO_BYTES = 84;
const ENTRIES_HEADER_BYTES = 40;
const HOOKS = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];
/** Any protocol: the socket only carries questions. */
const IPPROTO_RAW = 255;

interface Layout {
  readonly domain: number;
  readonly level: number;
  readonly targetOffset: number;
  readonly counters: number;
}

const LAYOUTS: Readonly<Record<4 | 6, Layout>> = {
  4: { domain: libc.AF_INET, level: 0, targetOffset: 88, counters: 96 },
  6: { domain: libc.AF_INET6, level: 41, targetOffset: 140, counters: 152 },
};

/** Name of a rule or policy; `null` for entries that iptables does not show. */
type Label = string | null;

interface Table {
  readonly name: string;
  readonly sizeBytes: number;
  readonly labels: readonly Label[];
}

export interface Counter {
  readonly packets: number;
  readonly bytes: number;
}

export class RuleCounters {
  readonly #family: 4 | 6;
  readonly #layout: Layout;
  readonly #socket: number;
  readonly #tables: readonly Table[];
  #base: Map<string, Counter>;
  #before: Map<string, Counter>;

  /** For the tables named, as they are now; rules must not be replaced while this is in use. */
  constructor(family: 4 | 6, tables: readonly string[]) {
    this.#family = family;
    this.#layout = LAYOUTS[family];
    this.#socket = libc.openSocket(this.#layout.domain, libc.SOCK_RAW, IPPROTO_RAW);
    this.#tables = tables.map((name) => this.#describe(name));
    this.#base = this.#before = this.#read();
  }

  /** Takes what was counted so far as zero. */
  reset(): void {
    this.#base = this.#before = this.#read();
  }

  /** Packets counted since the last call, by `4:table/CHAIN/number`. */
  delta(): Record<string, number> {
    const now = this.#read();
    const hits: Record<string, number> = {};
    for (const [name, { packets }] of now) {
      const more = packets - (this.#before.get(name) as Counter).packets;
      if (more !== 0) hits[name] = more;
    }
    this.#before = now;
    return hits;
  }

  /** `text` of iptables-save, its counters replaced by what was counted since `reset`. */
  fill(text: string): string {
    let table = '';
    let chain = '';
    let number = 0;
    const lines = text.split('\n').map((line) => {
      if (line.startsWith('*')) {
        table = line.slice(1);
        chain = '';
      }
      if (line.startsWith(':')) {
        const [name, policy] = line.slice(1).split(' ');
        return policy === '-' ? line : `:${name} ${policy} ${this.#total(`${table}/${name}/P`)}`;
      }
      const rule = /^\[\d+:\d+\] (-A (\S+).*)$/.exec(line);
      if (rule === null) return line;
      number = rule[2] === chain ? number + 1 : 1;
      chain = rule[2] as string;
      return `${this.#total(`${table}/${chain}/${number}`)} ${rule[1]}`;
    });
    return lines.join('\n');
  }

  close(): void {
    libc.close(this.#socket);
  }

  #total(label: string): string {
    const name = `${this.#family}:${label}`;
    const [now, base] = [this.#before.get(name), this.#base.get(name)];
    if (now === undefined || base === undefined) throw new Error(`no counter for ${name}`);
    return `[${now.packets - base.packets}:${now.bytes - base.bytes}]`;
  }

  #read(): Map<string, Counter> {
    const counters = new Map<string, Counter>();
    for (const { name, sizeBytes, labels } of this.#tables) {
      const blob = this.#blob(name, sizeBytes);
      let at = 0;
      for (const label of labels) {
        if (label !== null) {
          const packets = Number(blob.getBigUint64(at + this.#layout.counters, true));
          const bytes = Number(blob.getBigUint64(at + this.#layout.counters + 8, true));
          counters.set(label, { packets, bytes });
        }
        at += blob.getUint16(at + this.#layout.targetOffset + 2, true);
      }
    }
    return counters;
  }

  #describe(name: string): Table {
    const info = new DataView(this.#ask(GET_INFO, name, INFO_BYTES).buffer);
    const validHooks = info.getUint32(32, true);
    const sizeBytes = info.getUint32(80, true);
    const heads = new Map<number, string>();
    const policies = new Map<number, string>();
    for (const [hook, chain] of HOOKS.entries()) {
      if ((validHooks & (1 << hook)) === 0) continue;
      heads.set(info.getUint32(36 + 4 * hook, true), chain);
      policies.set(info.getUint32(56 + 4 * hook, true), chain);
    }
    return { name, sizeBytes, labels: this.#labels(name, sizeBytes, heads, policies) };
  }

  #labels(
    table: string,
    sizeBytes: number,
    heads: ReadonlyMap<number, string>,
    policies: ReadonlyMap<number, string>,
  ): Label[] {
    const blob = this.#blob(table, sizeBytes);
    const labels: Label[] = [];
    let chain = '';
    let number = 0;
    let isUserChain = false;
    for (let at = 0; at < sizeBytes; ) {
      const { target, next, errorName } = this.#entry(blob, at);
      if (heads.has(at)) {
        chain = heads.get(at) as string;
        number = 0;
      }
      const isClosing = isUserChain && next < sizeBytes && this.#entry(blob, next).target === 'ERROR';
      if (target === 'ERROR') {
        chain = errorName;
        number = 0;
        isUserChain = true;
        labels.push(null);
      } else if (policies.has(at)) {
        chain = policies.get(at) as string;
        labels.push(`${this.#family}:${table}/${chain}/P`);
      } else if (isClosing) {
        labels.push(null);
      } else {
        number++;
        labels.push(`${this.#family}:${table}/${chain}/${number}`);
      }
      at = next;
    }
    return labels;
  }

  #entry(blob: DataView, at: number): { target: string; next: number; errorName: string } {
    const target = at + blob.getUint16(at + this.#layout.targetOffset, true);
    const next = at + blob.getUint16(at + this.#layout.targetOffset + 2, true);
    const name = textAt(blob, target + 2, 29);
    return { target: name, next, errorName: name === 'ERROR' ? textAt(blob, target + 32, 30) : '' };
  }

  #blob(table: string, sizeBytes: number): DataView {
    const answer = this.#ask(GET_ENTRIES, table, ENTRIES_HEADER_BYTES + sizeBytes, sizeBytes);
    return new DataView(answer.buffer, ENTRIES_HEADER_BYTES);
  }

  #ask(option: number, table: string, lengthBytes: number, sizeBytes = 0): Uint8Array<ArrayBuffer> {
    const value = new Uint8Array(lengthBytes);
    value.set(new TextEncoder().encode(table));
    if (sizeBytes > 0) new DataView(value.buffer).setUint32(32, sizeBytes, true);
    libc.getOption(this.#socket, this.#layout.level, option, value);
    return value;
  }
}

/** A text closed by a zero byte. */
function textAt(blob: DataView, at: number, mostBytes: number): string {
  let text = '';
  for (let i = 0; i < mostBytes && blob.getUint8(at + i) !== 0; i++) {
    text += String.fromCharCode(blob.getUint8(at + i));
  }
  return text;
}
