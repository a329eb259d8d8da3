/**
 * Sets as `ipset save` prints them, without what only the kernel needs (initval, bucketsize). Cold.
 */

import type { SetElement, SetExtensions } from './element.js';
import { formatElementAddress, formatElementPort } from './elements-text.js';
import { HashSet } from './hash-set.js';
import { ListSet } from './list-set.js';
import { PortSet } from './port-set.js';
import type { SetHandle } from './set.js';

/** Lists come last: their members are made before them. */
export function printSets(handles: readonly SetHandle[], nowMs: number): string {
  const isList = ({ set }: SetHandle): boolean => set instanceof ListSet;
  const ordered = [...handles.filter((handle) => !isList(handle)), ...handles.filter(isList)];
  return ordered.flatMap((handle) => printSet(handle, nowMs)).join('');
}

function printSet({ name, set }: SetHandle, nowMs: number): string[] {
  const lines: string[] = [];
  const add = (text: string, element: SetElement, options: SetExtensions): void => {
    if (!element.hasExpired(nowMs))
      lines.push(`add ${name} ${text}${printFields(element, options, nowMs)}\n`);
  };
  if (set instanceof HashSet) {
    const { options } = set;
    const head = [
      `create ${name} ${options.type} family ${options.family === 4 ? 'inet' : 'inet6'}`,
      `hashsize ${options.hashsize} maxelem ${options.maxelem}`,
      options.maskText,
      printExtensions(options),
      options.forceadd ? 'forceadd' : '',
    ];
    lines.push(`${head.filter(Boolean).join(' ')}\n`);
    for (const element of set.elements()) {
      const address = formatElementAddress(element, options.family, set.hasExceptions);
      add(set.dimensions === 1 ? address : `${address},${formatElementPort(element)}`, element, options);
    }
  } else if (set instanceof PortSet) {
    const { options } = set;
    const head = [
      `create ${name} bitmap:port range ${options.first}-${options.last}`,
      printExtensions(options),
    ];
    lines.push(`${head.filter(Boolean).join(' ')}\n`);
    for (const element of set.elements()) add(String(element.key[5]), element, options);
  } else if (set instanceof ListSet) {
    const { options } = set;
    const head = [`create ${name} list:set size ${options.size}`, printExtensions(options)];
    lines.push(`${head.filter(Boolean).join(' ')}\n`);
    for (const { handle, element } of set.members) add(handle.name, element, options);
  }
  return lines;
}

function printExtensions({ timeoutSeconds, counters, comment, skbinfo }: SetExtensions): string {
  return [
    timeoutSeconds === undefined ? '' : `timeout ${timeoutSeconds}`,
    counters ? 'counters' : '',
    comment ? 'comment' : '',
    skbinfo ? 'skbinfo' : '',
  ]
    .filter(Boolean)
    .join(' ');
}

function printFields(element: SetElement, options: SetExtensions, nowMs: number): string {
  const parts: string[] = [];
  if (options.timeoutSeconds !== undefined) {
    const left = element.expiresMs === Number.POSITIVE_INFINITY ? 0 : (element.expiresMs - nowMs) / 1000;
    parts.push(
      `timeout ${Math.max(element.expiresMs === Number.POSITIVE_INFINITY ? 0 : 1, Math.floor(left))}`,
    );
  }
  if (element.nomatch === 1) parts.push('nomatch');
  if (options.counters) parts.push(`packets ${element.packets} bytes ${element.bytes}`);
  if (options.comment && element.comment !== '') parts.push(`comment "${element.comment}"`);
  if (options.skbinfo) parts.push(...printSkbinfo(element));
  return parts.map((part) => ` ${part}`).join('');
}

function printSkbinfo({ mark, markMask, priority, queue }: SetElement): string[] {
  const parts: string[] = [];
  if (mark !== 0 || markMask !== -1) {
    const mask = markMask === -1 ? '' : `/0x${(markMask >>> 0).toString(16)}`;
    parts.push(`skbmark 0x${(mark >>> 0).toString(16)}${mask}`);
  }
  if (priority !== 0)
    parts.push(`skbprio ${(priority >>> 16).toString(16)}:${(priority & 0xffff).toString(16)}`);
  if (queue !== 0) parts.push(`skbqueue ${queue}`);
  return parts;
}
