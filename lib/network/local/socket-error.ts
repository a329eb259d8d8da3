/**
 * What a local endpoint is refused, in the words of socket calls.
 */

/** Names of Linux's error numbers, as `error.code` of Node has them. */
export type SocketErrorCode =
  | 'EPERM' // a source that is not ours to use, or a rule that refused the packet
  | 'EACCES' // a broadcast address, or a prohibited route
  | 'EINVAL' // an address of the wrong family, a port that is none
  | 'EBADF' // the endpoint is closed
  | 'EMSGSIZE' // more bytes than a datagram can have
  | 'ENETUNREACH' // no route
  | 'EHOSTUNREACH' // a route that leads nowhere
  | 'ECONNRESET' // the peer reset the connection
  | 'ECONNABORTED' // we did
  | 'ETIMEDOUT'; // the peer does not answer

/** Thrown by what sends; nothing has been sent then. */
export class SocketError extends Error {
  override readonly name = 'SocketError';
  readonly code: SocketErrorCode;

  constructor(code: SocketErrorCode, message: string) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

const NAMES: Readonly<Record<number, SocketErrorCode>> = {
  1: 'EPERM',
  13: 'EACCES',
  22: 'EINVAL',
  90: 'EMSGSIZE',
  101: 'ENETUNREACH',
  113: 'EHOSTUNREACH',
};

/** The error of a number that the router returned for a packet to `where`. */
export function socketErrorOf(errno: number, where: string): SocketError {
  return new SocketError(NAMES[errno] ?? 'EINVAL', `a packet to ${where} was not sent`);
}
