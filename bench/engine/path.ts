/** Packets through the whole router path with MASQUERADE and a ctstate rule. */
import type { EntryId } from '../../lib/conntrack/entries.js';
import { DestroyReason } from '../../lib/conntrack/table.js';
import { Verdict } from '../../lib/wire/verdict.js';
import { shuffled } from '../flows.js';
import { BATCH, type Subject } from '../subject.js';
import { type Path, type Protocol, Traffic } from './traffic.js';

const SPARE = 4096;

function established(protocol: Protocol, path: Path): Subject {
  const hooks = path === 'engine' ? 'PREROUTING, FORWARD, POSTROUTING' : 'received, routed, sent';
  return {
    name: path === 'engine' ? `established/${protocol}` : `router/${protocol}`,
    operation: `an established ${protocol.toUpperCase()} packet: ${hooks}, translated`,
    prepare(flows) {
      const traffic = new Traffic(protocol, flows, path);
      traffic.establish();
      const order = shuffled(flows);
      let at = 0;
      let nowMs = 4001;
      return {
        operations: BATCH,
        run() {
          let accepted = 0;
          for (let n = 0; n < BATCH; n++) {
            const flow = order[at]!;
            const verdict =
              (n & 1) === 0 ? traffic.sendOriginal(flow, nowMs) : traffic.sendReply(flow, nowMs);
            if (verdict === Verdict.ACCEPT) accepted++;
            if (++at === flows) at = 0;
          }
          nowMs++;
          if (accepted !== BATCH) throw new Error(`${BATCH - accepted} packets dropped`);
          return accepted;
        },
      };
    },
  };
}

const connection: Subject = {
  name: 'connection/path',
  operation: 'the first packet of a UDP flow through the whole path, port bound; the oldest flow destroyed',
  prepare(flows) {
    const all = flows + SPARE;
    const traffic = new Traffic('udp', all);
    const table = traffic.engine.tracker.table(4);
    const entries = new Int32Array(all);
    for (let flow = 0; flow < flows; flow++) {
      if (traffic.sendOriginal(flow, 0) !== Verdict.ACCEPT) throw new Error('dropped');
      entries[flow] = traffic.packet.entry;
    }
    let oldest = 0;
    let next = flows;
    return {
      operations: BATCH,
      run() {
        for (let n = 0; n < BATCH; n++) {
          if (traffic.sendOriginal(next, 0) !== Verdict.ACCEPT) throw new Error('dropped');
          entries[next] = traffic.packet.entry;
          table.destroy(entries[oldest] as EntryId, DestroyReason.DELETED);
          if (++next === all) next = 0;
          if (++oldest === all) oldest = 0;
        }
        if (table.live !== flows) throw new Error(`${table.live} live, not ${flows}`);
        return next;
      },
    };
  },
};

export const paths: Subject[] = [
  connection,
  established('udp', 'engine'),
  established('tcp', 'engine'),
  established('udp', 'router'),
  established('tcp', 'router'),
];
