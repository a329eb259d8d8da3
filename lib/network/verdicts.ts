/** What the router makes of the engine's verdicts. Hot. */
import { DropReason } from '../counters.js';
import type { Engine } from '../engine.js';
import type { Packet } from '../wire/packet.js';
import { Verdict } from '../wire/verdict.js';

const DROP = Verdict.DROP;
const QUEUE = Verdict.QUEUE;
const UNHEARD = DropReason.RULE_QUEUE_UNHEARD;

/** The verdict; of packets for a queue that nobody hears it is DROP. */
export function heard(engine: Engine, verdict: Verdict, packet: Packet): Verdict {
  if (verdict !== QUEUE) return verdict;
  packet.reason = UNHEARD;
  engine.drops.count(UNHEARD);
  return DROP;
}
