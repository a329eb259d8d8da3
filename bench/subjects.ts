/** Every subject, in the order of the report. Those of a group stand together. */
import { pauses } from './conntrack/pauses.js';
import { reapers } from './conntrack/reaper.js';
import { tables } from './conntrack/table.js';
import { paths } from './engine/path.js';
import { hashes } from './memory/hash.js';
import { memories } from './memory/resident.js';
import { bundledPaths } from './path/bundled.js';
import { connectionPaths } from './path/connections.js';
import { establishedPaths } from './path/established.js';
import { portPicks } from './path/ports.js';
import { floors, newFloors } from './peers/floor.js';
import { kernels } from './peers/kernel.js';
import { ruleSubjects } from './rules/rules.js';
import type { Subject } from './subject.js';

/** Not part of a full run: `npm run bench -- established --size 1024`. */
const onDemand = [...paths, ...reapers].map(
  (subject): Subject => ({ ...subject, sizes: [], quickSizes: [] }),
);

export const subjects: readonly Subject[] = [
  ...establishedPaths,
  ...bundledPaths,
  ...floors,
  ...connectionPaths,
  ...newFloors,
  ...portPicks,
  ...ruleSubjects,
  ...pauses,
  ...memories,
  ...tables,
  ...hashes,
  ...kernels,
  ...onDemand,
];
