/**
 * What a capture file holds, whatever its format: interfaces and packets. Cold: plain objects.
 *
 * A packet's `bytes` are borrowed: a view of the file that was read, valid and constant as long as that is.
 */

import { ConfigurationError, type ConfigurationErrorCode } from '../errors.js';

/** An interface that packets were recorded on. */
export interface CaptureInterface {
  /** Place in the file's order of interfaces, from 0, counted on over all sections of a pcapng file. */
  readonly id: number;
  /** LINKTYPE_ number, see `link.ts`. */
  readonly linkType: number;
  /** Longest packet that was kept whole, in bytes; 0 is no limit. */
  readonly snapLengthBytes: number;
  /** pcapng `if_name`; classic pcap has none. */
  readonly name?: string;
}

/** Which way a packet went through the interface it was recorded on, where the file says so. */
export type CaptureDirection = 'in' | 'out';

/** One recorded packet. */
export interface CapturedPacket {
  /** Whole seconds since 1970-01-01 UTC; negative before it. */
  readonly seconds: number;
  /** Rest of the time, 0 to 999,999,999. With `seconds` exact to the nanosecond. */
  readonly nanos: number;
  /** The same moment in milliseconds, as near as a double comes (a quarter of a microsecond today). */
  readonly timeMs: number;
  /** {@link CaptureInterface.id}. */
  readonly interfaceId: number;
  readonly interfaceName?: string;
  readonly linkType: number;
  /** The bytes that were kept, link header first. Borrowed. */
  readonly bytes: Uint8Array;
  /** Length on the wire; more than `bytes.length` when the recording cut the packet short. */
  readonly originalLengthBytes: number;
  readonly direction?: CaptureDirection;
  /** pcapng `opt_comment`; several are joined by line feeds. */
  readonly comment?: string;
}

/** A capture that cannot be read on, with the byte where the unreadable part begins. */
export function captureError(
  code: ConfigurationErrorCode,
  message: string,
  file: string | undefined,
  offsetBytes: number,
  expected?: string,
): ConfigurationError {
  return new ConfigurationError(code, message, { file, offsetBytes, expected });
}
