/** Established packets through the whole router: received, tracked, routed, filtered, translated, sent. */
import type { Sampled, Subject } from '../subject.js';
import { BURST, type Kind } from './frames.js';
import { Load, SAMPLE_BURSTS } from './load.js';

/** Sizes up to which a full run measures each kind. */
const SIZES = [1024, 102_400, 1_048_576, 10_485_760];
const MOST = 10_485_760;

const NAMES: Readonly<Record<Kind, string>> = {
  udp: 'UDP over IPv4',
  tcp: 'TCP over IPv4',
  udp6: 'UDP over IPv6',
  tcp6: 'TCP over IPv6',
};

/** Processes per size: what takes long to get ready is done less often. */
export function roundsOf(size: number): number {
  if (size >= MOST) return 1;
  return 3;
}

/** Samples of bursts that `send` sends and times, ns per packet. */
export function sampleBursts(load: Load, send: () => number): Sampled {
  return {
    sample() {
      let passed = 0;
      for (let n = 0; n < SAMPLE_BURSTS; n++) {
        load.write();
        load.nowMs++;
        passed += send();
      }
      return passed / (SAMPLE_BURSTS * BURST);
    },
  };
}

function established(kind: Kind, sizes: readonly number[]): Subject {
  return {
    name: `path/${kind}`,
    operation: `an established packet, ${NAMES[kind]}, one call each`,
    group: 'path',
    sizes,
    quickSizes: kind === 'udp' ? [1024, 102_400] : [1024],
    rounds: roundsOf,
    prepare(flows) {
      const load = new Load(kind, flows);
      load.establish();
      return sampleBursts(load, () => load.send());
    },
  };
}

function batched(kind: Kind, sizes: readonly number[]): Subject {
  return {
    name: `path/${kind}-batch`,
    operation: `an established packet, ${NAMES[kind]}, 128 to a batch`,
    group: 'path',
    sizes,
    quickSizes: [1024, 102_400],
    rounds: roundsOf,
    prepare(flows) {
      const load = new Load(kind, flows);
      load.establish();
      return sampleBursts(load, () => load.sendBatches());
    },
  };
}

export const establishedPaths: Subject[] = [
  established('udp', SIZES),
  established('tcp', SIZES.slice(0, 3)),
  established('udp6', SIZES.slice(0, 3)),
  established('tcp6', SIZES.slice(0, 3)),
  batched('udp', SIZES),
  batched('tcp', SIZES.slice(0, 3)),
];
