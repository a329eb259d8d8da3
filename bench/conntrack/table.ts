/** The connection table alone: lookups that hit and miss, and a connection coming while the oldest goes. */
import { Direction, type EntryId } from '../../lib/conntrack/entries.js';
import { ConntrackTable, DestroyReason } from '../../lib/conntrack/table.js';
import { emptyKey, originalKey, replyKey, shuffled } from '../flows.js';
import { BATCH, SEED, type Subject } from '../subject.js';

const HOUR_MS = 3_600_000;
/** Room and flows beside those that live. */
const SPARE = 4096;

function tableFor(flows: number): ConntrackTable {
  return new ConntrackTable(4, flows + SPARE, flows, SEED);
}

function connect(table: ConntrackTable, key: Int32Array, flow: number): EntryId {
  const entry = table.take();
  originalKey(key, flow);
  table.setKey(entry, Direction.ORIGINAL, key);
  replyKey(key, flow);
  table.setKey(entry, Direction.REPLY, key);
  table.entries.setExpires(entry, HOUR_MS);
  table.link(entry);
  return entry;
}

function filled(flows: number): ConntrackTable {
  const table = tableFor(flows);
  const key = emptyKey();
  for (let flow = 0; flow < flows; flow++) connect(table, key, flow);
  return table;
}

export const tables: Subject[] = [
  {
    name: 'lookup/hit',
    operation: 'find a tuple that is there, original and reply in turn',
    prepare(flows) {
      const table = filled(flows);
      const order = shuffled(flows);
      const key = emptyKey();
      let at = 0;
      return {
        operations: BATCH,
        run() {
          let found = 0;
          for (let n = 0; n < BATCH; n++) {
            if ((n & 1) === 0) originalKey(key, order[at]!);
            else replyKey(key, order[at]!);
            if (table.find(key, 0) >= 0) found++;
            if (++at === flows) at = 0;
          }
          if (found !== BATCH) throw new Error(`${BATCH - found} flows not found`);
          return found;
        },
      };
    },
  },
  {
    name: 'lookup/miss',
    operation: 'look for a tuple that is not there',
    prepare(flows) {
      const table = filled(flows);
      const order = shuffled(flows);
      const key = emptyKey();
      let at = 0;
      return {
        operations: BATCH,
        run() {
          let found = 0;
          for (let n = 0; n < BATCH; n++) {
            originalKey(key, order[at]!, 444);
            if (table.find(key, 0) >= 0) found++;
            if (++at === flows) at = 0;
          }
          if (found !== 0) throw new Error(`${found} flows found that do not exist`);
          return found;
        },
      };
    },
  },
  {
    name: 'connection/table',
    operation: 'take, link a new connection, destroy the oldest',
    prepare(flows) {
      const table = filled(flows);
      const entries = new Int32Array(flows + SPARE);
      for (let flow = 0; flow < flows; flow++) entries[flow] = flow * table.entries.stride;
      const key = emptyKey();
      let oldest = 0;
      let next = flows;
      return {
        operations: BATCH,
        run() {
          for (let n = 0; n < BATCH; n++) {
            entries[next] = connect(table, key, next);
            table.destroy(entries[oldest] as EntryId, DestroyReason.DELETED);
            if (++next === entries.length) next = 0;
            if (++oldest === entries.length) oldest = 0;
          }
          if (table.live !== flows) throw new Error(`${table.live} live, not ${flows}`);
          return next;
        },
      };
    },
  },
];
