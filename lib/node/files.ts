/**
 * Files whose absence is the user's to know: read and written with typed errors instead of Node's.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { ConfigurationError } from '../errors.js';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'this is a folder',
  ENOTDIR: 'part of the path is not a folder',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  ENOSPC: 'no space left on the device',
  EROFS: 'the file system is read-only',
};

/** What went wrong with a file, as a ConfigurationError. */
export function fileError(error: unknown, file: string): ConfigurationError {
  if (error instanceof ConfigurationError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const reason = REASONS[code ?? ''] ?? message;
  return new ConfigurationError('io', reason, { file }, { cause: error });
}

/** A file's bytes. Throws a ConfigurationError. */
export function readBytes(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw fileError(error, file);
  }
}

/** A file's text, UTF-8. Throws a ConfigurationError. */
export function readText(file: string): string {
  return new TextDecoder().decode(readBytes(file));
}

/** Writes a file. Throws a ConfigurationError. */
export function writeBytes(file: string, content: Uint8Array | string): void {
  try {
    writeFileSync(file, content);
  } catch (error) {
    throw fileError(error, file);
  }
}
