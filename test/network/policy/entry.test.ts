import { describe, expect, it } from 'vitest';
import { ConfigurationError } from '../../../lib/errors.js';
import { domainCovers, parseEntry } from '../../../lib/network/policy/entry.js';
import { isPrivate } from '../../../lib/network/policy/protected.js';
import { formatAddress, parseAddress } from '../../../lib/wire/address.js';

function read(text: string): string {
  const { protocols, network, domain, ports } = parseEntry(text, 'allowOut');
  const place =
    network === undefined ? '' : `${formatAddress(network.words, network.version)}/${network.prefix}`;
  return [
    protocols?.join('+') ?? 'any',
    domain ?? (place === '' ? 'anywhere' : place),
    ports === undefined ? 'every port' : `${ports.low}-${ports.high}`,
  ].join(' ');
}

describe('an entry of a policy', () => {
  it.each([
    ['93.184.216.0/24', 'any 93.184.216.0/24 every port'],
    ['93.184.216.34', 'any 93.184.216.34/32 every port'],
    ['93.184.216.34/24', 'any 93.184.216.0/24 every port'],
    ['93.184.216.34:443', '6+17 93.184.216.34/32 443-443'],
    ['10.0.0.0/8:8000-8010', '6+17 10.0.0.0/8 8000-8010'],
    ['tcp/443', '6 anywhere 443-443'],
    ['udp/1000-2000', '17 anywhere 1000-2000'],
    ['sctp/5', '132 anywhere 5-5'],
    ['tcp', '6 anywhere every port'],
    ['icmp', '1 anywhere every port'],
    ['icmp/10.0.0.0/8', '1 10.0.0.0/8 every port'],
    ['89/10.0.0.1', '89 10.0.0.1/32 every port'],
    ['tcp/10.0.0.0/8:22', '6 10.0.0.0/8 22-22'],
    ['example.com', 'any example.com every port'],
    ['Example.COM.', 'any example.com every port'],
    ['example.com:443', '6+17 example.com 443-443'],
    ['tcp/example.com:443', '6 example.com 443-443'],
    ['*.example.com', 'any *.example.com every port'],
    ['xn--bcher-kva.example', 'any xn--bcher-kva.example every port'],
    ['2001:db8::/32', 'any 2001:db8::/32 every port'],
    ['2001:db8::1', 'any 2001:db8::1/128 every port'],
    ['[2001:db8::1]:53', '6+17 2001:db8::1/128 53-53'],
    ['udp/[2001:db8::/32]:53', '17 2001:db8::/32 53-53'],
    ['0.0.0.0/0', 'any 0.0.0.0/0 every port'],
    ['*', 'any anywhere every port'],
    ['tcp/*', '6 anywhere every port'],
    [':443', '6+17 anywhere 443-443'],
    ['*:443', '6+17 anywhere 443-443'],
  ])('%s means %s', (text, meaning) => {
    expect(read(text)).toBe(meaning);
  });

  it.each([
    [''],
    ['443'],
    ['tcp/0'],
    ['tcp/65536'],
    ['tcp/20-10'],
    ['icmp/443'],
    ['icmp/10.0.0.1:3'],
    ['10.0.0.0/33'],
    ['10.0.0'],
    ['300.0.0.1'],
    ['example'],
    ['-a.example.com'],
    ['a..example.com'],
    ['*.*.example.com'],
    ['exa*mple.com'],
    ['*'.repeat(3)],
    ['bücher.example'],
    ['example.com:'],
    ['example.com:http'],
    ['https://example.com'],
    ['tcp/'],
    [':'],
    [' tcp/443'],
    ['2001:db8::1/129'],
    [`${'a.'.repeat(130)}com`],
  ])("'%s' is refused", (text) => {
    expect(() => parseEntry(text, 'allowOut')).toThrow(ConfigurationError);
  });
});

it.each([
  ['example.com', 'example.com', true],
  ['example.com', 'www.example.com', false],
  ['*.example.com', 'www.example.com', true],
  ['*.example.com', 'a.b.example.com', true],
  ['*.example.com', 'example.com', false],
  ['*.example.com', '.example.com', false],
  ['*.example.com', 'evilexample.com', false],
  ['*.example.com', 'example.com.evil.org', false],
])('%s covers %s: %s', (domain, name, expected) => {
  expect(domainCovers(domain, name)).toBe(expected);
});

it.each<[string, boolean]>([
  ['10.1.2.3', true],
  ['172.31.0.1', true],
  ['172.32.0.1', false],
  ['192.168.1.1', true],
  ['100.64.0.1', true],
  ['169.254.1.1', true],
  ['127.0.0.1', true],
  ['0.0.0.0', true],
  ['224.0.0.1', true],
  ['255.255.255.255', true],
  ['93.184.216.34', false],
  ['::1', true],
  ['fd00::1', true],
  ['fe80::1', true],
  ['::ffff:10.0.0.1', true],
  ['::ffff:93.184.216.34', false],
  ['64:ff9b::192.168.0.1', true],
  ['64:ff9b::93.184.216.34', false],
  ['2606:4700::1', false],
])('%s is no address of the public internet: %s', (text, expected) => {
  const version = text.includes(':') ? 6 : 4;
  expect(isPrivate(version, parseAddress(text, version)!)).toBe(expected);
});
