/**
 * The ends of a packet from the first bytes of it that a log keeps. Cold.
 */
import { formatAddress } from '../../wire/address.js';

/** Ends of a packet. */
export interface LoggedEnds {
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  /** -1 without. */
  readonly port: number;
}

const TCP = 6;
const UDP = 17;
const SCTP = 132;
const UDPLITE = 136;
/** Hop-by-hop options, routing, destination options: type, length in units of 8 bytes behind the first. */
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60]);

export function readEnds(bytes: Uint8Array): LoggedEnds | undefined {
  const version = (bytes[0] ?? 0) >>> 4;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = (at: number, count: number) =>
    Array.from({ length: count }, (_, i) => view.getInt32(at + 4 * i));
  let protocol: number;
  let transport: number;
  let source: string;
  let destination: string;
  if (version === 4 && bytes.length >= 20) {
    protocol = bytes[9] as number;
    transport = ((bytes[0] as number) & 15) << 2;
    source = formatAddress(words(12, 1), 4);
    destination = formatAddress(words(16, 1), 4);
    if ((view.getUint16(6) & 0x1fff) !== 0) transport = bytes.length;
  } else if (version === 6 && bytes.length >= 40) {
    protocol = bytes[6] as number;
    transport = 40;
    source = formatAddress(words(8, 4), 6);
    destination = formatAddress(words(24, 4), 6);
    while (EXTENSIONS.has(protocol) && transport + 2 <= bytes.length) {
      protocol = bytes[transport] as number;
      transport += ((bytes[transport + 1] as number) + 1) << 3;
    }
  } else return undefined;
  const hasPorts = protocol === TCP || protocol === UDP || protocol === SCTP || protocol === UDPLITE;
  const port = hasPorts && transport + 4 <= bytes.length ? view.getUint16(transport + 2) : -1;
  return { protocol, source, destination, port };
}
