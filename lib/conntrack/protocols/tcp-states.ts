/**
 * States of a TCP connection as the tracker sees it, and the table that moves it from one to the next.
 *
 * The tracker stands between the two ends and may miss packets, so these are not the states of either end: FIN_WAIT
 * is "a FIN was seen", LAST_ACK "FINs from both sides were seen", and most doubtful segments are let through
 * without believing them (IGNORE), so that the ends themselves can answer. The table is read by
 * (direction, flag class, state); `TCP_TRANSITIONS` holds next states, `tcpTransitionReason` says why.
 *
 * Flag combinations without a class (`TCP_FLAG_CLASSES`) never get here: they are INVALID.
 */
import { Direction } from '../entries.js';

/** State numbers are those of Linux's TCP_CONNTRACK_*; they index `Timeouts.tcp`. */
export const TcpState = {
  NONE: 0,
  SYN_SENT: 1,
  SYN_RECV: 2,
  ESTABLISHED: 3,
  FIN_WAIT: 4,
  CLOSE_WAIT: 5,
  LAST_ACK: 6,
  TIME_WAIT: 7,
  CLOSE: 8,
  SYN_SENT2: 9,
} as const;
export type TcpState = (typeof TcpState)[keyof typeof TcpState];

/** What the table says besides a state. */
export const TCP_IGNORE = 14;
export const TCP_INVALID = 15;

/** Class of a segment by its flags. NONE stands for "no segment yet" where the last class is remembered. */
export const TcpClass = { NONE: 0, SYN: 1, SYNACK: 2, FIN: 3, ACK: 4, RST: 5 } as const;
export type TcpClass = (typeof TcpClass)[keyof typeof TcpClass];

/**
 * [64] class by the flags FIN, SYN, RST, PSH, ACK, URG (the header's low six bits; ECE and CWR do not matter), NONE
 * for a combination that no TCP sends: no flag at all, SYN with FIN or RST, FIN without ACK, RST with URG, ...
 */
export const TCP_FLAG_CLASSES: Uint8Array = buildFlagClasses();

function buildFlagClasses(): Uint8Array {
  const FIN = 1;
  const SYN = 2;
  const RST = 4;
  const PSH = 8;
  const ACK = 16;
  const URG = 32;
  const classes = new Uint8Array(64);
  const sane: readonly (readonly [number, TcpClass])[] = [
    [SYN, TcpClass.SYN],
    [SYN | URG, TcpClass.SYN],
    [SYN | ACK, TcpClass.SYNACK],
    [RST, TcpClass.RST],
    [RST | ACK, TcpClass.RST],
    [FIN | ACK, TcpClass.FIN],
    [FIN | ACK | URG, TcpClass.FIN],
    [ACK, TcpClass.ACK],
    [ACK | URG, TcpClass.ACK],
  ];
  for (const [flags, flagClass] of sane) {
    classes[flags] = flagClass;
    classes[flags | PSH] = flagClass;
  }
  return classes;
}

/** Next states by two letters. */
const CODES: Readonly<Record<string, number>> = {
  SS: TcpState.SYN_SENT,
  SR: TcpState.SYN_RECV,
  ES: TcpState.ESTABLISHED,
  FW: TcpState.FIN_WAIT,
  CW: TcpState.CLOSE_WAIT,
  LA: TcpState.LAST_ACK,
  TW: TcpState.TIME_WAIT,
  CL: TcpState.CLOSE,
  S2: TcpState.SYN_SENT2,
  ig: TCP_IGNORE,
  iv: TCP_INVALID,
};

/** A cell is a code and the letter of its reason here. */
const REASONS: Readonly<Record<string, string>> = {
  a: 'opens a connection',
  b: 'the SYN again',
  c: 'perhaps the ends know better: a late or forged SYN, or an end that lost its memory; the peer will answer',
  d: 'reopens a closed connection',
  e: 'a connection cannot begin with this',
  f: 'answers the SYN',
  g: 'the SYN/ACK of a simultaneous open',
  h: 'perhaps the answer to a SYN that was let through; the peer knows',
  i: 'the first FIN',
  j: 'the second FIN, or the first again before its acknowledgement',
  k: 'the FIN again',
  l: 'late: the connection is over',
  m: 'before the handshake nobody can send this',
  n: 'a connection older than the tracker, picked up',
  o: 'completes the handshake',
  p: 'goes on',
  q: 'acknowledges the first FIN',
  r: 'acknowledges the second FIN',
  s: 'waits for the other side to close',
  t: 'aborts the connection',
  u: 'both ends open at once',
  z: 'a client that has its connection accepts none',
  v: 'a server does not open the connection that it has',
  w: 'reopens: the server has become the client',
  x: 'half-open at the server, which challenges the SYN; the client will reset it',
  y: 'the SYN/ACK again, or data of the accepting side while the last acknowledgement is missing',
};

type Rows = Readonly<Record<'SYN' | 'SYNACK' | 'FIN' | 'ACK' | 'RST', string>>;

const ORIGINAL: Rows = {
  //       NONE  SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2
  SYN: '   SS.a  SS.b     ig.c     ig.c        ig.c     ig.c       ig.c     SS.d      SS.d  S2.b',
  SYNACK: 'iv.e  iv.m     SR.g     iv.z        iv.z     iv.z       iv.z     iv.z      iv.z  SR.g',
  FIN: '   iv.e  iv.m     FW.i     FW.i        LA.j     LA.j       LA.k     TW.k      CL.l  iv.m',
  ACK: '   ES.n  iv.m     ES.o     ES.p        CW.q     CW.s       TW.r     TW.l      CL.l  iv.m',
  RST: '   iv.e  CL.t     CL.t     CL.t        CL.t     CL.t       CL.t     CL.t      CL.t  CL.t',
};

const REPLY: Rows = {
  //       NONE  SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2
  SYN: '   iv.e  S2.u     iv.v     iv.v        iv.v     iv.v       iv.v     SS.w      iv.v  S2.b',
  SYNACK: 'iv.e  SR.f     ig.h     ig.h        ig.h     ig.h       ig.h     ig.h      ig.h  SR.g',
  FIN: '   iv.e  iv.m     FW.i     FW.i        LA.j     LA.j       LA.k     TW.k      CL.l  iv.m',
  ACK: '   iv.e  ig.x     SR.y     ES.p        CW.q     CW.s       TW.r     TW.l      CL.l  ig.x',
  RST: '   iv.e  CL.t     CL.t     CL.t        CL.t     CL.t       CL.t     CL.t      CL.t  CL.t',
};

const reasons: string[] = [];

/** [256] next state, TCP_IGNORE or TCP_INVALID at direction << 7 | class << 4 | state. */
export const TCP_TRANSITIONS: Uint8Array = buildTransitions();

function buildTransitions(): Uint8Array {
  const table = new Uint8Array(256).fill(TCP_INVALID);
  for (const [direction, rows] of [
    [Direction.ORIGINAL, ORIGINAL],
    [Direction.REPLY, REPLY],
  ] as const) {
    for (const [name, row] of Object.entries(rows)) {
      const base = (direction << 7) | (TcpClass[name as keyof Rows] << 4);
      const cells = row.trim().split(/\s+/);
      for (const [state, cell] of cells.entries()) {
        const [code = '', letter = ''] = cell.split('.');
        table[base | state] = CODES[code] as number;
        reasons[base | state] = REASONS[letter] as string;
      }
    }
  }
  return table;
}

/** Why the table says what it says of a segment. Cold. */
export function tcpTransitionReason(direction: Direction, flagClass: TcpClass, state: TcpState): string {
  return reasons[(direction << 7) | (flagClass << 4) | state] ?? 'no TCP sends such flags';
}
