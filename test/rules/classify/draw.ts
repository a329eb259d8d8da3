/**
 * Rulesets and packets drawn at random for the index: few values of everything, so that rules overlap and packets meet
 * many of them; every kind of condition that the index knows, and those that it must leave alone.
 */
import { SeededRandom } from '../../../lib/random.js';

const PROTOCOLS = ['tcp', 'udp', 'sctp', 'dccp', 'udplite'] as const;

export class Draw {
  readonly #random: SeededRandom;
  readonly #version: 4 | 6;

  constructor(seed: number, version: 4 | 6) {
    this.#random = new SeededRandom(seed);
    this.#version = version;
  }

  int(size: number): number {
    return this.#random.pick(0, size);
  }

  of<T>(values: readonly T[]): T {
    return values[this.int(values.length)] as T;
  }

  /** True once in `n` times. */
  once(n: number): boolean {
    return this.int(n) === 0;
  }

  host(): string {
    const high = this.of([0, 0, 0, 1, 127, 128, 255]);
    const low = this.int(40);
    return this.#version === 4
      ? this.of([`10.0.${high}.${low}`, `10.${high}.0.${low}`, '255.255.255.255', `192.0.2.${low}`])
      : this.of([`fd00::${high}:${low}`, `fd00:${high}::${low}`, 'ffff:ffff::1', `2001:db8::${low}`]);
  }

  #network(): string {
    const bits =
      this.#version === 4 ? [0, 1, 8, 16, 24, 28, 31, 32, 32] : [0, 1, 16, 32, 64, 112, 125, 128, 128];
    return this.once(20)
      ? `${this.host()}/${this.#version === 4 ? '255.0.255.255' : 'ff00:ffff::ffff'}`
      : `${this.host()}/${this.of(bits)}`;
  }

  port(): number {
    return this.of([0, 22, 53, 80, 80, 443, 1023, 1024, 5000, 65535, this.int(100), this.int(65536)]);
  }

  #ports(ends: 'any' | 'distinct' = 'any'): string {
    const [a, b] = [this.port(), this.port()];
    return this.once(3) && (ends === 'any' || a !== b) ? `${Math.min(a, b)}:${Math.max(a, b)}` : `${a}`;
  }

  #not(): string {
    return this.once(8) ? '! ' : '';
  }

  #transport(): string {
    const protocol = this.of(PROTOCOLS);
    const parts = [`-p ${protocol}`];
    if (this.once(12)) parts.push(this.#foreign());
    if (protocol !== 'udplite' && !this.once(4)) {
      parts.push(`-m ${protocol}`);
      if (this.once(3)) parts.push(`${this.#not()}--sport ${this.#ports()}`);
      if (!this.once(3)) parts.push(`${this.#not()}--dport ${this.#ports()}`);
      if (protocol === 'tcp' && this.once(8)) parts.push('--tcp-option 2');
      if (protocol === 'tcp' && this.once(8)) parts.push('--tcp-flags SYN,ACK SYN');
    }
    if (this.once(5)) {
      const list = Array.from({ length: 1 + this.int(4) }, () => this.#ports('distinct'));
      const side = this.of(['--sports', '--dports', '--ports']);
      parts.push(`-m multiport ${this.#not()}${side} ${list.join(',')}`);
    }
    return parts.join(' ');
  }

  /** A condition that the index does not know, with a memory or without. */
  #foreign(): string {
    const name = `n${this.int(3)}`;
    return this.of([
      '-m limit --limit 5/s --limit-burst 3',
      '-m statistic --mode random --probability 0.5',
      '-m statistic --mode nth --every 3 --packet 0',
      `-m recent --name ${name} --set`,
      `-m recent --name ${name} --rcheck --hitcount 2`,
      '-m quota --quota 2000',
      `-m hashlimit --hashlimit-name ${name} --hashlimit-upto 3/s --hashlimit-mode srcip`,
      '-m length --length 40:60',
      '-m mark --mark 0x1/0x1',
      '-m connmark --mark 0x2/0x2',
      this.#version === 4 ? '-m ttl --ttl-lt 64' : '-m hl --hl-lt 64',
      '-m comment --comment x',
    ]);
  }

  #condition(): string {
    const parts: string[] = [];
    if (this.once(2)) parts.push(`${this.#not()}-s ${this.#network()}`);
    if (this.once(2)) parts.push(`${this.#not()}-d ${this.#network()}`);
    if (this.once(6)) parts.push(`${this.#not()}-i ${this.of(['lan0', 'wan0', 'lan+', 'eth7'])}`);
    if (this.once(6)) parts.push(`${this.#not()}-o ${this.of(['lan0', 'wan0', 'w+'])}`);
    if (this.#version === 4 && this.once(30)) parts.push(`${this.#not()}-f`);
    const icmp =
      this.#version === 4 ? '-p icmp -m icmp --icmp-type 8' : '-p ipv6-icmp -m icmp6 --icmpv6-type 128';
    if (this.once(2)) parts.push(this.#transport());
    else if (this.once(10)) parts.push(icmp);
    else if (this.int(10) === 0) parts.push(`${this.#not()}-p ${this.of(['47', '50', '17'])}`);
    if (this.once(8)) parts.push(this.#foreign());
    if (this.once(5)) {
      const states = this.of([
        'NEW',
        'ESTABLISHED,RELATED',
        'INVALID',
        'NEW,UNTRACKED',
        'SNAT',
        'INVALID,DNAT',
      ]);
      parts.push(`-m conntrack ${this.#not()}--ctstate ${states}`);
    } else if (this.once(12)) {
      parts.push(`-m state ${this.#not()}--state ${this.of(['NEW', 'INVALID', 'ESTABLISHED'])}`);
    }
    if (this.once(12)) {
      const ends = [this.host(), this.host()].sort();
      const [low, high] = this.once(2)
        ? [ends[0], ends[0]]
        : this.#version === 4
          ? ['10.0.0.3', '10.0.1.9']
          : ['fd00::3', 'fd00::1:9'];
      parts.push(`-m iprange ${this.#not()}${this.of(['--src-range', '--dst-range'])} ${low}-${high}`);
    }
    return parts.join(' ');
  }

  /** Rules of FORWARD and of user's chains C1, C2 and so on, each of which calls only later ones. */
  rules(count: number, chains: number): string[] {
    const rules: string[] = [];
    for (let chain = 0; chain <= chains; chain++) {
      const own = chain === 0 ? count : this.int(60);
      for (let i = 0; i < own; i++) {
        const later = chain < chains ? chain + 1 + this.int(chains - chain) : 0;
        const target =
          later > 0 && this.once(6)
            ? `${this.of(['-j', '-g'])} C${later}`
            : this.of(['', '', '-j RETURN', '-j MARK --xor-mark 0x1', '-j MARK --or-mark 0x4', this.#end()]);
        rules.push(`-A ${chain === 0 ? 'FORWARD' : `C${chain}`} ${this.#condition()} ${target}`);
      }
      if (chain > 0) rules.push(`-A C${chain} -m mark --mark 0x3f -j RETURN`);
    }
    return rules;
  }

  /** What ends the walk is rare, so that packets get far. */
  #end(): string {
    return this.once(4) ? this.of(['-j ACCEPT', '-j DROP', '-j REJECT']) : '-j CONNMARK --set-mark 2';
  }

  /** Rules without targets about addresses and ports between any two values. */
  wideRules(count: number): string[] {
    const between = (limit: number, text: (n: number) => string, dash: string): string => {
      const low = this.int(limit - 1);
      return `${text(low)}${dash}${text(low + 1 + this.int(limit - 1 - low))}`;
    };
    return Array.from({ length: count }, () =>
      [
        `-A FORWARD -p ${this.of(['udp', 'tcp'])}`,
        ...(this.once(8) ? [] : [`-m iprange --src-range ${between(65536, wideHost, '-')}`]),
        ...(this.once(8) ? [] : [`-m iprange --dst-range ${between(65536, wideHost, '-')}`]),
        `-m multiport --sports ${between(65536, String, ':')},${between(300, String, ':')}`,
        ...(this.once(8) ? [] : [`-m multiport --dports ${between(65536, String, ':')}`]),
      ].join(' '),
    );
  }

  /** Addresses and ports of a packet that meets some of them, in the notation. */
  widePacket(): string {
    const end = (): string => `${wideHost(this.int(65536))}:${this.int(this.of([300, 65536]))}`;
    return `${end()} > ${end()}`;
  }

  /** A packet in the notation. */
  packet(): string {
    const wrap = (host: string): string => (this.#version === 4 ? host : `[${host}]`);
    const hop = `ttl ${this.of([1, 63, 64])}`;
    const [source, destination] = [this.host(), this.host()];
    const ends = (): string => `${wrap(source)}:${this.port()} > ${wrap(destination)}:${this.port()}`;
    switch (this.int(10)) {
      case 0: {
        const icmp = this.#version === 4 ? 'icmp' : 'icmpv6';
        return `${icmp} ${source} > ${destination} echo-request id 1 seq 1 ${hop}`;
      }
      case 1:
        return `ip ${source} > ${destination} proto ${this.of([47, 50, 132, 136, 33])} len ${this.of([0, 4, 11, 12, 40])} ${hop}`;
      case 2:
        return `udp ${ends()} len 20 ${this.of(['frag 8', 'frag 8 mf', 'mf', 'frag 1480'])} ${hop}`;
      case 3:
        return `tcp ${ends()} SYN ${this.of(['frag 8', 'mf'])} ${hop}`;
      case 4: {
        const headers = this.#version === 4 ? 20 : 40;
        return `${this.of(['tcp', 'udp'])} ${ends()} cut ${headers + this.int(20)} ${hop}`;
      }
      case 5:
      case 6:
        return `tcp ${ends()} ${this.of(['SYN', 'ACK', 'SYN,ACK', 'RST'])} ${this.once(2) ? '<mss 1460>' : ''} ${hop}`;
      default:
        return `udp ${ends()} len ${this.int(40)} ${hop}`;
    }
  }
}

/** One of 65,536 addresses. */
function wideHost(n: number): string {
  return `10.0.${n >> 8}.${n & 255}`;
}
