/** Guests made of Debian's packages: kernel, busybox and a few modules, and an init script. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const HERE = fileURLToPath(new URL('.', import.meta.url));
/** What was fetched stays here between runs. */
const CACHE = fileURLToPath(new URL('../../../out/guest/', import.meta.url));

type Architecture = 'amd64' | 'i386';

export interface Guest {
  /** Path of the kernel. */
  readonly kernel: string;
  /** A compressed cpio archive. */
  readonly initrd: Uint8Array;
}

/**
 * Fetches the packages, once; needs the network, so it comes before any lab. Returns what is missing: nothing, or that
 * they could not be had, told aloud for `subject`.
 */
export function fetchGuest(architecture: Architecture, subject: string): string[] {
  const { status } = spawnSync(join(HERE, 'fetch.sh'), [architecture, join(CACHE, architecture)], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status === 0) return [];
  const missing = [`Debian's packages for ${architecture}`];
  console.warn(`SKIPPED: ${subject}; missing: ${missing}`);
  return missing;
}

/** A guest of what was fetched. */
export function makeGuest(architecture: Architecture): Guest {
  const folder = join(CACHE, architecture);
  const archive = new Cpio();
  for (const name of ['bin', 'modules', 'dev']) archive.folder(name);
  archive.device('dev/console', 5, 1);
  archive.file('bin/busybox', readFileSync(join(folder, 'busybox')), 0o755);
  for (const name of readdirSync(join(folder, 'modules'))) {
    archive.file(`modules/${name}`, readFileSync(join(folder, 'modules', name)), 0o644);
  }
  archive.file('init', readFileSync(join(HERE, 'init.sh')), 0o755);
  archive.file('udhcpc.sh', readFileSync(join(HERE, 'udhcpc.sh')), 0o755);
  return { kernel: join(folder, 'vmlinuz'), initrd: gzipSync(archive.end(), { level: 1 }) };
}

const FOLDER = 0o040000;
const CHARACTER_DEVICE = 0o020000;
const FILE = 0o100000;

/** An archive in the `newc` form that the kernel unpacks: 14 fields of 8 hexadecimal digits, name, bytes. */
class Cpio {
  readonly #parts: Uint8Array[] = [];
  #inode = 0;

  folder(name: string): void {
    this.#add(name, FOLDER | 0o755, new Uint8Array(0));
  }

  device(name: string, major: number, minor: number): void {
    this.#add(name, CHARACTER_DEVICE | 0o600, new Uint8Array(0), major, minor);
  }

  file(name: string, bytes: Uint8Array, mode: number): void {
    this.#add(name, FILE | mode, bytes);
  }

  end(): Uint8Array {
    this.#add('TRAILER!!!', 0, new Uint8Array(0));
    return Buffer.concat(this.#parts);
  }

  #add(name: string, mode: number, bytes: Uint8Array, major = 0, minor = 0): void {
    const inode = ++this.#inode;
    const nameBytes = name.length + 1;
    const fields = [inode, mode, 0, 0, 1, 0, bytes.length, 0, 0, major, minor, nameBytes, 0];
    const head = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
    this.#parts.push(Buffer.from(head), padding(head.length), bytes, padding(bytes.length));
  }
}

/** Up to the next multiple of four bytes. */
function padding(lengthBytes: number): Uint8Array {
  return new Uint8Array(-lengthBytes & 3);
}

/** Reads `guest: NAME VALUE` lines off a console, from its text so far. */
export function readFindings(console: string): Map<string, string> {
  const found = [...console.matchAll(/guest: (\S+) ?(.*?)\r?$/gm)];
  return new Map(found.map(([, name, value]) => [name!, value!]));
}
