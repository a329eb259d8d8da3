/** Fragments whole, out of order, overlapping or tiny; IPv6 extension headers; packets with broken headers. */
import { encodeDraft, type PacketDraft, Protocol } from '../../../lib/scenario/draft.js';
import { fixChecksums, setU16 } from '../../../lib/scenario/fields.js';
import type { Host, Scene, Side } from './scene.js';

const FRAGMENT = 44;

/** A datagram or segment to be cut up or spoilt. */
function wholePacket(scene: Scene, from: Host, to: Host, length: number): PacketDraft {
  const { dice } = scene;
  const protocol = dice.weighted([
    [5, Protocol.UDP],
    [3, scene.icmp],
    [2, Protocol.TCP],
  ]);
  const draft = scene.draft(protocol, from.address, to.address);
  draft.df = false;
  draft.payload = Uint8Array.from({ length }, (_, i) => i);
  draft.sourcePort = dice.oneOf([4000, 4001]);
  draft.destinationPort = dice.oneOf([53, 80]);
  if (protocol === Protocol.TCP) {
    const flags = dice.oneOf([2, 16]);
    draft.tcp = {
      flags,
      seq: 1000,
      ack: flags === 2 ? 0 : 5,
      window: 64240,
      urgent: 0,
      options: new Uint8Array(0),
    };
  }
  if (protocol === scene.icmp) {
    draft.icmp = { type: scene.version === 4 ? 8 : 128, code: 0, rest: 0x70001 };
  }
  return draft;
}

/** One packet in fragments. */
export function sendFragments(scene: Scene, from: Host, to: Host): void {
  const { dice } = scene;
  const length = dice.oneOf([100, 600, 1400, 1500, 3000]);
  const bytes = encodeDraft(wholePacket(scene, from, to, length));
  const header = scene.version === 4 ? 20 : 40;
  const id = scene.nextId() + (scene.version === 4 ? 0 : 0x20000);
  const pieces = cut(scene, bytes.length - header);
  const patterns = dice.weighted<'right' | 'odd'>([
    [7, 'right'],
    [4, 'odd'],
  ]);
  if (patterns === 'odd') spoil(scene, pieces);
  if (dice.chance(30)) shuffle(scene, pieces);
  for (const piece of pieces) scene.sendBytes(from.side, fragment(scene, bytes, header, id, piece));
}

interface Piece {
  offset: number;
  length: number;
  hasMore: boolean;
}

function cut(scene: Scene, length: number): Piece[] {
  const { dice } = scene;
  const pieces: Piece[] = [];
  const size = dice.oneOf([8, 16, 64, 512, 1024, 1448]);
  const first = dice.chance(20) ? dice.oneOf([8, 16, 24]) : size;
  for (let at = 0; at < length && pieces.length < 6; ) {
    let piece = pieces.length === 0 ? first : size;
    if (pieces.length === 5 || at + piece >= length) piece = length - at;
    pieces.push({ offset: at, length: piece, hasMore: at + piece < length });
    at += piece;
  }
  // The last one may have to take more than fits a link.
  return pieces.map((piece) => ({ ...piece, length: Math.min(piece.length, 1448) }));
}

function spoil(scene: Scene, pieces: Piece[]): void {
  const { dice } = scene;
  const piece = dice.oneOf(pieces);
  switch (dice.below(7)) {
    case 0:
      pieces.push({ ...piece });
      return;
    case 1:
      pieces.splice(dice.below(pieces.length), 0, { ...piece, offset: Math.max(0, piece.offset - 8) });
      return;
    case 2:
      pieces.splice(dice.below(pieces.length), 0, { ...piece, offset: piece.offset + 8 });
      return;
    case 3:
      piece.hasMore = !piece.hasMore;
      return;
    case 4:
      piece.length = Math.max(1, piece.length - dice.between(1, 7));
      return;
    case 5:
      pieces.splice(pieces.indexOf(piece), 1);
      return;
    default:
      piece.offset = dice.oneOf([65528, 65512, 64000, 8]);
  }
}

function shuffle(scene: Scene, pieces: Piece[]): void {
  for (let i = pieces.length - 1; i > 0; i--) {
    const j = scene.dice.below(i + 1);
    [pieces[i], pieces[j]] = [pieces[j] as Piece, pieces[i] as Piece];
  }
}

function fragment(scene: Scene, whole: Uint8Array, header: number, id: number, piece: Piece): Uint8Array {
  const start = Math.min(header + piece.offset, whole.length - 1);
  const part = whole.slice(start, start + piece.length);
  const field = (piece.offset & ~7) | 0;
  if (scene.version === 4) {
    const bytes = new Uint8Array(header + part.length);
    bytes.set(whole.subarray(0, header));
    bytes.set(part, header);
    setU16(bytes, 2, bytes.length);
    setU16(bytes, 4, id);
    setU16(bytes, 6, (piece.hasMore ? 0x2000 : 0) | (field >> 3));
    fixChecksums(bytes);
    return bytes;
  }
  const bytes = new Uint8Array(header + 8 + part.length);
  bytes.set(whole.subarray(0, header));
  bytes[6] = FRAGMENT;
  setU16(bytes, 4, 8 + part.length);
  bytes[header] = whole[6] as number;
  setU16(bytes, header + 2, field | (piece.hasMore ? 1 : 0));
  setU16(bytes, header + 4, id >>> 16);
  setU16(bytes, header + 6, id & 0xffff);
  bytes.set(part, header + 8);
  return bytes;
}

/** A packet with IPv6 extension headers, of right and wrong lengths, in and out of order. */
export function sendExtensions(scene: Scene, from: Host, to: Host): void {
  const { dice } = scene;
  const draft = wholePacket(scene, from, to, dice.oneOf([0, 10, 100]));
  const extensions: PacketDraft['extensions'][number][] = [];
  for (let count = dice.between(1, 3); count > 0; count--) {
    const type = dice.weighted([
      [4, 0],
      [4, 60],
      [4, 43],
      [1, 51],
      [1, 135],
      [1, 139],
      [1, 59],
    ]);
    extensions.push({ type, body: extensionBody(scene, type) });
  }
  if (dice.chance(60)) extensions.sort((a, b) => order(a.type) - order(b.type));
  draft.extensions = extensions;
  if (dice.chance(25)) {
    draft.hasFragmentHeader = true;
    draft.id = 0x30000 + scene.nextId();
  }
  const bytes = encodeDraft(draft);
  if (dice.chance(20)) {
    const at = 40 + dice.below(Math.min(24, bytes.length - 40));
    bytes[at] = dice.below(256);
  }
  scene.sendBytes(from.side, bytes);
}

function order(type: number): number {
  return [0, 60, 43, 51].indexOf(type);
}

function extensionBody(scene: Scene, type: number): Uint8Array {
  const { dice } = scene;
  if (type === 43) {
    const left = dice.oneOf([0, 0, 0, 1]);
    return Uint8Array.of(2, dice.oneOf([0, 0, 2, 3, 4]), left, ...new Uint8Array(20));
  }
  if (type === 51) return Uint8Array.of(4, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, ...new Uint8Array(12));
  const units = dice.oneOf([0, 0, 1]);
  const body = [units];
  const length = units * 8 + 6;
  const option = dice.weighted([
    [6, [1, length - 2]],
    [1, [5, 2, 0, 0]],
    [1, [0x3e, 2, 1, 2]],
    [1, [0x7e, 2, 1, 2]],
    [1, [0xbe, 2, 1, 2]],
    [1, [0xfe, 2, 1, 2]],
    [1, [0xc2, 4, 0, 1, 0, 0]],
    [1, [0x31, 2, 0, 0]],
    [1, [1, 0, 0x31, 2, 0, 0]],
    [units, [7, 8, 0, 0, 0, 1, 0, 5, 0, 0]],
    [units, [4, 1, 0]],
    [1, [1, 200]],
  ]);
  body.push(...option);
  while (body.length < length + 1) body.push(0);
  return Uint8Array.from(body);
}

/** A packet with something broken. */
export function sendMalformed(scene: Scene, from: Host, to: Host): void {
  const { dice } = scene;
  const draft = wholePacket(scene, from, to, dice.oneOf([0, 8, 40]));
  let bytes: Uint8Array = encodeDraft(draft);
  const transport = scene.version === 4 ? 20 : 40;
  const kind = dice.below(8);
  if (kind === 0) bytes = bytes.slice(0, dice.between(1, bytes.length));
  else if (kind === 1) bytes[dice.below(transport)] = dice.below(256);
  else if (kind === 2) bytes[transport + dice.below(bytes.length - transport)] = dice.below(256);
  else if (kind === 3) {
    const length = dice.oneOf([0, 10, 19, 20, 21, bytes.length - 1, bytes.length + 1, 65535]);
    setU16(bytes, scene.version === 4 ? 2 : 4, length);
  } else if (kind === 4) {
    // Short transport headers, the lengths in order.
    bytes = bytes.slice(0, transport + dice.between(0, Math.min(20, bytes.length - transport)));
    setU16(bytes, scene.version === 4 ? 2 : 4, scene.version === 4 ? bytes.length : bytes.length - 40);
  } else if (kind === 5 && scene.version === 4) {
    draft.options = Uint8Array.from(
      dice.oneOf([
        [1, 1, 1, 0],
        [7, 7, 4, 0, 0, 0, 0, 0],
        // A timestamp option that is full: the router's clock shows in others.
        [68, 8, 9, 0, 1, 2, 3, 4],
        [131, 7, 4, 198, 51, 100, 7, 0],
        [148, 4, 0, 0],
        [130, 3, 0, 0],
        [7, 200, 4, 0],
        [99, 4, 1, 2],
      ]),
    );
    bytes = encodeDraft(draft);
  } else if (kind === 6) {
    const at = scene.version === 4 ? 12 : 8;
    const bad = dice.oneOf([0, 127, 224, 255, 240]);
    bytes[at + (dice.chance(50) ? 0 : scene.version === 4 ? 4 : 16)] = bad;
  } else if (draft.tcp !== undefined) {
    bytes[transport + 12] = dice.below(16) << 4;
  }
  if (bytes.length > transport + 8 && dice.chance(70)) fixChecksums(bytes);
  const side: Side = from.side === 'local' ? 'lan' : from.side;
  scene.sendBytes(side, bytes);
}
