/**
 * Resident memory: of a full table, per connection, and of one that has just been made. What a process with a small
 * table has after as many packets is taken off: code, and Node.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Kind } from '../path/frames.js';
import type { Subject } from '../subject.js';

const CHILD = fileURLToPath(new URL('./resident-child.js', import.meta.url));
const SMALL = 1024;
/** Packets that establish a connection. */
const ESTABLISHING = 3;

function residentBytes(kind: Kind, capacity: number, flows: number, packets: number): number {
  // V8 keeps a young generation of 8 or 16 MiB, as it comes: 8 bytes a connection of a million.
  const words = [
    '--expose-gc',
    '--max-semi-space-size=1',
    CHILD,
    kind,
    String(capacity),
    String(flows),
    String(packets),
  ];
  return Number(execFileSync(process.execPath, words, { encoding: 'utf8' }));
}

function full(kind: Kind, family: string): Subject {
  return {
    name: `memory/${kind}`,
    operation: `an ${family} connection with MASQUERADE in a full table, everything included`,
    unit: 'bytes',
    sizes: [1_048_576],
    quickSizes: [102_400],
    prepare: (flows) => ({
      warmUp: 0,
      most: 1,
      sample() {
        const without = residentBytes(kind, SMALL, SMALL, flows * ESTABLISHING);
        return (residentBytes(kind, flows, flows, SMALL * ESTABLISHING) - without) / flows;
      },
    }),
  };
}

const idle: Subject = {
  name: 'memory/idle',
  operation: 'a table with room for so many connections, a few of them there',
  unit: 'bytes',
  sizes: [1_048_576],
  prepare: (capacity) => ({
    warmUp: 0,
    most: 5,
    sample: () => residentBytes('udp', capacity, 16, 0) - residentBytes('udp', SMALL, 16, 0),
  }),
};

export const memories: Subject[] = [full('udp', 'IPv4'), full('udp6', 'IPv6'), idle];
