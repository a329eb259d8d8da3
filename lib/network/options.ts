/**
 * IPv4 options on their way through a router (RFC 791 section 3.1, RFC 1812 section 5.2.4): validated and stamped on
 * receipt, completed on the way out, echoed into answers. Only packets with options come here.
 *
 * Record route and timestamps are written in place; the header checksum follows in `finishOptions`, as on Linux:
 * what is quoted in between has the stamped bytes and the old checksum. Source routes are recognised, not followed.
 */
import type { Packet } from '../wire/packet.js';
import { put32, sealIpv4 } from '../wire/segment.js';
import type { Passage } from './passage.js';

const END = 0;
const NOOP = 1;
const RECORD_ROUTE = 7;
const TIMESTAMP = 68;
const LOOSE_ROUTE = 131;
const LABEL = 134;
const STRICT_ROUTE = 137;
const ROUTER_ALERT = 148;

/** Timestamp flag: times only; addresses and times; addresses given beforehand. */
const TIME_ONLY = 0;
const TIME_AND_ADDRESS = 1;
const TIME_PRESPECIFIED = 3;

/** Shortest security label. */
const LABEL_BYTES = 8;

const HEADER_BYTES = 20;
const DAY_MS = 86_400_000;

/** What options ask of the router around them. */
export interface OptionsHost {
  /** Address by which the sender of the packet knows this router. */
  addressTowardsSource(packet: Packet): number;
  /** Address of the interface by which packets to the packet's destination leave. */
  addressTowardsDestination(packet: Packet): number;
  /** Whether packets to an address would have to be sent on: 1 or 0. */
  isElsewhere(address: number): 0 | 1;
  /** Milliseconds since midnight UT, as far as the router's clock knows. */
  timeOfDayMs(): number;
}

/**
 * Reads the options of a received packet into its passage and stamps them. Returns 0, or the offset from the IP
 * header of the byte that is wrong (a parameter problem's pointer).
 */
export function readOptions(passage: Passage, host: OptionsHost): number {
  const packet = passage.packet;
  const bytes = packet.bytes;
  const start = packet.start;
  const end = packet.transport;
  passage.forgetOptions();
  let at = start + HEADER_BYTES;
  while (at < end) {
    const kind = bytes[at] as number;
    if (kind === END) {
      for (at++; at < end; at++) {
        if (bytes[at] !== END) {
          bytes[at] = END;
          passage.optionsChanged = 1;
        }
      }
      break;
    }
    if (kind === NOOP) {
      at++;
      continue;
    }
    const room = end - at;
    const length = room < 2 ? 0 : (bytes[at + 1] as number);
    if (length < 2 || length > room) return at - start;
    let wrong = -1;
    if (kind === LOOSE_ROUTE || kind === STRICT_ROUTE) wrong = readSourceRoute(passage, at, length);
    else if (kind === RECORD_ROUTE) wrong = readRecordRoute(passage, at, length, host);
    else if (kind === TIMESTAMP) wrong = readTimestamp(passage, at, length, host);
    else if (kind === LABEL) wrong = readLabel(passage, at, length);
    else if (kind === ROUTER_ALERT && length < 4) wrong = 1;
    if (wrong >= 0) return at + wrong - start;
    at += length;
  }
  return 0;
}

/** These return -1, or the offset of the wrong byte within the option. */
function readSourceRoute(passage: Passage, at: number, length: number): number {
  if (length < 3) return 1;
  if (passage.packet.u8(at + 2) < 4) return 2;
  if (passage.sourceRoute !== 0) return 0;
  passage.sourceRoute = at - passage.packet.start;
  return -1;
}

/** Security labels (CIPSO) are of domains that nobody defined here: none is right. */
function readLabel(passage: Passage, at: number, length: number): number {
  if (passage.label !== 0) return 0;
  passage.label = at - passage.packet.start;
  return length < LABEL_BYTES ? 1 : 2;
}

function readRecordRoute(passage: Passage, at: number, length: number, host: OptionsHost): number {
  const packet = passage.packet;
  if (passage.recordRoute !== 0) return 0;
  if (length < 3) return 1;
  const pointer = packet.u8(at + 2);
  if (pointer < 4) return 2;
  if (pointer <= length) {
    if (pointer + 3 > length) return 2;
    packet.setI32(at + pointer - 1, host.addressTowardsSource(packet));
    packet.bytes[at + 2] = pointer + 4;
    passage.recordRouteNeedsAddress = 1;
    passage.optionsChanged = 1;
  }
  passage.recordRoute = at - packet.start;
  return -1;
}

function readTimestamp(passage: Passage, at: number, length: number, host: OptionsHost): number {
  const packet = passage.packet;
  const bytes = packet.bytes;
  if (passage.timestamp !== 0) return 0;
  if (length < 4) return 1;
  const pointer = bytes[at + 2] as number;
  if (pointer < 5) return 2;
  const flag = (bytes[at + 3] as number) & 15;
  if (pointer <= length) {
    if (pointer + 3 > length) return 2;
    let time = 0;
    if (flag === TIME_ONLY) {
      time = at + pointer - 1;
      passage.timestampNeedsTime = 1;
      bytes[at + 2] = pointer + 4;
    } else if (flag === TIME_AND_ADDRESS || flag === TIME_PRESPECIFIED) {
      if (pointer + 7 > length) return 2;
      const isOurs =
        flag === TIME_AND_ADDRESS || host.isElsewhere(packet.i32(at + pointer - 1)) === 0 ? 1 : 0;
      if (flag === TIME_AND_ADDRESS) {
        packet.setI32(at + pointer - 1, host.addressTowardsSource(packet));
        passage.timestampNeedsAddress = 1;
      }
      if (isOurs === 1) {
        time = at + pointer + 3;
        passage.timestampNeedsTime = 1;
        bytes[at + 2] = pointer + 8;
      }
    }
    if (time !== 0) {
      packet.setI32(time, host.timeOfDayMs() % DAY_MS);
      passage.optionsChanged = 1;
    }
  } else if (flag !== TIME_PRESPECIFIED) {
    // Full: the overflow count in the upper half goes up (RFC 791).
    const overflow = (bytes[at + 3] as number) >>> 4;
    if (overflow === 15) return 3;
    bytes[at + 3] = flag | ((overflow + 1) << 4);
    passage.optionsChanged = 1;
  }
  passage.timestamp = at - packet.start;
  return -1;
}

/** On the way out of a forwarded packet: our outgoing address into record route and timestamp, and the checksum. */
export function finishOptions(passage: Passage, host: OptionsHost): void {
  const packet = passage.packet;
  if (passage.recordRouteNeedsAddress === 1) {
    const at = packet.start + passage.recordRoute;
    packet.setI32(at + packet.u8(at + 2) - 5, host.addressTowardsDestination(packet));
    passage.optionsChanged = 1;
  }
  if (passage.timestampNeedsAddress === 1) {
    const at = packet.start + passage.timestamp;
    packet.setI32(at + packet.u8(at + 2) - 9, host.addressTowardsDestination(packet));
    passage.optionsChanged = 1;
  }
  if (passage.optionsChanged === 1) {
    passage.optionsChanged = 0;
    sealIpv4(packet.bytes, packet.start, packet.transport - packet.start);
  }
}

const NO_OPTIONS = new Uint8Array(0);

/**
 * Options of an answer to the packet (RFC 1122 section 3.2.2.6): its record route and timestamp, one step on and
 * with our `source` address, and its security label. Returns undefined if they leave no room for that step: then there is no answer.
 */
export function echoOptions(passage: Passage, source: number, host: OptionsHost): Uint8Array | undefined {
  if (passage.recordRoute === 0 && passage.timestamp === 0 && passage.label === 0) return NO_OPTIONS;
  const packet = passage.packet;
  const echoed: number[] = [];
  if (passage.recordRoute !== 0) {
    const option = copyOption(packet, passage.recordRoute);
    const pointer = option[2] as number;
    if (passage.recordRouteNeedsAddress === 1 && pointer <= option.length) {
      if (pointer + 3 > option.length) return undefined;
      option[2] = pointer + 4;
      put32(option, pointer - 1, source);
    }
    echoed.push(...option);
  }
  if (passage.timestamp !== 0) {
    const option = copyOption(packet, passage.timestamp);
    let pointer = option[2] as number;
    if (pointer <= option.length) {
      const isPrespecified = (option[3]! & 15) === TIME_PRESPECIFIED;
      if (passage.timestampNeedsAddress === 1) {
        if (pointer + 3 > option.length) return undefined;
        put32(option, pointer - 1, source);
        pointer += 4;
      }
      if (passage.timestampNeedsTime === 1) {
        if (pointer + 3 > option.length) return undefined;
        if (!isPrespecified) {
          put32(option, pointer - 1, host.timeOfDayMs() % DAY_MS);
          pointer += 4;
        } else if (pointer + 7 <= option.length) {
          const address =
            (option[pointer - 1]! << 24) | (option[pointer]! << 16) | (option[pointer + 1]! << 8);
          if (host.isElsewhere(address | option[pointer + 2]!) === 0) {
            put32(option, pointer + 3, host.timeOfDayMs() % DAY_MS);
            pointer += 8;
          }
        }
      }
      option[2] = pointer;
    }
    echoed.push(...option);
  }
  if (passage.label !== 0) echoed.push(...copyOption(packet, passage.label));
  while ((echoed.length & 3) !== 0) echoed.push(END);
  return Uint8Array.from(echoed);
}

function copyOption(packet: Packet, offset: number): Uint8Array {
  const at = packet.start + offset;
  return packet.bytes.slice(at, at + packet.u8(at + 1));
}
