/**
 * TCP connections: a client and a server that mostly keep to the protocol, and packets that do not: sequence and
 * acknowledgment numbers at and over the edges of the window, odd flags, windows and options, retransmissions,
 * resets, tuples used again.
 */
import { type PacketDraft, Protocol, type TcpDraft } from '../../../lib/scenario/draft.js';
import type { Host, Scene, Sent } from './scene.js';

const FIN = 1;
const SYN = 2;
const RST = 4;
const PSH = 8;
const ACK = 16;
const URG = 32;
const ECE = 64;
const CWR = 128;

const CLIENT = 0;
const SERVER = 1;
type Way = 0 | 1;

interface End {
  /** Next sequence number it sends. */
  next: number;
  /** What it has acknowledged of the other's. */
  acked: number;
  window: number;
  scale: number;
  hasFinished: boolean;
}

export interface TcpOptions {
  readonly client: Host;
  readonly server: Host;
  readonly clientPort: number;
  readonly serverPort: number;
}

/** Sequence numbers that wrap soon, or not. */
const STARTS = [0, 1, 1000, 0x7fffff00, 0x80000000, 0xfffffe00, 0xffffffff];
const DISTANCES = [
  1, -1, 2, -2, 100, -100, 1459, 1460, 1461, 65534, 65535, 65536, -65535, -65536, 66000, -66000, 66001,
  131072, -131072, 4194240, 0x40000000, 0x7fffffff, -0x80000000, -0x40000000,
];

export class TcpFlow {
  readonly #scene: Scene;
  readonly #options: TcpOptions;
  readonly #ends: [End, End];
  readonly #sent: [Sent[], Sent[]] = [[], []];
  #hasTimestamps = false;
  /** How far the handshake is: 0 SYN, 1 SYN/ACK, 2 ACK, 3 done. */
  #handshake = 0;

  constructor(scene: Scene, options: TcpOptions) {
    this.#scene = scene;
    this.#options = options;
    this.#ends = [this.#newEnd(), this.#newEnd()];
    this.#open();
  }

  /** One more packet. */
  step(mutationPercent: number): void {
    const { dice } = this.#scene;
    if (dice.chance(mutationPercent)) this.#odd();
    else this.#next();
  }

  #newEnd(): End {
    const { dice } = this.#scene;
    return {
      next: dice.chance(70) ? dice.between(1000, 1000000) : dice.oneOf(STARTS),
      acked: 0,
      window: dice.weighted([
        [6, 64240],
        [3, 65535],
        [1, 1000],
        [1, 1],
        [1, 0],
      ]),
      scale: dice.weighted([
        [5, -1],
        [4, 7],
        [1, 0],
        [1, 2],
        [1, 14],
        [1, 15],
      ]),
      hasFinished: false,
    };
  }

  #open(): void {
    this.#handshake = 0;
    this.#hasTimestamps = this.#scene.dice.chance(25);
    for (const end of this.#ends) end.hasFinished = false;
  }

  /** A packet that keeps to the protocol. */
  #next(): void {
    const { dice } = this.#scene;
    const [client, server] = this.#ends;
    if (this.#handshake === 0) {
      this.#handshake = 1;
      this.#emit(CLIENT, SYN | (dice.chance(10) ? ECE | CWR : 0), 0, this.#synOptions(client));
      return;
    }
    if (this.#handshake === 1) {
      this.#handshake = 2;
      server.acked = client.next;
      this.#emit(SERVER, SYN | ACK, 0, this.#synOptions(server));
      return;
    }
    if (this.#handshake === 2) {
      this.#handshake = 3;
      client.acked = server.next;
      this.#emit(CLIENT, ACK, dice.chance(20) ? 10 : 0);
      return;
    }
    const way = dice.below(2) as Way;
    const [self, other] = [this.#ends[way] as End, this.#ends[1 - way] as End];
    if (client.hasFinished && server.hasFinished && dice.chance(60)) {
      if (dice.chance(50)) {
        this.#open();
        const kind = dice.below(3);
        if (kind > 0) client.next = (kind === 1 ? client.next + 100000 : dice.u32()) >>> 0;
        server.next = dice.u32();
        this.#next();
        return;
      }
      self.acked = other.next;
      this.#emit(way, ACK, 0);
      return;
    }
    self.acked = other.next;
    const action = dice.weighted([
      [self.hasFinished ? 0 : 8, 'data'],
      [6, 'ack'],
      [self.hasFinished ? 0 : 4, 'fin'],
      [1, 'rst'],
      [1, 'window'],
    ]);
    if (action === 'data') this.#emit(way, ACK | PSH, dice.oneOf([1, 4, 10, 100, 500, 1400]));
    else if (action === 'ack') this.#emit(way, ACK, 0);
    else if (action === 'fin') {
      self.hasFinished = true;
      this.#emit(way, FIN | ACK, dice.chance(20) ? 10 : 0);
    } else if (action === 'rst') {
      this.#emit(way, RST | (dice.chance(50) ? ACK : 0), 0);
      if (dice.chance(50)) this.#open();
    } else {
      self.window = dice.oneOf([0, 1, 100, 8192, 65535]);
      this.#emit(way, ACK, 0);
    }
  }

  /** A packet that a peer in its right mind would not send here. */
  #odd(): void {
    const { dice } = this.#scene;
    const way = dice.below(2) as Way;
    const [self, other] = [this.#ends[way] as End, this.#ends[1 - way] as End];
    const kind = dice.weighted([
      [6, 'seq'],
      [5, 'ack'],
      [5, 'again'],
      [4, 'rst'],
      [4, 'syn'],
      [2, 'synack'],
      [2, 'flags'],
      [2, 'window'],
      [2, 'options'],
      [1, 'fin'],
      [1, 'sum'],
      [1, 'other'],
    ]);
    const far = () => dice.oneOf(DISTANCES);
    const base: Partial<TcpDraft> = { seq: self.next, ack: other.next };
    const payload = dice.chance(40) ? dice.oneOf([1, 10, 100]) : 0;
    switch (kind) {
      case 'seq':
        this.#emitAs(way, { ...base, flags: ACK, seq: (self.next + far()) >>> 0 }, payload);
        return;
      case 'ack':
        this.#emitAs(way, { ...base, flags: ACK, ack: (other.next + far()) >>> 0 }, payload);
        return;
      case 'again':
        this.#again(way);
        return;
      case 'rst': {
        const seq = (self.next + (dice.chance(50) ? 0 : far())) >>> 0;
        const ack = dice.chance(70) ? (other.next + (dice.chance(60) ? 0 : far())) >>> 0 : 0;
        this.#emitAs(way, { flags: RST | (dice.chance(50) ? ACK : 0), seq, ack }, dice.chance(10) ? 4 : 0);
        return;
      }
      case 'syn': {
        const seq = dice.chance(50) ? (self.next + far()) >>> 0 : dice.u32();
        const options = dice.chance(60) ? this.#synOptions(self) : undefined;
        this.#emitAs(way, { flags: SYN, seq, ack: 0, ...(options ? { options } : {}) }, 0);
        if (dice.chance(40)) {
          this.#open();
          this.#handshake = 1;
          (this.#ends[way] as End).next = (seq + 1) >>> 0;
        }
        return;
      }
      case 'synack': {
        const ack = dice.chance(60) ? other.next : (other.next + far()) >>> 0;
        const seq = dice.chance(60) ? (self.next - 1) >>> 0 : dice.u32();
        this.#emitAs(way, { flags: SYN | ACK, seq, ack, options: this.#synOptions(self) }, 0);
        return;
      }
      case 'flags':
        this.#emitAs(way, { ...base, flags: dice.below(256), urgent: dice.chance(30) ? 1 : 0 }, payload);
        return;
      case 'window':
        this.#emitAs(way, { ...base, flags: ACK, window: dice.oneOf([0, 1, 2, 1000, 65535]) }, payload);
        return;
      case 'options':
        this.#emitAs(
          way,
          { ...base, flags: ACK | (dice.chance(20) ? SYN : 0), options: this.#oddOptions() },
          payload,
        );
        return;
      case 'fin':
        this.#emitAs(way, { ...base, flags: FIN | (dice.chance(70) ? ACK : 0) }, payload);
        if (dice.chance(50)) self.next = (self.next + 1 + payload) >>> 0;
        return;
      case 'sum': {
        const draft = this.#draft(way, { ...base, flags: ACK }, payload);
        draft.sum = dice.below(65536);
        this.#scene.send(this.#side(way), draft);
        return;
      }
      default:
        this.#emitAs(way, { ...base, flags: ACK | PSH | URG, urgent: 3 }, payload);
    }
  }

  /** An earlier packet of that side once more. */
  #again(way: Way): void {
    const { dice } = this.#scene;
    const earlier = this.#sent[way];
    if (earlier.length === 0) {
      this.#next();
      return;
    }
    const { draft } = dice.chance(50) ? (earlier.at(-1) as Sent) : dice.oneOf(earlier);
    for (
      let times = dice.weighted([
        [6, 1],
        [2, 2],
        [1, 4],
      ]);
      times > 0;
      times--
    ) {
      const copy = { ...draft, id: this.#scene.version === 4 ? this.#scene.nextId() : 0 };
      this.#scene.send(this.#side(way), copy, { patch: this.#patches(way) });
    }
  }

  #side(way: Way): Host['side'] {
    return way === CLIENT ? this.#options.client.side : this.#options.server.side;
  }

  #emit(way: Way, flags: number, length: number, options?: Uint8Array): void {
    const self = this.#ends[way] as End;
    const ack = (flags & ACK) === 0 ? 0 : self.acked;
    this.#emitAs(way, { flags, seq: self.next, ack, ...(options ? { options } : {}) }, length);
    const extra = (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
    self.next = (self.next + length + extra) >>> 0;
  }

  #emitAs(way: Way, tcp: Partial<TcpDraft>, length: number): void {
    const draft = this.#draft(way, tcp, length);
    this.#sent[way].push(this.#scene.send(this.#side(way), draft, { patch: this.#patches(way) }));
  }

  /** Answers follow what NAT made of the client's packets: mostly of the first. */
  #patches(way: Way) {
    if (way === CLIENT || this.#options.server.side === 'local') return [];
    const { dice } = this.#scene;
    const sent = this.#sent[CLIENT];
    const from = dice.chance(80) ? sent[0] : sent.at(-1);
    return this.#scene.answer(from?.step, 'ports');
  }

  #draft(way: Way, tcp: Partial<TcpDraft>, length: number): PacketDraft {
    const { client, server, clientPort, serverPort } = this.#options;
    const [from, to] = way === CLIENT ? [client, server] : [server, client];
    const draft = this.#scene.draft(Protocol.TCP, from.address, to.address);
    draft.sourcePort = way === CLIENT ? clientPort : serverPort;
    draft.destinationPort = way === CLIENT ? serverPort : clientPort;
    const self = this.#ends[way] as End;
    draft.tcp = {
      flags: ACK,
      seq: 0,
      ack: 0,
      window: self.window,
      urgent: 0,
      options: this.#hasTimestamps ? this.#timestamps() : new Uint8Array(0),
      ...tcp,
    };
    draft.payload = new Uint8Array(length).fill(0x78);
    return draft;
  }

  #timestamps(): Uint8Array {
    const now = 1000 + this.#scene.steps.length;
    return Uint8Array.of(1, 1, 8, 10, 0, 0, now >> 8, now & 255, 0, 0, 3, 232);
  }

  #synOptions(end: End): Uint8Array {
    const { dice } = this.#scene;
    const options = [2, 4, 5, 180];
    if (dice.chance(60)) options.push(4, 2, 1, 1);
    if (end.scale >= 0) options.push(1, 3, 3, end.scale);
    return Uint8Array.from(options);
  }

  #oddOptions(): Uint8Array {
    const { dice } = this.#scene;
    const word = (value: number) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
    const end = this.#ends[dice.below(2)] as End;
    const block = () => [
      ...word((end.next + dice.oneOf(DISTANCES)) >>> 0),
      ...word((end.next + dice.between(-100, 2000)) >>> 0),
    ];
    return Uint8Array.from(
      dice.weighted<() => number[]>([
        [4, () => [1, 1, 5, 10, ...block()]],
        [2, () => [1, 1, 5, 18, ...block(), ...block()]],
        [1, () => [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 5, 10, ...block()]],
        [1, () => [3, 3, dice.below(256), 0]],
        [1, () => [5, 9, ...block().slice(0, 6)]],
        [1, () => [2, 0, 0, 0]],
        [1, () => [dice.below(256), dice.below(12), dice.below(256), dice.below(256)]],
        [1, () => [1, 1, 1, 5]],
        [1, () => [...dice.bytes(8)]],
      ])(),
    );
  }
}
