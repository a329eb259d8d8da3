/**
 * The flow table as `conntrack -L` prints it (conntrack-tools 1.4). Cold.
 */
import type { Connection, Counts, Tuple } from './connection.js';
import type { ExpectedConnection } from './expected-connection.js';

/** `plain` as `conntrack -L`, `extended` as `conntrack -L -o extended`. */
export type DumpForm = 'plain' | 'extended';

/** One connection as a line, without line end; the time left in whole seconds, rounded down. */
export function formatConnection(connection: Connection, form: DumpForm = 'plain'): string {
  const { family, protocolName, protocol, state, zone, zoneDirection } = connection;
  const words: string[] = [];
  if (form === 'extended') words.push(`ipv${family}     ${family === 4 ? 2 : 10}`);
  words.push(`${protocolName.padEnd(8)} ${protocol}`, String(Math.floor(connection.remainingMs / 1000)));
  if (state !== undefined) words.push(state);
  words.push(...tupleWords(connection.original));
  if (zone !== 0 && zoneDirection === 'original') words.push(`zone-orig=${zone}`);
  words.push(...countWords(connection.originalCounts));
  if (!connection.seenReply) words.push('[UNREPLIED]');
  words.push(...tupleWords(connection.reply));
  if (zone !== 0 && zoneDirection === 'reply') words.push(`zone-reply=${zone}`);
  words.push(...countWords(connection.replyCounts));
  if (connection.assured) words.push('[ASSURED]');
  words.push(`mark=${connection.mark}`);
  if (zone !== 0 && zoneDirection === 'both') words.push(`zone=${zone}`);
  if (connection.helper !== undefined) words.push(`helper=${connection.helper}`);
  words.push('use=1');
  return words.join(' ');
}

/** One expectation as `conntrack -L expect` prints it, without line end. */
export function formatExpectation(expected: ExpectedConnection): string {
  const { family, master, source, sourcePort, destination, destinationPort, zone } = expected;
  const [any, all] =
    family === 4 ? ['0.0.0.0', '255.255.255.255'] : ['::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'];
  const words = [
    `${Math.floor(expected.remainingMs / 1000)} proto=${expected.protocol}`,
    `src=${source ?? any} dst=${destination} sport=${sourcePort ?? 0} dport=${destinationPort}`,
    `mask-src=${source === undefined ? any : all} mask-dst=${all}`,
    `sport=${sourcePort === undefined ? 0 : 0xffff} dport=65535`,
    `master-src=${master.original.source} master-dst=${master.original.destination}`,
    `sport=${master.original.sourcePort} dport=${master.original.destinationPort}`,
  ];
  if (zone !== 0) words.push(`zone=${zone}`);
  words.push('class=0');
  if (master.helper !== undefined) words.push(`helper=${master.helper}`);
  return words.join(' ');
}

function tupleWords(tuple: Tuple): string[] {
  const words = [`src=${tuple.source}`, `dst=${tuple.destination}`];
  if (tuple.sourcePort !== undefined)
    words.push(`sport=${tuple.sourcePort}`, `dport=${tuple.destinationPort}`);
  if (tuple.type !== undefined) words.push(`type=${tuple.type}`, `code=${tuple.code}`, `id=${tuple.id}`);
  if (tuple.sourceKey !== undefined) {
    words.push(
      `srckey=0x${tuple.sourceKey.toString(16)}`,
      `dstkey=0x${(tuple.destinationKey ?? 0).toString(16)}`,
    );
  }
  return words;
}

function countWords(counts: Counts): string[] {
  return [`packets=${counts.packets}`, `bytes=${counts.bytes}`];
}
