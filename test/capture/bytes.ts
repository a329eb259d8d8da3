/** Hand-made capture files for the tests: each field is written where the format's figure has it. */

import { concatenate } from '../../lib/capture/pcapng-writer.js';

export type Order = 'big' | 'little';

export function u8(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

export function u16(order: Order, ...values: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 2));
  values.forEach((value, i) => {
    view.setUint16(i * 2, value, order === 'little');
  });
  return new Uint8Array(view.buffer);
}

export function u32(order: Order, ...values: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  values.forEach((value, i) => {
    view.setUint32(i * 4, value, order === 'little');
  });
  return new Uint8Array(view.buffer);
}

export function hex(text: string): Uint8Array {
  const digits = text.replace(/\s+/g, '');
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    Number.parseInt(digits.slice(i * 2, i * 2 + 2), 16),
  );
}

export function toHex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function join(...parts: Uint8Array[]): Uint8Array {
  return concatenate(parts);
}

function padded(bytes: Uint8Array): Uint8Array {
  return join(bytes, new Uint8Array(-bytes.length & 3));
}

export function pcapHeader(order: Order, magic: number, linkType: number, snapLength = 262144): Uint8Array {
  return join(u32(order, magic), u16(order, 2, 4), u32(order, 0, 0, snapLength, linkType));
}

export function pcapRecord(
  order: Order,
  seconds: number,
  units: number,
  bytes: Uint8Array,
  original = bytes.length,
): Uint8Array {
  return join(u32(order, seconds, units, bytes.length, original), bytes);
}

export function block(order: Order, type: number, body: Uint8Array): Uint8Array {
  const length = 12 + padded(body).length;
  return join(u32(order, type, length), padded(body), u32(order, length));
}

export function option(order: Order, code: number, value: Uint8Array | string): Uint8Array {
  const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value;
  return join(u16(order, code, bytes.length), padded(bytes));
}

export function endOfOptions(): Uint8Array {
  return u8(0, 0, 0, 0);
}

export function section(order: Order, sectionLength = 0xffffffff): Uint8Array {
  return block(
    order,
    0x0a0d0d0a,
    join(u32(order, 0x1a2b3c4d), u16(order, 1, 0), u32(order, sectionLength, sectionLength)),
  );
}

export function interfaceBlock(
  order: Order,
  linkType: number,
  snapLength = 0,
  ...options: Uint8Array[]
): Uint8Array {
  return block(order, 1, join(u16(order, linkType, 0), u32(order, snapLength), ...options));
}

export function enhanced(
  order: Order,
  interfaceId: number,
  time: [high: number, low: number],
  bytes: Uint8Array,
  original = bytes.length,
  ...options: Uint8Array[]
): Uint8Array {
  const body = u32(order, interfaceId, time[0], time[1], bytes.length, original);
  return block(order, 6, join(body, padded(bytes), ...options));
}
