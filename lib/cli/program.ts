/**
 * The program: its commands, and what errors become. Errors of the user's are one line and exit status 2.
 */
import { Command, CommanderError } from 'commander';
import { ConfigurationError } from '../errors.js';
import { type Console, ExitStatus } from './console.js';
import { explainCommand } from './explain.js';
import { gatewayCommand } from './gateway.js';
import { replayCommand } from './replay.js';
import { rulesCommand } from './rules.js';
import { scenarioCommand } from './scenario.js';
import { VERSION } from './version.js';

/** Runs the command line `words` (without the program's own name); returns the exit status. */
export async function runProgram(words: readonly string[], out: Console): Promise<ExitStatus> {
  let status: ExitStatus = ExitStatus.GOOD;
  const finish = (ended: ExitStatus): void => {
    status = ended;
  };
  const program = new Command('conntide')
    .description('Connection tracking, NAT and iptables for userspace networks.')
    .version(VERSION);
  const commands = [
    replayCommand(out, finish),
    scenarioCommand(out, finish),
    explainCommand(out, finish),
    rulesCommand(out, finish),
    gatewayCommand(out, finish),
  ];
  for (const command of [program, ...commands.flatMap(withSubcommands)]) {
    command.exitOverride().configureOutput({
      writeOut: (text) => out.line(text.replace(/\n$/, '')),
      writeErr: (text) => out.error(text.replace(/\n$/, '').replace(/^error: /, 'conntide: ')),
    });
  }
  for (const command of commands) program.addCommand(command);
  try {
    await program.parseAsync(words, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitStatus.GOOD : ExitStatus.BAD_INPUT;
    if (!(error instanceof ConfigurationError)) throw error;
    out.progress('');
    out.error(`conntide: ${error.message}`);
    return ExitStatus.BAD_INPUT;
  }
  return status;
}

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}
