/** Every subject, in the order of the report. */
import { reapers } from './conntrack/reaper.js';
import { tables } from './conntrack/table.js';
import { paths } from './engine/path.js';
import { hashes } from './memory/hash.js';
import type { Subject } from './subject.js';

export const subjects: readonly Subject[] = [...hashes, ...tables, ...paths, ...reapers];
