/**
 * Dates, times and days of the time match. All in UTC: which zone they mean is the match's affair. Cold.
 */

import type { Reader } from './grammar.js';
import { wholeNumber } from './numbers.js';

export const DAY_NAMES = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

/** `hh:mm` or `hh:mm:ss` to seconds of the day. */
export const timeOfDay: Reader<number> = (text, { where }) => {
  const match = /^(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?$/.exec(text);
  const [h, m, s] = match === null ? [24, 0, 0] : [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
  if (h > 23 || m > 59 || s > 59) where.refuse('value', 'not a time of day', 'hh:mm or hh:mm:ss');
  return h * 3600 + m * 60 + s;
};

/** `YYYY[-MM[-DD[Thh[:mm[:ss]]]]]` to seconds since 1970, up to 2038. */
export const dateTime: Reader<number> = (text, { where }) => {
  const match = /^(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})(?:T(\d{1,2})(?::(\d{1,2})(?::(\d{1,2}))?)?)?)?)?$/.exec(
    text,
  );
  const [year, month, day, h, m, s] = [1, 2, 3, 4, 5, 6].map((i) =>
    Number(match?.[i] ?? (i === 2 || i === 3 ? 1 : 0)),
  );
  const valid =
    match !== null &&
    year! >= 1970 &&
    year! <= 2038 &&
    month! >= 1 &&
    month! <= 12 &&
    day! >= 1 &&
    day! <= 31;
  if (!valid || h! > 23 || m! > 59 || s! > 59) {
    return where.refuse('value', 'not a date from 1970 to 2038', 'YYYY[-MM[-DD[Thh[:mm[:ss]]]]]');
  }
  return Date.UTC(year!, month! - 1, day!, h!, m!, s!) / 1000;
};

/** Days of the month between commas; bit n for day n. */
export const monthDays: Reader<number> = (text, { where }) =>
  text.split(',').reduce((bits, part) => {
    const day = wholeNumber(part, 1, 31) ?? where.refuse('value', `'${part}' is no day of a month`, '1-31');
    return (bits | (1 << day)) >>> 0;
  }, 0);

/** Days of the week by number (Monday 1) or by their first two or more letters; bit n for day n. */
export const weekDays: Reader<number> = (text, { where }) =>
  text.split(',').reduce((bits, part) => {
    const number = wholeNumber(part, 1, 7);
    const named =
      DAY_NAMES.findIndex((name) => part.length >= 2 && part.slice(0, 2) === name.slice(0, 2)) + 1;
    const day = number ?? named;
    return day === 0
      ? where.refuse('value', `'${part}' is no day of the week`, 'Mon to Sun or 1-7')
      : bits | (1 << day);
  }, 0);

export function formatTime(seconds: number): string {
  return [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60].map(two).join(':');
}

export function formatDate(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 19);
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
