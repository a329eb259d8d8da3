/**
 * UDP, pings and protocols without ports; ICMP errors about them and about anything that came out earlier, quoted in
 * full, cut short or falsified.
 */
import { encodeDraft, type PacketDraft, Protocol } from '../../../lib/scenario/draft.js';
import { fieldSpan, fixChecksums, quoteOffset, setU16, u16 } from '../../../lib/scenario/fields.js';
import { parseHex } from '../../../lib/scenario/hex.js';
import type { Host, Scene, Sent } from './scene.js';

const ECHO_REQUEST = { 4: 8, 6: 128 } as const;
const ECHO_REPLY = { 4: 0, 6: 129 } as const;
/** Types and codes that are errors. */
const ERRORS4: readonly (readonly [number, number])[] = [
  [3, 0],
  [3, 1],
  [3, 2],
  [3, 3],
  [3, 4],
  [3, 9],
  [3, 10],
  [3, 13],
  [3, 15],
  [4, 0],
  [5, 1],
  [11, 0],
  [11, 1],
  [12, 0],
];
const ERRORS6: readonly (readonly [number, number])[] = [
  [1, 0],
  [1, 1],
  [1, 3],
  [1, 4],
  [1, 7],
  [2, 0],
  [3, 0],
  [3, 1],
  [4, 0],
  [4, 1],
];

/** A pair that exchanges datagrams. */
export class Datagrams {
  readonly #scene: Scene;
  readonly #client: Host;
  readonly #server: Host;
  readonly #kind: 'udp' | 'ping' | 'other';
  readonly #ports: readonly [number, number];
  readonly #sent: Sent[] = [];

  constructor(
    scene: Scene,
    client: Host,
    server: Host,
    kind: 'udp' | 'ping' | 'other',
    ports: readonly [number, number],
  ) {
    this.#scene = scene;
    this.#client = client;
    this.#server = server;
    this.#kind = kind;
    this.#ports = ports;
  }

  step(mutationPercent: number): void {
    const { dice } = this.#scene;
    const isReply = this.#sent.length > 0 && dice.chance(45);
    const draft = this.#draft(isReply);
    if (dice.chance(mutationPercent)) this.#mutate(draft);
    const kind = this.#kind === 'udp' ? 'ports' : this.#kind === 'ping' ? 'id' : 'none';
    const from = dice.chance(80) ? this.#sent[0] : this.#sent.at(-1);
    const isAnswer = isReply && this.#server.side !== 'local';
    const patch = isAnswer ? this.#scene.answer(from?.step, kind) : [];
    const sent = this.#scene.send(isReply ? this.#server.side : this.#client.side, draft, { patch });
    if (!isReply) this.#sent.push(sent);
  }

  #draft(isReply: boolean): PacketDraft {
    const { dice, version } = this.#scene;
    const [from, to] = isReply ? [this.#server, this.#client] : [this.#client, this.#server];
    const [clientPort, serverPort] = this.#ports;
    if (this.#kind === 'udp') {
      const draft = this.#scene.draft(Protocol.UDP, from.address, to.address);
      draft.sourcePort = isReply ? serverPort : clientPort;
      draft.destinationPort = isReply ? clientPort : serverPort;
      draft.payload = new Uint8Array(dice.oneOf([0, 1, 5, 8, 100, 1000])).fill(0x64);
      if (version === 4 && dice.chance(8)) draft.sum = 0;
      return draft;
    }
    if (this.#kind === 'ping') {
      const draft = this.#scene.draft(this.#scene.icmp, from.address, to.address);
      const type = isReply ? ECHO_REPLY[version] : ECHO_REQUEST[version];
      draft.icmp = { type, code: 0, rest: ((clientPort << 16) | this.#scene.steps.length) >>> 0 };
      draft.payload = new Uint8Array(dice.oneOf([0, 8, 56, 1000])).fill(0x70);
      return draft;
    }
    const draft = this.#scene.draft(dice.oneOf([47, 50, 51, 89, 132, 136, 253]), from.address, to.address);
    if (draft.protocol === Protocol.SCTP || draft.protocol === Protocol.UDPLITE) {
      draft.sourcePort = isReply ? serverPort : clientPort;
      draft.destinationPort = isReply ? clientPort : serverPort;
    }
    if (draft.protocol === 47) draft.payload = Uint8Array.of(0, 0, 8, 0, 1, 2, 3, 4);
    else draft.payload = new Uint8Array(dice.oneOf([0, 3, 4, 8, 20, 100])).fill(0x31);
    return draft;
  }

  #mutate(draft: PacketDraft): void {
    const { dice, version } = this.#scene;
    const mutation = dice.below(6);
    if (mutation === 0) draft.sum = dice.below(65536);
    else if (mutation === 1 && draft.protocol === Protocol.UDP)
      draft.coverage = dice.oneOf([7, 8, 9, 2000, 65535]);
    else if (mutation === 2 && draft.icmp !== undefined) {
      draft.icmp = {
        ...draft.icmp,
        // No timestamp requests (13): the answer has the time of day.
        type:
          version === 4
            ? dice.oneOf([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19])
            : dice.oneOf([0, 5, 100, 127, 128, 129, 136, 137, 138, 140, 150, 200]),
        code: dice.chance(50) ? 0 : dice.below(5),
      };
    } else if (mutation === 3) draft.ttl = dice.oneOf([0, 1, 2, 255]);
    else if (mutation === 4) draft.tos = dice.below(256);
    else if (draft.protocol === Protocol.UDP) draft.sourcePort = dice.oneOf([0, 1, 65535]);
  }
}

/** An ICMP error about a packet that came out in an earlier step, or never did. */
export function sendError(scene: Scene): void {
  const { dice, steps } = scene;
  const candidates = steps.flatMap((step, k) => (step.packet === undefined ? [] : [k]));
  if (candidates.length === 0) return;
  const step = dice.chance(60) ? (candidates.at(-1) as number) : dice.oneOf(candidates);
  const about = steps[step] as (typeof steps)[number];
  const inside = parseHex(about.packet as string);
  const [type, code] = dice.oneOf(scene.version === 4 ? ERRORS4 : ERRORS6);
  // It comes from where the packet went: the other side.
  const side = about.in === 'wan' ? 'lan' : 'wan';
  const draft = scene.draft(scene.icmp, scene.host(side).address, scene.host('lan').address);
  const words = fieldSpan(inside, 'src');
  if (words === undefined) return;
  const address = inside.slice(words[0], words[1]);
  const mtu = scene.version === 4 ? (type === 3 && code === 4 ? 1400 : 0) : type === 2 ? 1400 : 0;
  draft.icmp = { type, code, rest: mtu };
  const length = dice.weighted([
    [50, scene.version === 4 ? 548 : 1232],
    [10, scene.version === 4 ? 28 : 48],
    [3, scene.version === 4 ? 27 : 47],
    [3, scene.version === 4 ? 20 : 40],
    [3, dice.between(0, 60)],
  ]);
  draft.payload = inside.slice(0, length);
  const bytes = encodeDraft(draft);
  const destination = scene.version === 4 ? 16 : 24;
  bytes.set(address, destination);
  fixChecksums(bytes);
  if (dice.chance(25)) {
    mutateQuote(scene, bytes);
    scene.sendBytes(side, bytes);
    return;
  }
  const patch = dice.chance(85)
    ? [
        { set: 'quote', step, get: 'packet', len: length },
        { set: 'dst', step, get: 'src' },
      ]
    : [{ set: 'quote', step, get: 'packet', len: length }];
  scene.sendBytes(side, bytes, { patch });
}

function mutateQuote(scene: Scene, bytes: Uint8Array): void {
  const { dice } = scene;
  const base = quoteOffset(bytes);
  if (base === undefined || bytes.length <= base) return;
  const field = dice.oneOf(['src', 'dst', 'sport', 'dport', 'icmp_id']);
  const span = fieldSpan(bytes, `inner.${field}`);
  if (span !== undefined && dice.chance(60)) {
    setU16(bytes, span[1] - 2, (u16(bytes, span[1] - 2) + 1) & 0xffff);
  } else {
    const at = base + dice.below(Math.min(bytes.length - base, 48));
    bytes[at] = dice.below(256);
  }
  if (dice.chance(90)) fixChecksums(bytes);
}
