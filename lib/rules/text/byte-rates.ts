/**
 * Byte rates and sizes of hashlimit (`512kb/s`, `2mb`), with the kernel's rounding: rates are kept in steps of
 * 16 bytes per second. Cold.
 */

import { wholeNumber } from './numbers.js';
import type { Where } from './where.js';

const STEP_SHIFT = 4;
const COST_MAX = 0xffffffff;
const KILO = 1024;
const MEGA = 1024 * 1024;
const UNITS: Readonly<Record<string, number>> = { '': 1, k: KILO, kb: KILO, m: MEGA, mb: MEGA, b: 1 };

/** Bytes per second as kept; undefined if `text` is a rate of packets. */
export function byteRate(text: string, where: Where): number | undefined {
  const match = /^(\d+)([kmg]?)b(\/s(?:ec(?:ond)?)?)?$/i.exec(text);
  if (match === null) {
    if (/^\d+[kmg]?b\//i.test(text))
      where.refuse('value', 'byte rates are per second', 'number, then b/s, kb/s or mb/s');
    return undefined;
  }
  const bytes = Number(match[1]) * (UNITS[match[2]!.toLowerCase()] ?? Number.NaN);
  if (!(bytes >= 16 && bytes <= COST_MAX))
    where.refuse('value', 'byte rate out of range', '16b/s to 4095mb/s');
  return rateOfCost(costOf(bytes));
}

function costOf(bytes: number): number {
  return Math.floor(COST_MAX / (Math.floor(bytes / (1 << STEP_SHIFT)) + 1));
}

function rateOfCost(cost: number): number {
  const steps = cost === 0 ? COST_MAX : Math.floor(COST_MAX / cost);
  return (steps - 1) * (1 << STEP_SHIFT);
}

/** `5`, `5b`, `5kb`, `5mb`. */
export function parseBytes(text: string, where: Where): number {
  const match = /^(0x[0-9a-f]+|\d+)(kb?|mb?|b)?$/i.exec(text);
  const count = match === null ? undefined : wholeNumber(match[1]!, 0, COST_MAX);
  if (match === null || count === undefined)
    return where.refuse('value', 'not a size', 'number, then b, kb or mb');
  return count * UNITS[(match[2] ?? '').toLowerCase()]!;
}

const PRINTED_UNITS = [
  { name: 'mb', bytes: MEGA },
  { name: 'kb', bytes: KILO },
  { name: 'b', bytes: 1 },
] as const;

/** In the largest unit that it fills, the rest cut off, as Linux prints bursts. */
export function formatBytes(bytes: number): string {
  const unit = PRINTED_UNITS.find((one) => bytes >= one.bytes) ?? PRINTED_UNITS[2];
  return `${Math.floor(bytes / unit.bytes)}${unit.name}`;
}

/** In the largest unit in which the kernel keeps the same rate. */
export function formatByteRate(bytesPerSecond: number): string {
  const fits = (unit: number): boolean =>
    bytesPerSecond >= unit && costOf(bytesPerSecond - (bytesPerSecond % unit)) === costOf(bytesPerSecond);
  const unit = PRINTED_UNITS.find(({ bytes }) => fits(bytes)) ?? PRINTED_UNITS[2];
  return `${Math.floor(bytesPerSecond / unit.bytes)}${unit.name}/s`;
}
