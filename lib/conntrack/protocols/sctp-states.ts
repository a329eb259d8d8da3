/**
 * States of an SCTP association as the tracker sees it, and the table that moves it, by (direction, chunk, state).
 *
 * Only the chunks in the table move an association; any other (DATA, SACK, ...) leaves the state as it is. Multi-homed
 * ends make flows on further paths with a HEARTBEAT, which an answer makes ESTABLISHED.
 */
import { SctpChunk } from '../../wire/sctp.js';
import { Direction } from '../entries.js';

/** State numbers are those of Linux 6.18's SCTP_CONNTRACK_*; they index `Timeouts.sctp`. */
export const SctpState = {
  NONE: 0,
  CLOSED: 1,
  COOKIE_WAIT: 2,
  COOKIE_ECHOED: 3,
  ESTABLISHED: 4,
  SHUTDOWN_SENT: 5,
  SHUTDOWN_RECD: 6,
  SHUTDOWN_ACK_SENT: 7,
  HEARTBEAT_SENT: 8,
} as const;
export type SctpState = (typeof SctpState)[keyof typeof SctpState];

/** The table says INVALID. */
export const SCTP_INVALID = 15;

const CODES: Readonly<Record<string, number>> = {
  CL: SctpState.CLOSED,
  CW: SctpState.COOKIE_WAIT,
  CE: SctpState.COOKIE_ECHOED,
  ES: SctpState.ESTABLISHED,
  SS: SctpState.SHUTDOWN_SENT,
  SR: SctpState.SHUTDOWN_RECD,
  SA: SctpState.SHUTDOWN_ACK_SENT,
  HS: SctpState.HEARTBEAT_SENT,
  iv: SCTP_INVALID,
};

/** A cell is a code and the letter of its reason here. */
const REASONS: Readonly<Record<string, string>> = {
  a: 'opens an association',
  b: 'opens it again after its end',
  c: 'answers the INIT',
  d: 'echoes the cookie',
  e: 'completes the handshake',
  f: 'aborts the association',
  g: 'the original side begins to close',
  h: 'the other side begins to close',
  i: 'acknowledges the shutdown',
  j: 'completes the shutdown',
  k: 'opens a further path of an association',
  l: 'the further path answers',
  m: 'the cookie was stale: the handshake begins anew',
  n: 'an association cannot begin with this from the answering side',
  o: 'does not move it',
  p: 'out of the blue: only its own end can follow',
  q: 'on a path that was only probed: nothing to close, nothing to answer',
};

const ORIGINAL: Readonly<Record<string, string>> = {
  //                  NONE  CLOSED WAIT  ECHOED ESTABL. SHUT_S SHUT_R ACK_S HEARTBEAT
  INIT: '             CL.a  CL.b   CW.o  CE.o   ES.o    CL.b   CL.b   SA.o  CW.a',
  INIT_ACK: '         CL.p  CL.o   CW.o  CE.o   ES.o    SS.o   SR.o   SA.o  CL.q',
  ABORT: '            CL.p  CL.f   CL.f  CL.f   CL.f    CL.f   CL.f   CL.f  CL.f',
  SHUTDOWN: '         CL.p  CL.o   CW.o  CE.o   SS.g    SS.o   SR.o   SA.o  CL.q',
  SHUTDOWN_ACK: '     SA.p  CL.o   CW.o  CE.o   ES.o    SA.i   SA.i   SA.o  SA.i',
  ERROR: '            CL.p  CL.o   CW.o  CE.o   ES.o    SS.o   SR.o   SA.o  CL.q',
  COOKIE_ECHO: '      CL.p  CL.o   CE.d  CE.o   ES.o    SS.o   SR.o   SA.o  CL.q',
  COOKIE_ACK: '       CL.p  CL.o   CW.o  ES.e   ES.o    SS.o   SR.o   SA.o  CL.q',
  SHUTDOWN_COMPLETE: 'CL.p  CL.o   CW.o  CE.o   ES.o    SS.o   SR.o   CL.j  CL.q',
  HEARTBEAT: '        HS.k  CL.o   CW.o  CE.o   ES.o    SS.o   SR.o   SA.o  HS.o',
  HEARTBEAT_ACK: '    CL.p  CL.o   CW.o  CE.o   ES.o    SS.o   SR.o   SA.o  HS.o',
};

const REPLY: Readonly<Record<string, string>> = {
  //                  NONE  CLOSED WAIT  ECHOED ESTABL. SHUT_S SHUT_R ACK_S HEARTBEAT
  INIT: '             iv.n  CL.o   CW.o  CE.o   ES.o    SS.o   SR.o   SA.o  iv.q',
  INIT_ACK: '         iv.n  CW.c   CW.o  CE.o   ES.o    SS.o   SR.o   SA.o  iv.q',
  ABORT: '            iv.n  CL.f   CL.f  CL.f   CL.f    CL.f   CL.f   CL.f  iv.q',
  SHUTDOWN: '         iv.n  CL.o   CW.o  CE.o   SR.h    SS.o   SR.o   SA.o  iv.q',
  SHUTDOWN_ACK: '     iv.n  CL.o   CW.o  CE.o   ES.o    SA.i   SA.i   SA.o  iv.q',
  ERROR: '            iv.n  CL.o   CW.o  CL.m   ES.o    SS.o   SR.o   SA.o  iv.q',
  COOKIE_ECHO: '      iv.n  CL.o   CE.d  CE.o   ES.o    SS.o   SR.o   SA.o  iv.q',
  COOKIE_ACK: '       iv.n  CL.o   CW.o  ES.e   ES.o    SS.o   SR.o   SA.o  iv.q',
  SHUTDOWN_COMPLETE: 'iv.n  CL.o   CW.o  CE.o   ES.o    SS.o   SR.o   CL.j  iv.q',
  HEARTBEAT: '        iv.n  CL.o   CW.o  CE.o   ES.o    SS.o   SR.o   SA.o  HS.o',
  HEARTBEAT_ACK: '    iv.n  CL.o   CW.o  CE.o   ES.o    SS.o   SR.o   SA.o  ES.l',
};

const reasons: string[] = [];

/** [512] next state or SCTP_INVALID at direction << 8 | chunk type << 4 | state, for chunk types below 16. */
export const SCTP_TRANSITIONS: Uint8Array = buildTransitions();

function buildTransitions(): Uint8Array {
  const table = new Uint8Array(512);
  for (let i = 0; i < 512; i++) table[i] = i & 15;
  for (const [direction, rows] of [
    [Direction.ORIGINAL, ORIGINAL],
    [Direction.REPLY, REPLY],
  ] as const) {
    for (const [name, row] of Object.entries(rows)) {
      const base = (direction << 8) | (SctpChunk[name as keyof typeof SctpChunk] << 4);
      for (const [state, cell] of row.trim().split(/\s+/).entries()) {
        const [code = '', letter = ''] = cell.split('.');
        table[base | state] = CODES[code] as number;
        reasons[base | state] = REASONS[letter] as string;
      }
    }
  }
  return table;
}

/** Why the table says what it says of a chunk. Cold. */
export function sctpTransitionReason(direction: Direction, chunkType: number, state: SctpState): string {
  return reasons[(direction << 8) | (chunkType << 4) | state] ?? 'does not move an association';
}
