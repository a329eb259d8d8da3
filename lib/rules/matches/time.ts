/**
 * time: when the packet comes, by the wall clock. Hot.
 */
import type { Packet } from '../../wire/packet.js';
import type { TimeMatch } from '../ast.js';
import type { Match, RuleContext } from '../context.js';

const DAY_SECONDS = 86_400;
/** 1970-01-01 was a Thursday, and Monday is day 1. */
const FIRST_WEEKDAY = 3;
const ALL_MONTH_DAYS = 0xfffffffe | 0;

export class WallTimeMatch implements Match {
  readonly #wallTimeMs: (nowMs: number) => number;
  readonly #spec: TimeMatch;
  readonly #monthDays: number;

  /** The kernel's time zone is UTC here. */
  constructor(spec: TimeMatch, wallTimeMs: (nowMs: number) => number) {
    this.#spec = spec;
    this.#monthDays = spec.monthDays | 0;
    this.#wallTimeMs = wallTimeMs;
  }

  matches(_packet: Packet, context: RuleContext): 0 | 1 {
    const spec = this.#spec;
    const seconds = Math.floor(this.#wallTimeMs(context.nowMs) / 1000);
    if (seconds < spec.dateStart || seconds > spec.dateStop) return 0;
    let day = Math.floor(seconds / DAY_SECONDS);
    const second = seconds - day * DAY_SECONDS;
    if (spec.dayStart < spec.dayStop) {
      if (second < spec.dayStart || second > spec.dayStop) return 0;
    } else {
      if (second < spec.dayStart && second > spec.dayStop) return 0;
      // The hours after midnight belong to the day on which the span began.
      if (spec.contiguous && second <= spec.dayStop) day--;
    }
    const weekday = ((day + FIRST_WEEKDAY) % 7) + 1;
    if (((spec.weekDays >>> weekday) & 1) === 0) return 0;
    if (this.#monthDays === ALL_MONTH_DAYS) return 1;
    return (this.#monthDays >>> monthDay(day)) & 1 ? 1 : 0;
  }
}

/** Day of the month, 1-31, of a day counted from 1970-01-01 in the Gregorian calendar. */
function monthDay(day: number): number {
  // Years begin in March here, so that leap days come last; 146,097 days are 400 years.
  const shifted = (day + 719_468) % 146_097;
  const year = Math.floor(
    (shifted - Math.floor(shifted / 1460) + Math.floor(shifted / 36_524) - Math.floor(shifted / 146_096)) /
      365,
  );
  const dayOfYear = shifted - (365 * year + Math.floor(year / 4) - Math.floor(year / 100));
  const month = Math.floor((5 * dayOfYear + 2) / 153);
  return dayOfYear - Math.floor((153 * month + 2) / 5) + 1;
}
