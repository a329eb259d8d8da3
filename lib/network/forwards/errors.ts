/**
 * What is wrong with a set of forwards. Cold.
 */
import { ConfigurationError, type ConfigurationErrorCode, type ErrorPlace } from '../../errors.js';

/** A port that could not be had, or a rule that wants what another one has. */
export interface ForwardFailure {
  /** `EEXIST`: two rules want the same packets; `EADDRINUSE`: somebody else has the port. */
  readonly errno: 'EEXIST' | 'EADDRINUSE';
  readonly protocol: string;
  readonly port: number;
  /** The rule as error messages name it. */
  readonly rule: string;
  /** The other rule, or who has the port. */
  readonly rival: string;
}

/** Thrown when forwards are refused; those in force stay as they were. */
export class ForwardsError extends ConfigurationError {
  /** The kind of the first failure. */
  readonly errno: ForwardFailure['errno'];
  readonly failures: readonly ForwardFailure[];

  constructor(
    code: ConfigurationErrorCode,
    message: string,
    failures: readonly [ForwardFailure, ...ForwardFailure[]],
    place: ErrorPlace = {},
  ) {
    super(code, message, place);
    this.errno = failures[0].errno;
    this.failures = failures;
  }
}

/** Two rules want the same packets. */
export function overlapError(
  protocol: string,
  first: string,
  second: string,
  port: number,
  place: ErrorPlace = {},
): ForwardsError {
  const failure: ForwardFailure = { errno: 'EEXIST', protocol, port, rule: second, rival: first };
  const message = `EEXIST: two forwards of ${protocol} want the same packets: '${first}' and '${second}'`;
  return new ForwardsError('conflict', message, [failure], place);
}

/** Ports that somebody else has. */
export function takenError(failures: readonly [ForwardFailure, ...ForwardFailure[]]): ForwardsError {
  const shown = failures
    .slice(0, MOST_SHOWN)
    .map(({ protocol, port, rival }) => `${protocol} ${port} (${rival})`);
  const more = failures.length > MOST_SHOWN ? ` and ${failures.length - MOST_SHOWN} more` : '';
  return new ForwardsError('conflict', `EADDRINUSE: ports are taken: ${shown.join(', ')}${more}`, failures);
}

const MOST_SHOWN = 20;
