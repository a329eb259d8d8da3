import { describe, expect, it } from 'vitest';
import { Direction } from '../../../lib/conntrack/entries.js';
import {
  TCP_FLAG_CLASSES,
  TCP_IGNORE,
  TCP_INVALID,
  TCP_TRANSITIONS,
  TcpClass,
  TcpState,
  tcpTransitionReason,
} from '../../../lib/conntrack/protocols/tcp-states.js';

const DIRECTIONS = Object.values(Direction);
const CLASSES = Object.values(TcpClass).filter((flagClass) => flagClass !== TcpClass.NONE);
const STATES = Object.values(TcpState);

function next(direction: number, flagClass: number, state: number): number {
  return TCP_TRANSITIONS[(direction << 7) | (flagClass << 4) | state] as number;
}

describe('TCP state table', () => {
  it('says a state, IGNORE or INVALID, and why, in every cell', () => {
    for (const direction of DIRECTIONS) {
      for (const flagClass of CLASSES) {
        for (const state of STATES) {
          const cell = next(direction, flagClass, state);
          expect(cell <= TcpState.SYN_SENT2 || cell === TCP_IGNORE || cell === TCP_INVALID).toBe(true);
          expect(tcpTransitionReason(direction, flagClass, state)).not.toBe('no TCP sends such flags');
        }
      }
    }
  });

  it('closes on a RST from either side in every state but NONE', () => {
    for (const direction of DIRECTIONS) {
      for (const state of STATES) {
        const expected = state === TcpState.NONE ? TCP_INVALID : TcpState.CLOSE;
        expect(next(direction, TcpClass.RST, state)).toBe(expected);
      }
    }
  });

  it('lets nothing begin from the answering side', () => {
    for (const flagClass of CLASSES)
      expect(next(Direction.REPLY, flagClass, TcpState.NONE)).toBe(TCP_INVALID);
  });

  it('treats data and closing alike in both directions once the handshake is done', () => {
    for (const flagClass of [TcpClass.FIN, TcpClass.ACK]) {
      for (let state = TcpState.ESTABLISHED; state <= TcpState.CLOSE; state++) {
        const original = next(Direction.ORIGINAL, flagClass, state);
        expect(next(Direction.REPLY, flagClass, state)).toBe(original);
      }
    }
  });

  it('says why nothing comes of flags that no TCP sends', () => {
    expect(tcpTransitionReason(Direction.ORIGINAL, TcpClass.NONE, TcpState.ESTABLISHED)).toBe(
      'no TCP sends such flags',
    );
  });
});

describe('TCP flag classes', () => {
  it('know eighteen of the sixty-four combinations: nine, each with and without PSH', () => {
    const known = [...TCP_FLAG_CLASSES.keys()].filter((flags) => TCP_FLAG_CLASSES[flags] !== TcpClass.NONE);
    expect(known).toHaveLength(18);
    for (const flags of known) expect(TCP_FLAG_CLASSES[flags ^ 8]).toBe(TCP_FLAG_CLASSES[flags]);
  });
});
