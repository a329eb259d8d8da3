#!/usr/bin/env node
/**
 * The `conntide` command. One file per subcommand; errors of the user's are one line and exit status 2.
 */
import { Command, CommanderError } from 'commander';
import { ConfigurationError } from '../errors.js';
import { ExitStatus, ProcessConsole } from './console.js';
import { replayCommand } from './replay.js';
import { scenarioCommand } from './scenario.js';
import { VERSION } from './version.js';

const out = new ProcessConsole();
let status: ExitStatus = ExitStatus.GOOD;
const finish = (ended: ExitStatus): void => {
  status = ended;
};

const program = new Command('conntide')
  .description('Connection tracking, NAT and iptables for userspace networks.')
  .version(VERSION)
  .showHelpAfterError('(see --help)');
for (const command of [replayCommand(out, finish), scenarioCommand(out, finish)]) {
  program.addCommand(command.copyInheritedSettings(program));
}
for (const command of [program, ...program.commands]) {
  command.exitOverride();
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    status = error.exitCode === 0 ? ExitStatus.GOOD : ExitStatus.BAD_INPUT;
  } else if (error instanceof ConfigurationError) {
    out.progress('');
    out.error(`conntide: ${error.message}`);
    status = ExitStatus.BAD_INPUT;
  } else {
    throw error;
  }
}
out.flush();
process.exitCode = status;
