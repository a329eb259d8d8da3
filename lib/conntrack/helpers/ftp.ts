/**
 * FTP: data connections are announced on the control connection, by the client (PORT, EPRT) or by the server (227, 229).
 *
 * Announcements count only where a line begins: behind a line end that was seen in this direction. The first segment of
 * a direction is therefore never believed; nor is an address that is not the sender's own, which would open the way to
 * third parties. Behind NAT the announcement is written anew with the address that the other side sees.
 */
import { CtInfo } from '../../wire/packet.js';
import { Verdict } from '../../wire/verdict.js';
import type { Direction } from '../entries.js';
import { type Announcement, PARTIAL, readAnnouncement, writeAnnouncement } from './ftp-text.js';
import type { Helper, HelperCall } from './helper.js';

const ACCEPT = Verdict.ACCEPT;
const DROP = Verdict.DROP;
const ORIGINAL = 0;
const LINE_FEED = 10;
/** Line beginnings remembered per direction. */
const REMEMBERED = 2;

/** Sequence numbers that follow on a line end, per direction. */
class LineStarts {
  readonly #starts: readonly [number[], number[]] = [[], []];

  has(direction: Direction, sequence: number): boolean {
    return this.#starts[direction].includes(sequence);
  }

  /** Takes the place of the oldest, if it is behind that. */
  add(direction: Direction, sequence: number): void {
    const starts = this.#starts[direction];
    if (starts.includes(sequence)) return;
    if (starts.length < REMEMBERED) {
      starts.push(sequence);
      return;
    }
    const [first = 0, second = 0] = starts;
    const oldest = ((first - second) | 0) < 0 ? 0 : 1;
    if ((((starts[oldest] as number) - sequence) | 0) < 0) starts[oldest] = sequence;
  }
}

export const ftp: Helper<LineStarts> = {
  name: 'ftp',
  protocol: 'tcp',
  begin: () => new LineStarts(),
  onPacket(call) {
    // Nobody answered yet: nothing is agreed on.
    if (call.ctinfo !== CtInfo.ESTABLISHED && call.ctinfo !== CtInfo.ESTABLISHED_REPLY) return ACCEPT;
    const { payload, sequence, direction, state } = call;
    if (payload.length === 0) return ACCEPT;
    const endsLine = payload[payload.length - 1] === LINE_FEED;
    const next = (sequence + payload.length) | 0;
    if (state.has(direction, sequence)) {
      const said = readAnnouncement(payload, direction === ORIGINAL ? 'client' : 'server', call.version);
      if (said === PARTIAL) return DROP;
      if (said !== undefined && announce(call, said) === DROP) {
        if (endsLine) state.add(direction, next);
        return DROP;
      }
    }
    if (endsLine) state.add(direction, next);
    return ACCEPT;
  },
};

function announce(call: HelperCall<LineStarts>, said: Announcement): Verdict {
  const { sender } = call;
  // What is written may be shorter than an address: the rest is then the sender's own.
  if (said.words?.some((word, i) => word !== sender[i]) === true) return ACCEPT;
  const port = call.expect({ port: said.port });
  if (port === undefined) return DROP;
  if (!call.isTranslated) return ACCEPT;
  // There is no port 0 that could be told; it is expected all the same.
  if (port === 0) return DROP;
  const text = writeAnnouncement(said.form, call.shownSender, port, call.version);
  return call.replace(
    said.offset,
    said.lengthBytes,
    Uint8Array.from(text, (char) => char.charCodeAt(0)),
  );
}
