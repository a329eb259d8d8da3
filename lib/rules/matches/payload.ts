/**
 * Conditions on the packet's bytes: string, u32. Offsets count from the IP header. Hot.
 */
import type { Packet } from '../../wire/packet.js';
import type { StringMatch, U32Match } from '../ast.js';
import type { Match } from '../context.js';

const UPPER_A = 65;
const LOWER_A = 97;
const LOWER_Z = 122;

/** The byte as it is compared: letters become upper case if case is ignored. */
function folded(byte: number, ignoreCase: boolean): number {
  return ignoreCase && byte >= LOWER_A && byte <= LOWER_Z ? byte - LOWER_A + UPPER_A : byte;
}

/** Knuth, Morris and Pratt's search, whichever algorithm the rule names: no packet costs more than its length. */
export class PatternMatch implements Match {
  readonly #pattern: Uint8Array;
  /** [pattern] length of the longest proper border of each prefix. */
  readonly #borders: Int32Array;
  readonly #from: number;
  readonly #to: number;
  readonly #ignoreCase: boolean;
  readonly #negated: 0 | 1;

  constructor(spec: StringMatch) {
    this.#pattern = Uint8Array.from(spec.pattern, (byte) => folded(byte, spec.ignoreCase));
    this.#borders = borders(this.#pattern);
    this.#from = spec.from;
    this.#to = spec.to;
    this.#ignoreCase = spec.ignoreCase;
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet): 0 | 1 {
    return (this.#isIn(packet) ^ this.#negated) as 0 | 1;
  }

  #isIn(packet: Packet): 0 | 1 {
    const pattern = this.#pattern;
    const bytes = packet.bytes;
    const end = Math.min(packet.end, packet.start + this.#to);
    let matched = 0;
    for (let at = packet.start + this.#from; at < end; at++) {
      const byte = folded(bytes[at] as number, this.#ignoreCase);
      while (matched > 0 && pattern[matched] !== byte) matched = this.#borders[matched - 1] as number;
      if (pattern[matched] === byte) matched++;
      if (matched === pattern.length) return 1;
    }
    return 0;
  }
}

function borders(pattern: Uint8Array): Int32Array {
  const found = new Int32Array(pattern.length);
  let length = 0;
  for (let i = 1; i < pattern.length; i++) {
    while (length > 0 && pattern[length] !== pattern[i]) length = found[length - 1] as number;
    if (pattern[length] === pattern[i]) length++;
    found[i] = length;
  }
  return found;
}

const AND = 0;
const LEFT = 1;
const RIGHT = 2;
const AT = 3;

/** One test compiled: where to start, steps as pairs (operation, operand), ranges as pairs (low, high), unsigned. */
interface WordTest {
  readonly start: number;
  readonly steps: Float64Array;
  readonly ranges: Float64Array;
}

const OPERATIONS = { '&': AND, '<<': LEFT, '>>': RIGHT, '@': AT } as const;

export class WordMatch implements Match {
  readonly #tests: readonly WordTest[];
  readonly #negated: 0 | 1;

  constructor(spec: U32Match) {
    this.#tests = spec.tests.map(({ location, ranges }) => ({
      start: location[0]?.operand ?? 0,
      steps: Float64Array.from(
        location
          .slice(1)
          .flatMap(({ operator, operand }) => [operator === 'start' ? AND : OPERATIONS[operator], operand]),
      ),
      ranges: Float64Array.from(ranges.flatMap(({ low, high }) => [low, high])),
    }));
    this.#negated = spec.negated ? 1 : 0;
  }

  matches(packet: Packet): 0 | 1 {
    for (let i = 0; i < this.#tests.length; i++) {
      if (holds(this.#tests[i] as WordTest, packet) === 0) return this.#negated;
    }
    return (1 - this.#negated) as 0 | 1;
  }
}

/** A word outside the packet fails the test. */
function holds({ start, steps, ranges }: WordTest, packet: Packet): 0 | 1 {
  const length = packet.end - packet.start;
  if (start + 4 > length) return 0;
  let at = 0;
  let value = packet.i32(packet.start + start) >>> 0;
  for (let i = 0; i < steps.length; i += 2) {
    const operand = steps[i + 1] as number;
    switch (steps[i]) {
      case AND:
        value = (value & operand) >>> 0;
        break;
      case LEFT:
        value = (value << operand) >>> 0;
        break;
      case RIGHT:
        value >>>= operand;
        break;
      default:
        at += value;
        if (at + operand + 4 > length) return 0;
        value = packet.i32(packet.start + at + operand) >>> 0;
    }
  }
  for (let i = 0; i < ranges.length; i += 2) {
    if (value >= (ranges[i] as number) && value <= (ranges[i + 1] as number)) return 1;
  }
  return 0;
}
