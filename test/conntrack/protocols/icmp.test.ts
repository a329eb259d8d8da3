import { describe, expect, it } from 'vitest';
import { parsePacket } from '../../../lib/scenario/notation.js';
import { type Ends, Talk } from './talk.js';

const ICMP: Ends = { protocol: 'icmp', opener: '10.0.0.2', peer: '198.51.100.7' };
const ICMP6: Ends = { protocol: 'icmpv6', opener: 'fd00:a::2', peer: '2001:db8:2::7' };
const UDP: Ends = { protocol: 'udp', opener: '10.0.0.2:5000', peer: '198.51.100.7:53' };

describe('ICMP queries', () => {
  it.each([
    [8, 0],
    [13, 14],
    [15, 16],
    [17, 18],
  ])('type %i begins a flow that type %i answers', (query, answer) => {
    new Talk(ICMP).say(`
      > ${query}/0 id 7 | NEW 30 1/0
      < ${answer}/0 id 8 | INVALID 30 1/0
      < ${answer}/0 id 7 | ESTABLISHED 30 1/1
      > ${query}/0 id 7 | ESTABLISHED 30 2/1
    `);
  });

  it.each([0, 1, 2, 6, 9, 10, 14, 16, 18, 19, 30, 255])('nothing begins with type %i', (type) => {
    new Talk(ICMP).say(`> ${type}/0 len 4 | INVALID none`);
  });

  it('the code belongs to the flow', () => {
    new Talk(ICMP).say(`
      > 8/5 id 7 | NEW 30 1/0
      < 0/0 id 7 | INVALID 30 1/0
      < 0/5 id 7 | ESTABLISHED 30 1/1
    `);
  });

  it('need eight bytes and a checksum that holds', () => {
    new Talk(ICMP).say(`
      > 8/0 id 7 cut 27 iplen 27 | INVALID none
      > 8/0 id 7 sum 1 | INVALID none
    `);
  });
});

describe('ICMPv6', () => {
  it('echo and node information queries begin flows', () => {
    new Talk(ICMP6).say(`
      > 128/0 id 7 | NEW 30 1/0
      < 129/0 id 7 | ESTABLISHED 30 1/1
    `);
    new Talk(ICMP6).say('> 139/0 len 4 | NEW 30 1/0');
  });

  it.each([130, 131, 132, 133, 134, 135, 136, 143, 151, 152])('type %i is not tracked', (type) => {
    new Talk(ICMP6).say(`> ${type}/0 len 4 | UNTRACKED none`);
  });

  it.each([129, 137, 138, 140, 144, 153, 200, 255])('nothing begins with type %i', (type) => {
    new Talk(ICMP6).say(`> ${type}/0 len 4 | INVALID none`);
  });

  it('is INVALID over IPv4, as ICMP is over IPv6', () => {
    const echo = '80007f6f00070001';
    const over4 = new Talk(ICMP, { checksum: 0 });
    const over6 = new Talk(ICMP6, { checksum: 0 });
    expect(over4.bytes(parsePacket(`ip 10.0.0.2 > 198.51.100.7 proto 58 data ${echo}`))).toBe('INVALID none');
    expect(over6.bytes(parsePacket('ip fd00:a::2 > 2001:db8:2::7 proto 1 data 0800f7f700070001'))).toBe(
      'INVALID none',
    );
  });
});

describe('ICMP errors', () => {
  const QUOTE = '{ udp 10.0.0.2:5000 > 198.51.100.7:53 len 5 }';

  function replied(): Talk {
    const talk = new Talk(UDP);
    talk.say(`
      > len 5 | NEW 30 1/0
      < len 5 | ESTABLISHED 30 1/1
    `);
    return talk;
  }

  /** What the tracker says of an error, without the entry. */
  function hear(talk: Talk, notation: string): string {
    return talk.bytes(parsePacket(notation)).split(' ')[0] as string;
  }

  it.each(['3/1', '3/4', '4/0', '5/1', '11/0', '12/0'])(
    'type %s is RELATED from whoever on the way',
    (type) => {
      expect(hear(replied(), `icmp 203.0.113.9 > 10.0.0.2 ${type} ${QUOTE}`)).toBe('RELATED_REPLY');
    },
  );

  it('about the answer goes the way of the question', () => {
    const quote = '{ udp 198.51.100.7:53 > 10.0.0.2:5000 len 5 }';
    expect(hear(replied(), `icmp 10.0.0.2 > 198.51.100.7 3/3 ${quote}`)).toBe('RELATED');
  });

  it('neither refreshes nor counts', () => {
    const talk = replied();
    talk.say('+1000');
    const said = talk.bytes(parsePacket(`icmp 203.0.113.9 > 10.0.0.2 3/1 ${QUOTE}`));
    expect(said).toBe('RELATED_REPLY 29 1/1');
  });

  it.each([
    ['not sent to the quoted sender', `icmp 203.0.113.9 > 10.0.0.3 3/1 ${QUOTE}`],
    ['about no flow', 'icmp 203.0.113.9 > 10.0.0.2 3/1 { udp 10.0.0.2:5001 > 198.51.100.7:53 }'],
    ['quoting less than the ports', `icmp 203.0.113.9 > 10.0.0.2 3/1 ${QUOTE.replace(' }', ' cut 23 }')}`],
    ['quoting less than a header', `icmp 203.0.113.9 > 10.0.0.2 3/1 ${QUOTE.replace(' }', ' cut 19 }')}`],
    ['quoting a later fragment', `icmp 203.0.113.9 > 10.0.0.2 3/1 ${QUOTE.replace(' }', ' frag 8 }')}`],
    ['quoting an error', 'icmp 203.0.113.9 > 10.0.0.2 3/1 { icmp 10.0.0.2 > 198.51.100.7 3/1 }'],
    ['with a bad checksum', `icmp 203.0.113.9 > 10.0.0.2 3/1 sum 1 ${QUOTE}`],
  ])('%s is INVALID', (_, notation) => {
    expect(hear(replied(), notation)).toBe('INVALID');
  });

  it('quoting just the ports is enough', () => {
    const quote = QUOTE.replace(' }', ' cut 24 }');
    expect(hear(replied(), `icmp 203.0.113.9 > 10.0.0.2 3/1 ${quote}`)).toBe('RELATED_REPLY');
  });

  it('finds the quoted IPv6 packet behind extension headers', () => {
    const talk = new Talk({ protocol: 'udp', opener: '[fd00:a::2]:5000', peer: '[2001:db8:2::7]:53' });
    talk.say('> len 5 | NEW 30 1/0');
    const quote = '{ udp [fd00:a::2]:5000 > [2001:db8:2::7]:53 ext 60:00010400000000 len 5 }';
    expect(hear(talk, `icmpv6 2001:db8:1::9 > fd00:a::2 1/0 ${quote}`)).toBe('RELATED_REPLY');
  });
});
