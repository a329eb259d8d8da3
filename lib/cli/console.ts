/**
 * Where the commands write, and how they end.
 */
import { writeSync } from 'node:fs';

/** Exit status of the program. */
export const ExitStatus = { GOOD: 0, DIFFERENT: 1, BAD_INPUT: 2 } as const;
export type ExitStatus = (typeof ExitStatus)[keyof typeof ExitStatus];

/** What commands write to. */
export interface Console {
  /** Whether a person is looking: progress is shown, and colour may be used. */
  readonly isTerminal: boolean;
  /** Columns of the terminal. */
  readonly columns: number;
  /** A line of the result. */
  line(text: string): void;
  /** Replaces the line of progress; '' takes it away. Shown only to people. */
  progress(text: string): void;
  /** A line about what went wrong. */
  error(text: string): void;
  /** Writes what is collected: for programs that go on running. */
  flush(): void;
}

/** The process's own output. Lines are collected and written in large pieces, all of them before the process ends. */
export class ProcessConsole implements Console {
  #pending = '';

  get isTerminal(): boolean {
    return process.stdout.isTTY === true && process.stderr.isTTY === true;
  }

  get columns(): number {
    return process.stdout.columns || 80;
  }

  line(text: string): void {
    this.#pending += `${text}\n`;
    if (this.isTerminal || this.#pending.length > 1 << 16) this.flush();
  }

  progress(text: string): void {
    if (this.isTerminal) writeAll(2, `\r\x1b[K${text.slice(0, this.columns - 1)}`);
  }

  error(text: string): void {
    this.flush();
    writeAll(2, `${text}\n`);
  }

  flush(): void {
    const text = this.#pending;
    this.#pending = '';
    if (text !== '') writeAll(1, text);
  }
}

/** Writes everything to a file descriptor, also where it is a pipe that takes little at a time. */
function writeAll(fd: number, text: string): void {
  let bytes = new TextEncoder().encode(text);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(fd, bytes));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') process.exit(ExitStatus.GOOD);
      if (code !== 'EAGAIN') throw error;
    }
  }
}
