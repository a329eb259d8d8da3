import { describe, expect, it } from 'vitest';
import type { HashSet } from '../../../lib/rules/sets/hash-set.js';
import { type DnsRecord, dnsAnswer, PolicyLab } from './lab.js';

const SYN = 'SYN seq 1';
const to = (address: string, port = 443, from = 4000) => `tcp 10.0.0.2:${from} > ${address}:${port} ${SYN}`;
const a = (a0: number, b: number, c: number, d: number, more: Partial<DnsRecord> = {}): DnsRecord => ({
  type: 'A',
  value: [a0, b, c, d],
  ...more,
});

describe('a name of the policy', () => {
  it('opens the addresses that a guest was answered with, and the port that the entry says', () => {
    const lab = new PolicyLab({ allowOut: ['example.com:443'] });
    expect(lab.passes(to('93.184.216.34'))).toBe(false);
    expect(lab.answer('EXAMPLE.com', [a(93, 184, 216, 34)])).toEqual({
      name: 'example.com',
      added: ['93.184.216.34'],
      refused: [],
    });
    expect(lab.passes(to('93.184.216.34'))).toBe(true);
    expect(lab.passes(to('93.184.216.34', 80))).toBe(false);
    expect(lab.passes(to('93.184.216.35'))).toBe(false);
  });

  it('opens IPv6 addresses alike', () => {
    const lab = new PolicyLab({ allowOut: ['example.com'] });
    lab.answer('example.com', [
      { type: 'AAAA', value: [0x26, 0x06, 0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] },
    ]);
    expect(lab.passes(`tcp [fd00:a::2]:4000 > [2606:2800::1]:443 ${SYN}`)).toBe(true);
    expect(lab.passes(`tcp [fd00:a::2]:4000 > [2606:2800::2]:443 ${SYN}`)).toBe(false);
  });

  it('with a star opens what lies below it', () => {
    const lab = new PolicyLab({ allowOut: ['*.example.com'] });
    lab.answer('a.b.example.com', [a(93, 184, 216, 1)]);
    lab.answer('example.com', [a(93, 184, 216, 2)]);
    lab.answer('notexample.com', [a(93, 184, 216, 3)]);
    lab.answer('example.com.evil.org', [a(93, 184, 216, 4)]);
    expect([1, 2, 3, 4].map((i) => lab.passes(to(`93.184.216.${i}`)))).toEqual([true, false, false, false]);
  });

  it('follows aliases from the name that was asked for, and only those', () => {
    const lab = new PolicyLab({ allowOut: ['example.com'] });
    lab.answer('example.com', [
      { type: 'CNAME', value: 'a.cdn.net' },
      { owner: 'a.cdn.net', type: 'CNAME', value: 'b.cdn.net' },
      a(93, 184, 216, 1, { owner: 'b.cdn.net' }),
      a(93, 184, 216, 2, { owner: 'unasked.net' }),
    ]);
    expect(lab.passes(to('93.184.216.1'))).toBe(true);
    expect(lab.passes(to('93.184.216.2'))).toBe(false);
  });

  it('is not opened by the answer to another name that leads to it', () => {
    const lab = new PolicyLab({ allowOut: ['example.com'] });
    lab.answer('evil.org', [
      { type: 'CNAME', value: 'example.com' },
      a(93, 184, 216, 66, { owner: 'example.com' }),
    ]);
    expect(lab.passes(to('93.184.216.66'))).toBe(false);
  });

  it('denies as well, before what is allowed by nothing', () => {
    const lab = new PolicyLab({ denyOut: ['ads.example.com'] });
    lab.answer('ads.example.com', [a(93, 184, 216, 9)]);
    expect(lab.passes(to('93.184.216.9'))).toBe(false);
    expect(lab.denied).toMatchObject([{ rule: 'denyOut ads.example.com', domain: 'ads.example.com' }]);
    expect(lab.passes(to('93.184.216.8'))).toBe(true);
  });

  it('is named in the report when its address is denied', () => {
    const lab = new PolicyLab({ allowOut: ['example.com'] });
    lab.answer('other.org', [a(93, 184, 216, 9)]);
    lab.passes(to('93.184.216.9'));
    expect(lab.denied).toMatchObject([{ domain: 'other.org', rule: 'not in allowOut' }]);
  });
});

describe('the time of an address', () => {
  it('is that of the record, and then it is closed to new connections but not to those that began', () => {
    const lab = new PolicyLab({ allowOut: ['example.com'] });
    lab.answer('example.com', [a(93, 184, 216, 34, { ttl: 120 })]);
    expect(lab.passes(to('93.184.216.34', 443, 4000))).toBe(true);
    lab.send('wan', 'tcp 93.184.216.34:443 > 203.0.113.1:4000 SYN,ACK seq 9 ack 2');
    lab.send('lan', 'tcp 10.0.0.2:4000 > 93.184.216.34:443 ACK seq 2 ack 10');
    lab.nowMs += 119_000;
    expect(lab.passes(to('93.184.216.34', 443, 4001))).toBe(true);
    lab.nowMs += 2000;
    expect(lab.passes(to('93.184.216.34', 443, 4002))).toBe(false);
    expect(lab.passes('tcp 10.0.0.2:4000 > 93.184.216.34:443 ACK seq 2 ack 10')).toBe(true);
  });

  it('is the least of the records on the way', () => {
    const lab = new PolicyLab({ allowOut: ['example.com'], domains: { leastTtlSeconds: 1 } });
    lab.answer('example.com', [
      { type: 'CNAME', value: 'a.cdn.net', ttl: 10 },
      a(93, 184, 216, 1, { owner: 'a.cdn.net', ttl: 900 }),
    ]);
    lab.nowMs += 11_000;
    expect(lab.passes(to('93.184.216.1'))).toBe(false);
  });

  it.each([
    [0, 59_000, true],
    [0, 61_000, false],
    [0x7fffffff, 3_599_000, true],
    [0x7fffffff, 3_601_000, false],
  ])('that the answer says is %i s is bounded: after %i ms %s', (ttl, afterMs, isOpen) => {
    const lab = new PolicyLab({ allowOut: ['example.com'] });
    lab.answer('example.com', [a(93, 184, 216, 34, { ttl })]);
    lab.nowMs += afterMs;
    expect(lab.passes(to('93.184.216.34'))).toBe(isOpen);
  });

  it('is a second at least, never for ever', () => {
    const lab = new PolicyLab({ allowOut: ['example.com'], domains: { leastTtlSeconds: 0 } });
    lab.answer('example.com', [a(93, 184, 216, 34, { ttl: 0 })]);
    lab.nowMs += 2000;
    expect(lab.passes(to('93.184.216.34'))).toBe(false);
  });

  it('is not cut short by a later answer', () => {
    const lab = new PolicyLab({ allowOut: ['example.com'] });
    lab.answer('example.com', [a(93, 184, 216, 34, { ttl: 1000 })]);
    lab.answer('example.com', [a(93, 184, 216, 34, { ttl: 60 })]);
    lab.nowMs += 500_000;
    expect(lab.passes(to('93.184.216.34'))).toBe(true);
  });

  it('goes on when the policy changes around its name', () => {
    const lab = new PolicyLab({ allowOut: ['example.com'] });
    lab.answer('example.com', [a(93, 184, 216, 34)]);
    expect(lab.passes(to('93.184.216.34'))).toBe(true);
    lab.policy.apply({ allowOut: ['1.1.1.1', 'example.com:443', 'other.org'] });
    expect(lab.passes(to('93.184.216.34', 443, 4001))).toBe(true);
  });

  it('that is over does not cut connections when the policy changes and keeps the name', () => {
    const lab = new PolicyLab({ allowOut: ['example.com', '1.1.1.1'] });
    lab.answer('example.com', [a(93, 184, 216, 34, { ttl: 60 })]);
    lab.passes(to('93.184.216.34'));
    lab.send('wan', 'tcp 93.184.216.34:443 > 203.0.113.1:4000 SYN,ACK seq 9 ack 2');
    lab.send('lan', 'tcp 10.0.0.2:4000 > 93.184.216.34:443 ACK seq 2 ack 10');
    lab.nowMs += 70_000;
    lab.policy.apply({ allowOut: ['example.com'] });
    expect(lab.passes('tcp 10.0.0.2:4000 > 93.184.216.34:443 ACK seq 2 ack 10')).toBe(true);
    lab.policy.apply({ allowOut: ['1.1.1.1'] });
    expect(lab.passes('tcp 10.0.0.2:4000 > 93.184.216.34:443 ACK seq 2 ack 10')).toBe(false);
  });
});

describe('a hostile answer', () => {
  it.each([
    ['10.0.0.1', 'own'],
    ['10.0.0.77', 'private'],
    ['192.168.1.1', 'private'],
    ['100.64.1.1', 'private'],
    ['169.254.169.254', 'protected'],
    ['127.0.0.1', 'protected'],
    ['0.0.0.0', 'protected'],
  ])('that gives a public name the address %s opens nothing: %s', (address, reason) => {
    const lab = new PolicyLab({ allowOut: ['example.com'] });
    const told: string[] = [];
    lab.policy.events.on('refused', ({ name, from }) => told.push(`${name} ${from}`));
    const value = address.split('.').map(Number) as [number, number, number, number];
    const observed = lab.answer('example.com', [a(...value), a(93, 184, 216, 34)]);
    expect(observed?.added).toEqual(['93.184.216.34']);
    expect(observed?.refused).toMatchObject([{ address, reason }]);
    expect(told).toEqual(['example.com 10.0.0.2']);
  });

  it('may give private addresses if the policy says so, but never protected ones', () => {
    const lab = new PolicyLab({ allowOut: ['nas.example.com'], privateAnswers: 'allow' });
    expect(lab.answer('nas.example.com', [a(192, 168, 1, 5)])?.added).toEqual(['192.168.1.5']);
    expect(lab.answer('nas.example.com', [a(169, 254, 169, 254)])?.added).toEqual([]);
    expect(lab.passes(to('192.168.1.5'))).toBe(true);
  });

  it('cannot make a set grow beyond its bounds; the newest are in it', () => {
    const lab = new PolicyLab({ allowOut: ['*.example.com'], domains: { addressesPerName: 16 } });
    for (let i = 0; i < 500; i++) lab.answer(`h${i}.example.com`, [a(93, 184, i >> 8, i & 255)]);
    const set = lab.router.engine.sets.find('ct4-_.example.com')?.set as HashSet;
    expect(set.size).toBe(16);
    expect(lab.passes(to('93.184.1.243'))).toBe(true);
    expect(lab.passes(to('93.184.0.1'))).toBe(false);
  });

  it.each([
    ['a query', (bytes: Uint8Array) => bytes.with(2, 1)],
    ['cut off', (bytes: Uint8Array) => bytes.subarray(0, bytes.length - 2)],
    ['a header alone', (bytes: Uint8Array) => bytes.subarray(0, 12)],
    ['empty', (bytes: Uint8Array) => bytes.subarray(0, 0)],
    ['an error', (bytes: Uint8Array) => bytes.with(3, 0x83)],
  ])('that is %s opens nothing', (_, spoil) => {
    const lab = new PolicyLab({ allowOut: ['example.com'] });
    const bytes = spoil(dnsAnswer('example.com', [a(93, 184, 216, 34)]));
    lab.policy.observeDnsAnswer(bytes, lab.nowMs, { address: '10.0.0.2', interface: 'lan' });
    expect(lab.passes(to('93.184.216.34'))).toBe(false);
  });

  it('that was not for a guest opens nothing', () => {
    const lab = new PolicyLab({ allowOut: ['example.com'] });
    expect(lab.answer('example.com', [a(93, 184, 216, 34)], 'wan')).toBeUndefined();
    expect(lab.passes(to('93.184.216.34'))).toBe(false);
  });

  it('of a protected name opens nothing, wherever it leads', () => {
    const lab = new PolicyLab({ allowOut: ['*.google.internal'] });
    expect(lab.answer('metadata.google.internal', [a(93, 184, 216, 34)])?.added).toEqual([]);
  });
});

it('names that begin alike have sets of their own', () => {
  const long = 'a-very-long-name-indeed-that-is-cut';
  const lab = new PolicyLab({ allowOut: [`${long}.example.com`, `${long}.example.org`] });
  expect([...lab.router.engine.sets.names].every((name) => name.length <= 31)).toBe(true);
  expect(lab.router.engine.sets.names.size).toBe(4);
  lab.answer(`${long}.example.org`, [a(93, 184, 216, 34)]);
  expect(lab.passes(to('93.184.216.34'))).toBe(true);
  lab.policy.apply({ allowOut: [`${long}.example.com`] });
  expect(lab.router.engine.sets.names.size).toBe(2);
  expect(lab.passes(to('93.184.216.34', 443, 4001))).toBe(false);
});
