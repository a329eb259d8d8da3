import { Packet } from '../../lib/wire/packet.js';
import { makeIpv4, makeIpv6, put16, put32, sealIpv4 } from '../../lib/wire/segment.js';

/** A view of `bytes` as it came in by interface 1. */
export function view(bytes: Uint8Array): Packet {
  const packet = new Packet();
  packet.parse(bytes.slice());
  packet.inInterface = 1;
  return packet;
}

export interface Piece {
  readonly from: number;
  readonly to: number;
}

/** Pieces of `[0, total)` at cuts that are multiples of 8. */
export function cut(total: number, cuts: readonly number[]): Piece[] {
  const at = [...new Set(cuts.map((one) => one * 8))].filter((one) => one > 0 && one < total);
  const edges = [0, ...at.sort((a, b) => a - b), total];
  return edges.slice(1).map((to, i) => ({ from: edges[i] as number, to }));
}

/** An IPv4 UDP packet whose payload, header included, is `payload`. */
export function whole4(payload: Uint8Array, tos = 0): Uint8Array {
  const fields = {
    tos,
    id: 7,
    fragment: 0,
    ttl: 64,
    protocol: 17,
    source: 0x0a000002,
    destination: 0x08080808,
  };
  const bytes = makeIpv4(fields, new Uint8Array(0), payload.length);
  bytes.set(payload, 20);
  return bytes;
}

export function fragment4(payload: Uint8Array, { from, to }: Piece, tos = 0, flags = 0): Uint8Array {
  const bytes = whole4(payload.slice(from, to), tos);
  put16(bytes, 6, flags | (from >>> 3) | (to < payload.length ? 0x2000 : 0));
  sealIpv4(bytes, 0, 20);
  return bytes;
}

const ADDRESSES = Int32Array.from([0xfd00000a, 0, 0, 2, 0x20010db8, 0, 0, 7]);

/** An IPv6 UDP packet whose payload, header included, is `payload`. */
export function whole6(payload: Uint8Array): Uint8Array {
  const bytes = makeIpv6({ trafficClass: 0, next: 17, hopLimit: 64, addresses: ADDRESSES }, payload.length);
  bytes.set(payload, 40);
  return bytes;
}

export function fragment6(payload: Uint8Array, { from, to }: Piece): Uint8Array {
  const fields = { trafficClass: 0, next: 44, hopLimit: 64, addresses: ADDRESSES };
  const bytes = makeIpv6(fields, 8 + to - from);
  bytes[40] = 17;
  put16(bytes, 42, from | (to < payload.length ? 1 : 0));
  put32(bytes, 44, 0x1234);
  bytes.set(payload.subarray(from, to), 48);
  return bytes;
}
