import { describe, expect, it } from 'vitest';
import { Manip, type NatRange, NatRangeFlag } from '../../lib/nat/range.js';
import { spreadAddress } from '../../lib/nat/spread.js';
import { address, range, words } from './gateway.js';

function spread(source: string, destination: string, to: NatRange, manip: Manip = Manip.SRC): string {
  const version = source.includes(':') ? 6 : 4;
  const key = new Int32Array(10);
  key.set(words(source), 0);
  key.set(words(destination), 4);
  spreadAddress(key, to, manip, version, 0);
  return address(key, manip === Manip.SRC ? 0 : 4, version);
}

function range6(low: string, high: string, flags: number): NatRange {
  return {
    ...range(''),
    flags: flags | NatRangeFlag.MAP_IPS,
    minAddress: words(low),
    maxAddress: words(high),
  };
}

// What Linux 6.18 chose for the same addresses.
describe('the address of a range', () => {
  it.each([
    ['10.0.0.2', '203.0.113.20'],
    ['10.0.0.3', '203.0.113.19'],
    ['10.0.0.4', '203.0.113.12'],
    ['10.0.0.77', '203.0.113.11'],
    ['10.0.0.200', '203.0.113.16'],
  ])('is, persistent, a function of the source %s alone: %s', (source, chosen) => {
    const to = range('203.0.113.10-203.0.113.20', NatRangeFlag.PERSISTENT);
    expect(spread(source, '198.51.100.7', to)).toBe(chosen);
    expect(spread(source, '198.51.100.8', to)).toBe(chosen);
  });

  it.each([
    ['10.0.0.10', '203.0.113.46'],
    ['10.0.0.11', '203.0.113.182'],
    ['10.0.0.12', '203.0.113.68'],
    ['10.0.0.13', '203.0.113.164'],
    ['10.0.0.14', '203.0.113.187'],
    ['10.0.0.15', '203.0.113.152'],
    ['10.0.0.16', '203.0.113.147'],
    ['10.0.0.17', '203.0.113.22'],
  ])('is a function of source %s and destination: %s', (source, chosen) => {
    expect(spread(source, '198.51.100.7', range('203.0.112.250-203.0.114.3'))).toBe(chosen);
  });

  it.each([
    ['fd00:a::10', '2001:db8:1:0:1:d7a3:1af4:6bb0', '2001:db8:1:0:0:0:0:17'],
    ['fd00:a::11', '2001:db8:1:0:2:d85:21b0:a173', '2001:db8:1:0:0:0:0:15'],
    ['fd00:a::12', '2001:db8:1:0:8:1791:e2f2:18b6', '2001:db8:1:0:0:0:0:19'],
    ['fd00:a::14', '2001:db8:1:0:5:9a9:8135:1708', '2001:db8:1:0:0:0:0:10'],
  ])('of IPv6 is chosen word by word: %s', (source, wide, persistent) => {
    const to = range6('2001:db8:1:0:1::', '2001:db8:1:0:9::ffff', 0);
    expect(spread(source, '2001:db8:2::7', to)).toBe(wide);
    const same = range6('2001:db8:1::10', '2001:db8:1::1f', NatRangeFlag.PERSISTENT);
    expect(spread(source, '2001:db8:2::7', same)).toBe(persistent);
  });

  it.each([
    ['198.51.100.20', '10.0.0.11', '10.0.0.17'],
    ['198.51.100.21', '10.0.0.15', '10.0.0.14'],
    ['198.51.100.22', '10.0.0.13', '10.0.0.14'],
    ['198.51.100.23', '10.0.0.17', '10.0.0.15'],
  ])('of a destination range depends on the client %s too', (source, plain, persistent) => {
    const to = range('10.0.0.10-10.0.0.17');
    expect(spread(source, '203.0.113.1', to, Manip.DST)).toBe(plain);
    const same = range('10.0.0.10-10.0.0.17', NatRangeFlag.PERSISTENT);
    expect(spread(source, '203.0.113.1', same, Manip.DST)).toBe(persistent);
  });

  it('of an IPv6 destination range follows the words already chosen', () => {
    const to: NatRange = {
      ...range(''),
      flags: NatRangeFlag.MAP_IPS,
      minAddress: words('fd00:a::2'),
      maxAddress: words('fd00:a::3'),
    };
    expect(spread('fd00:a::4', '2001:db8:2::8', to, Manip.DST)).toBe('fd00:a:0:0:0:0:0:3');
  });

  it.each([
    ['2001:db8:2::7', '2001:db8:1::20', 'fd00:a:0:0:0:0:0:4'],
    ['2001:db8:2::7', '2001:db8:1::1', 'fd00:a:0:0:0:0:0:4'],
    ['2001:db8:2::8', '2001:db8:1::1', 'fd00:a:0:0:0:0:0:3'],
  ])('of an IPv6 destination range, for %s to %s', (source, destination, chosen) => {
    const to = range6('fd00:a::2', 'fd00:a::4', 0);
    expect(spread(source, destination, to, Manip.DST)).toBe(chosen);
  });

  it('stays as it is without a range of addresses', () => {
    expect(spread('10.0.0.2', '198.51.100.7', range(':4000-4001'))).toBe('10.0.0.2');
  });
});
