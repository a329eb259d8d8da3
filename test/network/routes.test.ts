import { describe, expect, it } from 'vitest';
import { ConfigurationError } from '../../lib/errors.js';
import { AddressType } from '../../lib/host.js';
import { Interfaces } from '../../lib/network/interfaces.js';
import { RouterHost } from '../../lib/network/router-host.js';
import { Routes } from '../../lib/network/routes.js';
import { formatAddress, parseAddress } from '../../lib/rules/text/address.js';

function network() {
  const interfaces = new Interfaces([
    { name: 'lan', device: 'tun0', addresses: ['10.0.0.1/24', '10.0.0.9/24', 'fd00:a::1/64'] },
    { name: 'wan', device: 'tun1', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'], mtu: 1400 },
  ]);
  const routes = new Routes(interfaces);
  const find = (text: string, oif = 0) => {
    const version = text.includes(':') ? 6 : 4;
    const words = Int32Array.from(parseAddress(text, version) as readonly number[]);
    const type = routes.find(version, words, 0, oif);
    return type === 0 ? 'none' : `${NAMES[type]} ${interfaces.name(routes.interface)}`.trim();
  };
  return { interfaces, routes, find, host: new RouterHost(interfaces, routes) };
}

const NAMES = Object.keys(AddressType).map((name) => name.toLowerCase());

describe('routes', () => {
  it.each([
    ['10.0.0.7', 'unicast tun0'],
    ['10.0.0.1', 'local lo'],
    ['10.0.0.9', 'local lo'],
    ['10.0.0.255', 'broadcast tun0'],
    ['10.0.0.0', 'unicast tun0'],
    ['203.0.113.200', 'unicast tun1'],
    ['127.3.2.1', 'local lo'],
    ['8.8.8.8', 'none'],
    ['fd00:a::2', 'unicast tun0'],
    ['fd00:a::1', 'local lo'],
    ['::1', 'local lo'],
    ['ff02::5', 'multicast tun0'],
    ['2001:db8:9::1', 'none'],
  ])('come with addresses: %s is %s', (address, expected) => {
    expect(network().find(address)).toBe(expected);
  });

  it('the longest prefix wins, then the lowest metric', () => {
    const { routes, find } = network();
    routes.add('default via 203.0.113.254');
    routes.add('192.0.2.0/24 dev tun1 metric 5');
    routes.add('192.0.2.0/24 dev tun0 metric 2');
    routes.add('unreachable 192.0.2.128/25');
    routes.add('prohibit 192.0.2.129');
    routes.add('blackhole 192.0.2.130/32');
    expect(find('1.1.1.1')).toBe('unicast tun1');
    expect(find('192.0.2.1')).toBe('unicast tun0');
    expect(find('192.0.2.1', 2)).toBe('unicast tun1');
    expect(find('192.0.2.200')).toBe('unreachable');
    expect(find('192.0.2.129')).toBe('prohibit');
    expect(find('192.0.2.130')).toBe('blackhole');
    routes.remove('192.0.2.0/24 dev tun0');
    expect(find('192.0.2.1')).toBe('unicast tun1');
  });

  it('an address that goes takes its routes along and leaves those of others', () => {
    const { routes, find } = network();
    routes.removeAddress(1, '10.0.0.1/24');
    expect(find('10.0.0.1')).toBe('unicast tun0');
    expect(find('10.0.0.9')).toBe('local lo');
    routes.removeAddress(1, '10.0.0.9/24');
    expect(find('10.0.0.9')).toBe('none');
    expect(find('10.0.0.255')).toBe('none');
    expect(find('fd00:a::1')).toBe('local lo');
  });

  it.each([
    ['default', /leads nowhere/],
    ['default dev tun7', /no such interface.*'tun7'/],
    ['default via 8.8.8.8', /leads nowhere/],
    ['10.0.0.1/24 dev tun0', /host bits are set/],
    ['-6 10.0.0.0/24 dev tun0', /other family/],
    ['10.0.9.0/24 dev tun0 weight 3', /unknown word.*'weight'/],
    ['10.0.9.0/33 dev tun0', /not an address/],
  ])('%s is refused', (text, message) => {
    const { routes } = network();
    const before = routes.list(4).length;
    expect(() => routes.add(text)).toThrow(ConfigurationError);
    expect(() => routes.add(text)).toThrow(message);
    expect(routes.list(4).length).toBe(before);
  });
});

describe('the router as host', () => {
  const masquerade = (out: number, to: string) => {
    const { host } = network();
    const version = to.includes(':') ? 6 : 4;
    const words = Int32Array.from(parseAddress(to, version) as readonly number[]);
    const into = new Int32Array(4);
    if (host.masqueradeAddress(version, out, words, 0, into) === 0) return 'none';
    return formatAddress([into[0]!, into[1]!, into[2]!, into[3]!], version);
  };

  it.each([
    [1, '10.0.0.7', '10.0.0.1'],
    [2, '8.8.8.8', '203.0.113.1'],
    [1, '8.8.8.8', '10.0.0.1'],
    [2, '2606::1', '2001:db8:1::1'],
    [1, 'fd00:a::7', 'fd00:a::1'],
  ])('masquerades over interface %i towards %s as %s', (out, to, expected) => {
    expect(masquerade(out, to)).toBe(expected);
  });

  it('redirects to the first address of the interface, and own packets to loopback', () => {
    const { host } = network();
    const into = new Int32Array(4);
    expect([host.redirectAddress(4, 1, into), into[0]]).toEqual([1, 0x0a000001]);
    expect([host.redirectAddress(4, 0, into), into[0]]).toEqual([1, 0x7f000001]);
    expect([host.redirectAddress(6, 0, into), ...into]).toEqual([1, 0, 0, 0, 1]);
  });

  it.each([
    ['10.0.0.1', 0, AddressType.LOCAL],
    ['10.0.0.1', 2, AddressType.UNICAST],
    ['10.0.0.255', 0, AddressType.BROADCAST],
    ['255.255.255.255', 0, AddressType.BROADCAST],
    ['224.0.0.9', 0, AddressType.MULTICAST],
    ['8.8.8.8', 0, AddressType.UNICAST],
    ['fd00:a::1', 0, AddressType.LOCAL],
    ['ff02::1', 0, AddressType.MULTICAST],
    ['fd00:a::2', 0, AddressType.UNICAST],
    ['2606::1', 0, AddressType.UNREACHABLE],
  ])('knows %s (seen on %i) as type %i', (text, limit, expected) => {
    const { host } = network();
    const version = text.includes(':') ? 6 : 4;
    const words = Int32Array.from(parseAddress(text, version) as readonly number[]);
    expect(host.addressType(version, words, 0, limit)).toBe(expected);
  });
});
