/**
 * A scenario under construction: its hosts, its steps, and packets that answer what really came out. An answer's
 * addresses and ports are patched from the output of an earlier step, so that it fits whatever NAT chose.
 */
import { parseAddress } from '../../../lib/rules/text/address.js';
import { encodeDraft, newDraft, type PacketDraft, Protocol } from '../../../lib/scenario/draft.js';
import { formatHex } from '../../../lib/scenario/hex.js';
import type { Patch, TraceStep } from '../../../lib/scenario/trace.js';
import type { Dice } from './dice.js';

export type Side = 'lan' | 'wan' | 'dmz' | 'local';

/** An address, and where packets from it come in. */
export interface Host {
  readonly side: Side;
  readonly address: string;
}

const HOSTS: Readonly<Record<4 | 6, Readonly<Record<Side, readonly string[]>>>> = {
  4: {
    lan: ['10.0.0.2', '10.0.0.3', '10.0.0.4'],
    wan: ['198.51.100.7', '198.51.100.8', '203.0.113.9'],
    dmz: ['10.0.1.5', '10.0.1.6'],
    local: ['203.0.113.1', '10.0.0.1'],
  },
  6: {
    lan: ['fd00:a::2', 'fd00:a::3', 'fd00:a::4'],
    wan: ['2001:db8:2::7', '2001:db8:2::8', '2001:db8:1::9'],
    dmz: ['fd00:b::5', 'fd00:b::6'],
    local: ['2001:db8:1::1', 'fd00:a::1'],
  },
};

export interface Extra {
  readonly patch?: readonly Patch[];
  readonly advanceMs?: number;
}

/** What a step holds that later steps refer to. */
export interface Sent {
  readonly step: number;
  readonly draft: PacketDraft;
}

export class Scene {
  readonly dice: Dice;
  readonly version: 4 | 6;
  /** Whether answers have to follow NAT. */
  readonly hasNat: boolean;
  readonly steps: TraceStep[] = [];
  #id = 0x1000;

  constructor(dice: Dice, version: 4 | 6, hasNat: boolean) {
    this.dice = dice;
    this.version = version;
    this.hasNat = hasNat;
  }

  host(side: Side): Host {
    return { side, address: this.dice.oneOf(HOSTS[this.version][side]) };
  }

  /** A draft from one address to another with ids and a TTL as senders use them. */
  draft(protocol: number, source: string, destination: string): PacketDraft {
    const draft = newDraft(this.version, protocol);
    draft.source = this.#words(source);
    draft.destination = this.#words(destination);
    draft.id = this.version === 4 ? this.nextId() : 0;
    draft.df = this.version === 4 && this.dice.chance(70);
    draft.ttl = this.dice.weighted([
      [60, 64],
      [6, 128],
      [6, 63],
      [1, 2],
      [1, 1],
    ]);
    return draft;
  }

  nextId(): number {
    return this.#id++;
  }

  get icmp(): number {
    return this.version === 4 ? Protocol.ICMP : Protocol.ICMPV6;
  }

  send(from: Side, draft: PacketDraft, extra: Extra = {}): Sent {
    this.sendBytes(from, encodeDraft(draft), extra);
    return { step: this.steps.length - 1, draft };
  }

  sendBytes(from: Side, bytes: Uint8Array, { patch, advanceMs }: Extra = {}): number {
    this.steps.push({
      t: 0,
      in: from,
      packet: formatHex(bytes),
      ...(patch === undefined || patch.length === 0 ? {} : { patch }),
      ...(advanceMs === undefined ? {} : { advance_ms: advanceMs }),
    });
    return this.steps.length - 1;
  }

  wait(durationMs: number): void {
    this.steps.push({ t: 0, advance_ms: durationMs });
  }

  /** Patches that turn an answer round to what came out in `step`. */
  answer(step: number | undefined, ports: 'ports' | 'id' | 'none'): Patch[] {
    if (step === undefined || !this.hasNat) return [];
    const from = (set: string, get: string): Patch => ({ set, step, get });
    const patches = [from('src', 'dst'), from('dst', 'src')];
    if (ports === 'ports') patches.push(from('sport', 'dport'), from('dport', 'sport'));
    if (ports === 'id') patches.push(from('icmp_id', 'icmp_id'));
    return patches;
  }

  #words(address: string): PacketDraft['source'] {
    const words = parseAddress(address, this.version);
    if (words === undefined) throw new Error(`not an address: ${address}`);
    return words;
  }
}
