import { describe, it } from 'vitest';
import { Status } from '../../../lib/conntrack/entries.js';
import { type Ends, Talk } from './talk.js';

const UDP: Ends = { protocol: 'udp', opener: '10.0.0.2:5000', peer: '198.51.100.7:53' };
const UDP6: Ends = { protocol: 'udp', opener: '[fd00:a::2]:5000', peer: '[2001:db8:2::7]:53' };
const LITE: Ends = { protocol: 'udplite', opener: '10.0.0.2:5000', peer: '198.51.100.7:53' };

describe('UDP', () => {
  it.each([UDP, UDP6])('is a stream when it is answered and still active after two seconds', (ends) => {
    new Talk(ends).say(`
      > len 5 | NEW 30 1/0
      < len 5 | ESTABLISHED 30 1/1
      +2000
      > len 5 | ESTABLISHED 30 2/1
      +1
      > len 5 | ESTABLISHED 120 ASSURED 3/1
      < len 5 | ESTABLISHED 120 ASSURED 3/2
    `);
  });

  it('is none while nobody answers, and none by the first answer alone', () => {
    new Talk(UDP).say(`
      > len 5 | NEW 30 1/0
      +3000
      > len 5 | NEW 30 2/0
      < len 5 | ESTABLISHED 30 2/1
      < len 5 | ESTABLISHED 120 ASSURED 2/2
    `);
  });

  it('the entry that lost a clash never becomes ASSURED', () => {
    const talk = new Talk(UDP);
    talk.say(`
      > len 5 | NEW 30 1/0
      < len 5 | ESTABLISHED 30 1/1
      +3000
    `);
    const { entries } = talk.tracker.table(4);
    entries.setStatus(entries.entryOfSlot(0), Status.NAT_CLASH);
    talk.say('> len 5 | ESTABLISHED 120 2/1');
  });

  it('needs a length that fits and a checksum that holds or is absent', () => {
    new Talk(UDP).say(`
      > len 5 udplen 7 | INVALID none
      > len 5 udplen 14 | INVALID none
      > len 5 sum 1 | INVALID none
      > len 5 cut 27 iplen 27 | INVALID none
      > len 5 udplen 8 nosum | NEW 30 1/0
      > len 5 udplen 13 nosum | NEW 30 2/0
    `);
  });

  it('believes checksums when told so', () => {
    new Talk(UDP, { checksum: 0 }).say('> len 5 sum 1 | NEW 30 1/0');
  });
});

describe('UDP-Lite', () => {
  it('is a stream by the first packet behind an answer', () => {
    new Talk(LITE, { checksum: 0 }).say(`
      > cover 8 len 5 | NEW 30 1/0
      < cover 8 len 5 | ESTABLISHED 30 1/1
      > cover 8 len 5 | ESTABLISHED 120 ASSURED 2/1
    `);
  });

  it('needs a possible coverage and a checksum', () => {
    new Talk(LITE, { checksum: 0 }).say(`
      > cover 7 len 5 | INVALID none
      > cover 14 len 5 | INVALID none
      > cover 8 len 5 nosum | INVALID none
      > cover 13 len 5 | NEW 30 1/0
      > cover 0 len 5 | NEW 30 2/0
    `);
  });

  it('is verified with the pseudo header of UDP, as Linux does', () => {
    new Talk(LITE).say(`
      > cover 8 len 5 | INVALID none
      > cover 8 len 5 sum 0xb7df | NEW 30 1/0
    `);
  });
});
