/**
 * A replayed packet's fate in words, for comments and logs.
 */
import type { Connection, Tuple } from '../conntrack/connection.js';
import type { Passed } from '../scenario/replay.js';

/** `dropped by rule-policy at filter/FORWARD policy`, `delivered to the router`. */
export function describePassed(passed: Passed): string {
  const state = passed.state === undefined ? '' : `, ${passed.state}`;
  switch (passed.fate) {
    case 'dropped': {
      const { place } = passed;
      const at = place === undefined ? '' : ` at ${place.table}/${place.chain} ${place.number}`;
      return `dropped: ${passed.reason}${at}${state}`;
    }
    case 'delivered':
      return `delivered to the router${state}`;
    case 'held':
      return 'held: a fragment that waits for the rest';
    case 'skipped':
      return `not replayed: ${passed.reason}`;
    default:
      return `forwarded${state}`;
  }
}

/** `NEW, flow udp 10.0.0.2:5000 > 1.1.1.1:53 | 1.1.1.1:53 > 203.0.113.1:5000`; '' without a connection. */
export function describeFlow({ state, connection }: Passed): string {
  const words = state === undefined ? '' : state;
  if (connection === undefined) return words;
  return `${words === '' ? '' : `${words}, `}flow ${formatFlow(connection)}`;
}

/** Protocol and both tuples. */
export function formatFlow({ protocolName, original, reply }: Connection): string {
  return `${protocolName} ${formatTuple(original)} | ${formatTuple(reply)}`;
}

function formatTuple(tuple: Tuple): string {
  const { source, destination } = tuple;
  const port = (address: string, number: number | undefined) => {
    if (number === undefined) return address;
    return address.includes(':') ? `[${address}]:${number}` : `${address}:${number}`;
  };
  const id = tuple.id === undefined ? '' : ` id ${tuple.id}`;
  return `${port(source, tuple.sourcePort)} > ${port(destination, tuple.destinationPort)}${id}`;
}
