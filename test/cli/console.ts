import type { Console } from '../../lib/cli/console.js';
import { runProgram } from '../../lib/cli/program.js';

/** A console that remembers. */
export class TestConsole implements Console {
  readonly lines: string[] = [];
  readonly errors: string[] = [];
  readonly isTerminal = false;
  readonly columns = 80;

  line(text: string): void {
    this.lines.push(...text.split('\n'));
  }

  progress(): void {}

  error(text: string): void {
    this.errors.push(...text.split('\n'));
  }

  flush(): void {}
}

/** Runs a command line; what it wrote and its exit status. */
export async function run(...words: string[]) {
  const out = new TestConsole();
  const status = await runProgram(words, out);
  return { status, lines: out.lines, errors: out.errors };
}
