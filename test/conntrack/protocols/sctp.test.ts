import { describe, expect, it } from 'vitest';
import { SctpState, sctpTransitionReason } from '../../../lib/conntrack/protocols/sctp-states.js';
import { SctpChunk } from '../../../lib/wire/sctp.js';
import { type Ends, Talk } from './talk.js';

const ENDS: Ends = { protocol: 'sctp', opener: '10.0.0.2:5000', peer: '198.51.100.7:6000' };

/** Tag that each side chose for the packets to it. */
const TAGS = { '>': 0x11111111, '<': 0x22222222 } as const;
type Arrow = keyof typeof TAGS;

function hex(number: number, bytes: number): string {
  return number.toString(16).padStart(2 * bytes, '0');
}

/** A chunk of a type with an arbitrary value; INIT and INIT ACK offer `tag`. */
function chunk(type: number, tag: number, flags = 0): string {
  const hasTag = type === SctpChunk.INIT || type === SctpChunk.INIT_ACK;
  const value = hasTag ? `${hex(tag, 4)}00010000000a000a00000001` : '00000001';
  return `${hex(type, 1)}${hex(flags, 1)}${hex(4 + value.length / 2, 2)}${value}`;
}

/** Sends one chunk with the tag that belongs on it. */
function send(talk: Talk, arrow: Arrow, type: number): string {
  const tag = type === SctpChunk.INIT ? 0 : TAGS[arrow === '>' ? '<' : '>'];
  return talk.packet(arrow, `tag ${tag} data ${chunk(type, TAGS[arrow])}`);
}

const { INIT, INIT_ACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, COOKIE_ECHO, COOKIE_ACK } =
  SctpChunk;

/** How a conversation gets to a state. */
const WAYS: Readonly<Record<string, readonly (readonly [Arrow, number])[]>> = {
  CLOSED: [['>', INIT]],
  COOKIE_WAIT: [
    ['>', INIT],
    ['<', INIT_ACK],
  ],
  COOKIE_ECHOED: [
    ['>', INIT],
    ['<', INIT_ACK],
    ['>', COOKIE_ECHO],
  ],
  ESTABLISHED: [
    ['>', INIT],
    ['<', INIT_ACK],
    ['>', COOKIE_ECHO],
    ['<', COOKIE_ACK],
  ],
  SHUTDOWN_SENT: [
    ['>', INIT],
    ['<', INIT_ACK],
    ['>', COOKIE_ECHO],
    ['<', COOKIE_ACK],
    ['>', SHUTDOWN],
  ],
  SHUTDOWN_RECD: [
    ['>', INIT],
    ['<', INIT_ACK],
    ['>', COOKIE_ECHO],
    ['<', COOKIE_ACK],
    ['<', SHUTDOWN],
  ],
  SHUTDOWN_ACK_SENT: [
    ['>', INIT],
    ['<', INIT_ACK],
    ['>', COOKIE_ECHO],
    ['<', COOKIE_ACK],
    ['>', SHUTDOWN],
    ['<', SHUTDOWN_ACK],
  ],
  HEARTBEAT_SENT: [['>', HEARTBEAT]],
};

/** What Linux 6.18 was recorded to do: state behind a chunk of each side in each state, iv for INVALID. */
const RECORDED: Readonly<Record<string, readonly [string, string]>> = {
  //                 CLOSED WAIT ECHOED ESTAB. SENT RECD ACK_SENT HEARTBEAT
  DATA: ['            iv CW CE ES SS SR SA HS', 'CL CW CE ES SS SR SA iv'],
  INIT: ['            CL CW CE ES CL CL SA CW', 'CL CW CE ES SS SR SA iv'],
  INIT_ACK: ['        iv CW CE ES SS SR SA CL', 'CW CW CE ES SS SR SA iv'],
  SACK: ['            iv CW CE ES SS SR SA HS', 'CL CW CE ES SS SR SA iv'],
  HEARTBEAT: ['       CL CW CE ES SS SR SA HS', 'CL CW CE ES SS SR SA HS'],
  HEARTBEAT_ACK: ['   CL CW CE ES SS SR SA HS', 'CL CW CE ES SS SR SA ES'],
  ABORT: ['           iv CL CL CL CL CL CL CL', 'CL CL CL CL CL CL CL iv'],
  SHUTDOWN: ['        iv CW CE SS SS SR SA CL', 'CL CW CE SR SS SR SA iv'],
  SHUTDOWN_ACK: ['    CL CW CE ES SA SA SA SA', 'CL CW CE ES SA SA SA iv'],
  ERROR: ['           iv CW CE ES SS SR SA CL', 'CL CW CL ES SS SR SA iv'],
  COOKIE_ECHO: ['     iv CE CE ES SS SR SA CL', 'CL CE CE ES SS SR SA iv'],
  COOKIE_ACK: ['      iv CW ES ES SS SR SA CL', 'CL CW ES ES SS SR SA iv'],
  SHUTDOWN_COMPLETE: ['iv CW CE ES SS SR CL CL', 'CL CW CE ES SS SR CL iv'],
};

const SHORT: Readonly<Record<string, string>> = {
  CLOSED: 'CL',
  COOKIE_WAIT: 'CW',
  COOKIE_ECHOED: 'CE',
  ESTABLISHED: 'ES',
  SHUTDOWN_SENT: 'SS',
  SHUTDOWN_RECD: 'SR',
  SHUTDOWN_ACK_SENT: 'SA',
  HEARTBEAT_SENT: 'HS',
};

describe('SCTP states, as recorded from Linux', () => {
  for (const [name, rows] of Object.entries(RECORDED)) {
    for (const [i, arrow] of (['>', '<'] as const).entries()) {
      it(`${name} ${arrow === '>' ? 'of the opener' : 'of the peer'}`, () => {
        const heard = Object.values(WAYS).map((way) => {
          const talk = new Talk(ENDS);
          for (const [from, type] of way) send(talk, from, type);
          const [ctinfo, state = ''] = send(talk, arrow, SctpChunk[name as keyof typeof SctpChunk]).split(
            ' ',
          );
          return ctinfo === 'INVALID' ? 'iv' : SHORT[state];
        });
        expect(heard.join(' ')).toBe((rows[i] as string).trim());
      });
    }
  }

  it('every cell of the table has a reason', () => {
    for (const direction of [0, 1] as const) {
      for (const type of Object.values(SctpChunk)) {
        for (const state of Object.values(SctpState)) {
          expect(sctpTransitionReason(direction, type, state)).toMatch(/^[a-z]/);
        }
      }
    }
    expect(sctpTransitionReason(0, SctpChunk.DATA, SctpState.ESTABLISHED)).toBe(
      'does not move an association',
    );
  });
});

describe('SCTP associations', () => {
  it('are ASSURED when established, and short-lived before and after', () => {
    const talk = new Talk(ENDS);
    expect(send(talk, '>', INIT)).toBe('NEW CLOSED 10 1/0');
    expect(send(talk, '<', INIT_ACK)).toBe('ESTABLISHED COOKIE_WAIT 3 1/1');
    expect(send(talk, '>', COOKIE_ECHO)).toBe('ESTABLISHED COOKIE_ECHOED 3 2/1');
    expect(send(talk, '<', COOKIE_ACK)).toBe('ESTABLISHED ESTABLISHED 210 ASSURED 2/2');
    expect(send(talk, '>', SctpChunk.DATA)).toBe('ESTABLISHED ESTABLISHED 210 ASSURED 3/2');
    expect(send(talk, '>', SHUTDOWN)).toBe('ESTABLISHED SHUTDOWN_SENT 3 ASSURED 4/2');
    expect(send(talk, '<', SHUTDOWN_ACK)).toBe('ESTABLISHED SHUTDOWN_ACK_SENT 3 ASSURED 4/3');
    expect(send(talk, '>', SctpChunk.SHUTDOWN_COMPLETE)).toBe('ESTABLISHED CLOSED 10 ASSURED 5/3');
  });

  it('on a further path are established by an answered HEARTBEAT', () => {
    const talk = new Talk(ENDS);
    expect(send(talk, '>', HEARTBEAT)).toBe('NEW HEARTBEAT_SENT 30 1/0');
    expect(send(talk, '<', HEARTBEAT_ACK)).toBe('ESTABLISHED ESTABLISHED 210 ASSURED 1/1');
  });

  it('a repeated INIT does not refresh', () => {
    const talk = new Talk(ENDS);
    send(talk, '>', INIT);
    talk.say('+4000');
    expect(send(talk, '>', INIT)).toBe('NEW CLOSED 6 1/0');
  });
});

describe('SCTP verification tags', () => {
  function established(): Talk {
    const talk = new Talk(ENDS);
    for (const [arrow, type] of WAYS.ESTABLISHED ?? []) send(talk, arrow, type);
    return talk;
  }
  const UNTOUCHED = 'INVALID ESTABLISHED 210 ASSURED 2/2';

  it.each([
    ['DATA with a wrong tag', 5, SctpChunk.DATA, 0],
    ['INIT with a tag', 5, INIT, 0],
    ['ABORT with the tag of the other side, not reflected', TAGS['>'], ABORT, 0],
    ['ABORT reflected, with its own tag', TAGS['<'], ABORT, 1],
    ['COOKIE ECHO with a wrong tag', 5, COOKIE_ECHO, 0],
  ])('%s is INVALID', (_, tag, type, flags) => {
    expect(established().packet('>', `tag ${tag} data ${chunk(type, TAGS['>'], flags)}`)).toBe(UNTOUCHED);
  });

  it('a reflected ABORT is believed', () => {
    const said = established().packet('>', `tag ${TAGS['>']} data ${chunk(ABORT, 0, 1)}`);
    expect(said).toBe('ESTABLISHED CLOSED 10 ASSURED 3/2');
  });

  it('a HEARTBEAT with a new tag passes uncounted, and its answer makes the tag known', () => {
    const talk = established();
    expect(talk.packet('>', `tag 7 data ${chunk(HEARTBEAT, 0)}`)).toBe(
      'ESTABLISHED ESTABLISHED 210 ASSURED 2/2',
    );
    expect(talk.packet('<', `tag 8 data ${chunk(HEARTBEAT_ACK, 0)}`)).toBe(
      'ESTABLISHED ESTABLISHED 210 ASSURED 2/3',
    );
    expect(talk.packet('<', `tag 8 data ${chunk(SctpChunk.DATA, 0)}`)).toBe(
      'ESTABLISHED ESTABLISHED 210 ASSURED 2/4',
    );
  });

  it('an answer to no HEARTBEAT does not', () => {
    expect(established().packet('<', `tag 8 data ${chunk(HEARTBEAT_ACK, 0)}`)).toBe(UNTOUCHED);
  });

  it('an INIT ACK that was late does not change the tag of an established association', () => {
    expect(established().packet('<', `tag ${TAGS['>']} data ${chunk(INIT_ACK, 9)}`)).toBe(UNTOUCHED);
  });
});

describe('SCTP packets', () => {
  it.each([
    ['without a chunk', ''],
    ['with an empty chunk', '00000000'],
    ['with a chunk behind INIT', chunk(INIT, 1) + chunk(SctpChunk.DATA, 0)],
    ['with INIT behind a chunk', chunk(SctpChunk.SACK, 0) + chunk(INIT, 1)],
    ['with a cookie that is not first', chunk(SctpChunk.SACK, 0) + chunk(COOKIE_ACK, 0)],
    ['with an INIT cut short', '0100000800000001'],
    ['that only answer', chunk(COOKIE_ACK, 0)],
    ['of an unknown association', chunk(SctpChunk.DATA, 0)],
  ])('%s are INVALID', (_, data) => {
    expect(new Talk(ENDS).packet('>', `tag 0 data ${data}`.replace(/ data $/, ''))).toBe('INVALID none');
  });

  it('with a bad checksum or a header cut short are INVALID', () => {
    new Talk(ENDS).say(`
      > tag 0 data ${chunk(INIT, 1)} sum 1 | INVALID none
      > tag 0 cut 31 iplen 31 | INVALID none
    `);
  });
});
