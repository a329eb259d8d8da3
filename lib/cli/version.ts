/**
 * Name and version of the program, from package.json.
 */
import { readFileSync } from 'node:fs';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

export const VERSION = version;
/** As recordings and capture files name the program. */
export const PROGRAM = `conntide ${version}`;
