/** The lab of forwards with a policy, and DNS answers to feed it. */
import { type Denial, Policy, type PolicyOptions } from '../../../lib/network/policy/policy.js';
import { Lab } from '../forwards/lab.js';

export class PolicyLab extends Lab {
  readonly policy: Policy;
  readonly forwardSet = this.forwards();
  readonly denied: Denial[] = [];

  constructor(options?: PolicyOptions, rules?: string) {
    super(rules);
    this.policy = new Policy(this.router, this.chains, this.review, this.forwardSet);
    this.policy.events.on('denied', (denial) => this.denied.push(denial));
    if (options !== undefined) this.policy.apply(options);
  }

  /** An answer to the guest 10.0.0.2 passes the DNS service. */
  answer(name: string, records: readonly DnsRecord[], from = 'lan') {
    const bytes = dnsAnswer(name, records);
    return this.policy.observeDnsAnswer(bytes, this.nowMs, { address: '10.0.0.2', interface: from });
  }

  /** Whether a new connection of the guest gets out. */
  passes(packet: string): boolean {
    return this.send('lan', packet).some((sent) => sent.startsWith('wan: ') && !sent.includes('RST'));
  }
}

export interface DnsRecord {
  readonly owner?: string;
  readonly type: 'A' | 'AAAA' | 'CNAME';
  /** Address bytes, or a name. */
  readonly value: readonly number[] | string;
  readonly ttl?: number;
}

const TYPES = { A: 1, CNAME: 5, AAAA: 28 } as const;

/** A DNS answer without compression. */
export function dnsAnswer(name: string, records: readonly DnsRecord[], code = 0): Uint8Array {
  const bytes: number[] = [0x12, 0x34, 0x81, 0x80 | code, 0, 1, 0, records.length, 0, 0, 0, 0];
  bytes.push(...nameBytes(name), 0, 1, 0, 1);
  for (const { owner = name, type, value, ttl = 300 } of records) {
    const data = typeof value === 'string' ? nameBytes(value) : value;
    bytes.push(...nameBytes(owner), 0, TYPES[type], 0, 1);
    bytes.push((ttl >>> 24) & 255, (ttl >>> 16) & 255, (ttl >>> 8) & 255, ttl & 255);
    bytes.push(data.length >>> 8, data.length & 255, ...data);
  }
  return Uint8Array.from(bytes);
}

function nameBytes(name: string): number[] {
  return [...name.split('.').flatMap((label) => [label.length, ...new TextEncoder().encode(label)]), 0];
}
