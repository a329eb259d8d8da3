import { describe, expect, it } from 'vitest';
import { protocolName, protocolNumber, stateName } from '../../../lib/conntrack/protocols/names.js';
import { type Ends, Talk } from './talk.js';

const IP: Ends = { protocol: 'ip', opener: '10.0.0.2', peer: '198.51.100.7' };

describe('GRE', () => {
  it('is a stream once it is answered', () => {
    new Talk(IP).say(`
      > proto 47 data 00000800 | NEW 30 1/0
      > proto 47 data 00000800 | NEW 30 2/0
      < proto 47 data 00000800 | ESTABLISHED 30 2/1
      > proto 47 data 00000800 | ESTABLISHED 180 ASSURED 3/1
    `);
  });

  it('of version 1 is a flow per call', () => {
    new Talk(IP).say(`
      > proto 47 data 3001880b0004002a00000001 | NEW 30 1/0
      > proto 47 data 3001880b0004002b00000001 | NEW 30 1/0
      > proto 47 data 3001880b0004002a00000001 | NEW 30 2/0
    `);
  });

  it('of version 1 that carries no PPP is INVALID', () => {
    new Talk(IP).say('> proto 47 data 300108000004002a00000001 | INVALID none');
  });

  it('keeps the timeouts of its beginning', () => {
    const talk = new Talk(IP);
    talk.say('> proto 47 data 00000800 | NEW 30 1/0');
    talk.tracker.context.timeouts.set('nf_conntrack_gre_timeout', 5);
    talk.say('> proto 47 data 00000800 | NEW 30 2/0');
  });
});

describe('any other protocol', () => {
  it('is a flow between two addresses for ten minutes, never ASSURED', () => {
    new Talk(IP).say(`
      > proto 50 len 8 | NEW 600 1/0
      < proto 50 len 8 | ESTABLISHED 600 1/1
      +1000
      > proto 50 | ESTABLISHED 600 2/1
    `);
  });
});

describe('names', () => {
  it('are those of conntrack -L', () => {
    expect([1, 6, 17, 33, 47, 58, 132, 136, 50].map(protocolName)).toEqual([
      'icmp',
      'tcp',
      'udp',
      'dccp',
      'gre',
      'icmpv6',
      'sctp',
      'udplite',
      'unknown',
    ]);
    expect(protocolNumber('sctp')).toBe(132);
    expect(protocolNumber('unknown')).toBeUndefined();
  });

  it('of states are there for TCP and SCTP', () => {
    expect(stateName(6, 9)).toBe('SYN_SENT2');
    expect(stateName(132, 8)).toBe('HEARTBEAT_SENT');
    expect(stateName(17, 0)).toBeUndefined();
  });
});
