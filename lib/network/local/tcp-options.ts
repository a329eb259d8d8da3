/**
 * What a TCP endpoint is made with, and the states that it goes through (RFC 9293 section 3.3.2).
 */
import type { Random } from '../../random.js';
import type { TcpSegment } from './tcp-segment.js';

export type TcpEndpointState =
  | 'SYN_SENT'
  | 'SYN_RECEIVED'
  | 'ESTABLISHED'
  | 'FIN_WAIT_1'
  | 'FIN_WAIT_2'
  | 'CLOSING'
  | 'CLOSE_WAIT'
  | 'LAST_ACK'
  | 'TIME_WAIT'
  | 'CLOSED';

export interface TcpEndpointOptions {
  /** Largest payload of a segment that the way allows, bytes. */
  readonly mss: number;
  /** Initial sequence numbers. */
  readonly random: Random;
  /** Takes a segment that leaves. */
  readonly transmit: (segment: TcpSegment) => void;
  /** Something changed: bytes to read, room to write, another state. */
  readonly onChange?: () => void;
  /** 256 KiB by default. */
  readonly sendBufferBytes?: number;
  readonly receiveBufferBytes?: number;
  readonly timeWaitMs?: number;
}
