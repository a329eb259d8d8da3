/**
 * `conntide gateway`: runs the network that a configuration file describes, until a signal ends it.
 *
 *   SIGHUP            reads the file again: all of it applies, or nothing does
 *   SIGUSR2           tells counters and flows
 *   SIGINT, SIGTERM   end it cleanly; a second one at once
 *
 * Exit status: 0 ended by a signal, or the configuration is good (`--check`); 2 the configuration is refused.
 */
import { Command } from 'commander';
import { ConfigurationError } from '../errors.js';
import { type Console, ExitStatus } from './console.js';
import { GatewayConfigError } from './gateway-config.js';
import { GatewayLog } from './gateway-log.js';
import { checkGatewayConfig, GatewayRun } from './gateway-run.js';

interface Options {
  readonly config: string;
  readonly check?: boolean;
  readonly json?: boolean;
}

/** Keeps the process: links may have nothing that does. */
const LONG_MS = 0x7fff_ffff;

/** The `gateway` command; `finish` is told the exit status. */
export function gatewayCommand(out: Console, finish: (status: ExitStatus) => void): Command {
  return new Command('gateway')
    .summary('run a gateway for guests, as a file says')
    .description(
      'Runs the network that a configuration describes: interfaces plugged into TUN devices, QEMU, passt or ' +
        'browsers, addresses, routes, rules, policy, forwards, DHCP and DNS for guests.\n' +
        'SIGHUP reads the file again, SIGUSR2 tells counters and flows, SIGINT and SIGTERM end it.',
    )
    .requiredOption('--config <file>', 'JSON, comments allowed; its schema is schema/gateway.schema.json')
    .option('--check', 'say whether the configuration is good, and do nothing')
    .option('--json', 'log one JSON object per line')
    .action(async (options: Options) => finish(await run(options, out)));
}

async function run({ config, check, json }: Options, out: Console): Promise<ExitStatus> {
  const log = new GatewayLog(out, json ? 'json' : 'text');
  try {
    if (check) {
      const summary = checkGatewayConfig(config);
      if (json) log.event('checked', '', { config, good: true });
      else out.line(`${config}: good: ${summary}`);
      return ExitStatus.GOOD;
    }
    await runUntilSignal(await GatewayRun.start(config, log), log);
    return ExitStatus.GOOD;
  } catch (error) {
    log.error('refused', faultsOf(error));
    return ExitStatus.BAD_INPUT;
  }
}

function runUntilSignal(running: GatewayRun, log: GatewayLog): Promise<void> {
  return new Promise((resolve) => {
    const kept = setInterval(() => {}, LONG_MS);
    const onReload = (): void => {
      try {
        running.reload();
      } catch (error) {
        log.error('reload-refused', faultsOf(error));
        log.event('kept', 'the configuration from before stays in force');
      }
    };
    const onReport = (): void => running.report();
    const onEnd = (signal: string): void => {
      clearInterval(kept);
      process.off('SIGHUP', onReload).off('SIGUSR2', onReport).off('SIGINT', onEnd).off('SIGTERM', onEnd);
      running.close(signal).then(resolve);
    };
    process.on('SIGHUP', onReload).on('SIGUSR2', onReport).on('SIGINT', onEnd).on('SIGTERM', onEnd);
  });
}

/** A line for each thing that is wrong. */
function faultsOf(error: unknown): string[] {
  if (error instanceof GatewayConfigError) return error.faults.map(({ message }) => message);
  if (error instanceof ConfigurationError) return [error.message];
  throw error;
}
