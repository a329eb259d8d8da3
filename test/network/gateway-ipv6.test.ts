import { describe, expect, it } from 'vitest';
import type { AdvertiseOptions } from '../../lib/network/advertisements.js';
import type { NeighbourReport } from '../../lib/network/gateway-events.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { formatAddress, parseAddress } from '../../lib/wire/address.js';
import { sumPseudoHeader } from '../../lib/wire/checksum.js';
import { makeIpv6, put32, sealTransport } from '../../lib/wire/segment.js';
import { type Bench, frame, GATEWAY_MAC, GUEST_MAC, makeBench, OTHER_MAC } from './gateway-frames.js';

const GUEST = 'fd00:a::2';
const OURS = 'fd00:a::1';
const hex = (mac: string): number[] => mac.split(':').map((part) => Number.parseInt(part, 16));

interface Message {
  readonly type: number;
  readonly from: string;
  readonly to: string;
  readonly target?: string;
  readonly flags?: number;
  /** Link-layer address option: type and address. */
  readonly option?: readonly [type: number, mac: string];
  readonly mac?: string;
  readonly hopLimit?: number;
}

/** A neighbour discovery message as a guest sends it. */
function send(
  bench: Bench,
  { type, from, to, target, flags = 0, option, mac = GUEST_MAC, hopLimit = 255 }: Message,
) {
  const addresses = Int32Array.from([...parseAddress(from, 6)!, ...parseAddress(to, 6)!]);
  const head = target === undefined ? 8 : 24;
  const length = head + (option === undefined ? 0 : 8);
  const bytes = makeIpv6({ trafficClass: 0, next: 58, hopLimit, addresses }, length);
  bytes[40] = type;
  bytes[44] = flags;
  if (target !== undefined)
    for (const [i, word] of parseAddress(target, 6)!.entries()) put32(bytes, 48 + 4 * i, word);
  if (option !== undefined) bytes.set([option[0], 1, ...hex(option[1])], 40 + head);
  sealTransport(bytes, 40, 42, sumPseudoHeader(addresses, 58, length));
  const isGroup = to.startsWith('ff');
  const group = `33:33:${[...bytes.slice(36, 40)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`;
  bench.receive('lan', frame(isGroup ? group : GATEWAY_MAC, mac, 0x86dd, bytes));
}

interface Heard {
  readonly type: number;
  readonly flags: number;
  readonly from: string;
  readonly to: string;
  readonly toMac: string;
  readonly target: string;
  readonly bytes: Uint8Array;
}

/** What the gateway sent to its `lan` in ICMPv6. */
function heard(bench: Bench): Heard[] {
  const address = (bytes: Uint8Array, at: number) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at);
    return formatAddress(
      [0, 4, 8, 12].map((i) => view.getInt32(i)),
      6,
    );
  };
  return bench
    .takeBytes()
    .filter(({ port }) => port === 'lan')
    .map(({ bytes }) => ({
      type: bytes[54]!,
      flags: bytes[58]!,
      from: address(bytes, 22),
      to: address(bytes, 38),
      toMac: [...bytes.slice(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
      target: bytes.length >= 78 ? address(bytes, 62) : '',
      bytes,
    }));
}

const RS = 133;
const RA = 134;
const NS = 135;
const NA = 136;
const LINK_LOCAL = 'fe80::ff:fe00:1';

describe('neighbour discovery', () => {
  it('answers for its addresses with its link-layer address, as a router', () => {
    const bench = makeBench();
    send(bench, { type: NS, from: GUEST, to: 'ff02::1:ff00:1', target: OURS, option: [1, GUEST_MAC] });
    const [answer] = heard(bench);
    expect(answer).toMatchObject({
      type: NA,
      flags: 0xe0,
      from: OURS,
      to: GUEST,
      target: OURS,
      toMac: GUEST_MAC,
    });
    expect([...answer!.bytes.slice(78, 86)]).toEqual([2, 1, ...hex(GATEWAY_MAC)]);
  });

  it('answers for its link-local address, which comes from its Ethernet address', () => {
    const bench = makeBench();
    send(bench, {
      type: NS,
      from: 'fe80::9',
      to: 'ff02::1:ff00:1',
      target: LINK_LOCAL,
      option: [1, GUEST_MAC],
    });
    expect(heard(bench)).toMatchObject([{ type: NA, from: LINK_LOCAL, to: 'fe80::9' }]);
  });

  it('defends an address against one who tries it', () => {
    const bench = makeBench();
    send(bench, { type: NS, from: '::', to: 'ff02::1:ff00:1', target: OURS });
    expect(heard(bench)).toMatchObject([
      { type: NA, flags: 0xa0, to: 'ff02::1', toMac: '33:33:00:00:00:01' },
    ]);
    expect(bench.gateway.ethernet('lan')!.neighbours.count).toBe(0);
  });

  it('asks for a next hop at its group, and sends what waited when it answers', () => {
    const bench = makeBench();
    bench.receive('wan', parsePacket('udp [2001:db8:1::9]:53 > [fd00:a::2]:5000 len 4'));
    expect(heard(bench)).toMatchObject([
      { type: NS, to: 'ff02::1:ff00:2', toMac: '33:33:ff:00:00:02', target: GUEST },
    ]);
    send(bench, { type: NA, from: GUEST, to: OURS, target: GUEST, flags: 0x60, option: [2, GUEST_MAC] });
    expect(bench.take()).toEqual([expect.stringContaining(`> ${GUEST_MAC} udp [2001:db8:1::9]:53`)]);
  });

  it('that gets no answer says address unreachable', () => {
    const bench = makeBench();
    bench.receive('wan', parsePacket('udp [2001:db8:1::9]:53 > [fd00:a::2]:5000 len 4'));
    bench.pass(3000);
    expect(bench.take().filter((text) => text.startsWith('wan'))).toEqual([
      expect.stringMatching(
        /^wan icmpv6 2001:db8:1::1 > 2001:db8:1::9 (1\/3|address-unreachable|addr-unreachable)/,
      ),
    ]);
  });

  it.each([
    ['from beyond the link', { hopLimit: 254 }],
    ['that names another station than the frame', { option: [2, OTHER_MAC] as const }],
  ])('does not believe an answer %s', (_, change) => {
    const bench = makeBench();
    bench.receive('wan', parsePacket('udp [2001:db8:1::9]:53 > [fd00:a::2]:5000 len 4'));
    bench.take();
    send(bench, {
      type: NA,
      from: GUEST,
      to: OURS,
      target: GUEST,
      flags: 0x60,
      option: [2, GUEST_MAC],
      ...change,
    });
    expect(bench.take()).toEqual([]);
    expect(bench.gateway.drops.toObject()).toMatchObject({ 'neighbour-refused': 1 });
  });

  it('lets nobody speak for the address of the gateway', () => {
    const bench = makeBench();
    const seen: NeighbourReport[] = [];
    bench.gateway.events.on('neighbour', (report) => seen.push(report));
    const lie = { type: NA, from: OURS, to: 'ff02::1', target: OURS, flags: 0x20, mac: OTHER_MAC } as const;
    // Packets from our own addresses do not come from a link; with another source it is heard, and refused.
    send(bench, { ...lie, from: 'fe80::66', option: [2, OTHER_MAC] });
    expect(heard(bench)).toMatchObject([{ type: NA, target: OURS, to: 'ff02::1' }]);
    expect(seen).toMatchObject([{ kind: 'usurped', address: OURS, claimant: OTHER_MAC }]);
  });

  it('does not give an address away while its station answers', () => {
    const bench = makeBench();
    send(bench, { type: NS, from: GUEST, to: 'ff02::1:ff00:1', target: OURS, option: [1, GUEST_MAC] });
    bench.take();
    const claim = {
      type: NA,
      from: GUEST,
      to: 'ff02::1',
      target: GUEST,
      flags: 0x20,
      mac: OTHER_MAC,
    } as const;
    send(bench, { ...claim, option: [2, OTHER_MAC] });
    expect(heard(bench)).toMatchObject([{ type: NS, to: GUEST, toMac: GUEST_MAC }]);
    send(bench, { type: NA, from: GUEST, to: OURS, target: GUEST, flags: 0x40 });
    bench.receive('wan', parsePacket('udp [2001:db8:1::9]:53 > [fd00:a::2]:5000 len 4'));
    expect(bench.take()).toEqual([expect.stringContaining(`> ${GUEST_MAC} udp`)]);
  });

  it('is subject to the rules', () => {
    const bench = makeBench({}, { rules: { 6: '*filter\n:INPUT DROP\nCOMMIT\n' } });
    send(bench, { type: NS, from: GUEST, to: 'ff02::1:ff00:1', target: OURS, option: [1, GUEST_MAC] });
    expect(heard(bench)).toEqual([]);
  });
});

describe('router advertisements', () => {
  const advertise = (options: AdvertiseOptions = {}, dns = false) => {
    const bench = makeBench({ advertise: options }, dns ? { dns: { answer: () => undefined } } : {});
    return bench;
  };

  /** Options of an advertisement by type. */
  const optionsOf = (bytes: Uint8Array): Map<number, Uint8Array> => {
    const options = new Map<number, Uint8Array>();
    for (let at = 70; at < bytes.length; at += bytes[at + 1]! * 8) {
      options.set(bytes[at]!, bytes.slice(at, at + bytes[at + 1]! * 8));
    }
    return options;
  };

  it('come at once with prefix, MTU, link-layer address and lifetime', () => {
    const bench = advertise();
    bench.pass(0);
    const [first] = heard(bench);
    expect(first).toMatchObject({ type: RA, from: LINK_LOCAL, to: 'ff02::1', toMac: '33:33:00:00:00:01' });
    expect(first!.bytes[21]).toBe(255);
    expect((first!.bytes[60]! << 8) | first!.bytes[61]!).toBe(1800);
    const options = optionsOf(first!.bytes);
    expect([...options.keys()].sort((a, b) => a - b)).toEqual([1, 3, 5]);
    expect([...options.get(3)!.slice(2, 4)]).toEqual([64, 0xc0]);
    expect([...options.get(3)!.slice(16, 24)]).toEqual([0xfd, 0, 0, 0xa, 0, 0, 0, 0]);
    expect([...options.get(5)!.slice(4)]).toEqual([0, 0, 1500 >> 8, 1500 & 255]);
  });

  it('name the gateway as name server when it is one, and domains', () => {
    const bench = advertise({ search: ['lab.test'] }, true);
    bench.pass(0);
    const options = optionsOf(heard(bench)[0]!.bytes);
    expect([...options.get(25)!.slice(8)]).toEqual([0xfd, 0, 0, 0xa, ...new Array(11).fill(0), 1]);
    expect(String.fromCharCode(...options.get(31)!.slice(9, 12))).toBe('lab');
  });

  it('come three times within half a minute, then every ten minutes at most and not more often than every third', () => {
    const bench = advertise();
    let count = 0;
    for (let second = 0; second < 40; second++) {
      bench.pass(1000);
      count += heard(bench).length;
    }
    expect(count).toBe(3);
    for (let minute = 0; minute < 60; minute++) bench.pass(60_000);
    const later = heard(bench).length;
    expect(later).toBeGreaterThanOrEqual(6);
    expect(later).toBeLessThanOrEqual(18);
  });

  it('answer a host that asks, alone if it has an address', () => {
    const bench = advertise();
    bench.pass(0);
    heard(bench);
    send(bench, { type: RS, from: 'fe80::2', to: 'ff02::2', option: [1, GUEST_MAC] });
    expect(heard(bench)).toMatchObject([{ type: RA, to: 'fe80::2', toMac: GUEST_MAC }]);
    send(bench, { type: RS, from: '::', to: 'ff02::2' });
    expect(heard(bench)).toEqual([]);
    bench.pass(3500);
    expect(heard(bench)).toMatchObject([{ type: RA, to: 'ff02::1' }]);
  });

  it('answer a flood of questions to all at once', () => {
    const bench = advertise();
    bench.pass(0);
    heard(bench);
    for (let n = 0; n < 200; n++)
      send(bench, { type: RS, from: 'fe80::2', to: 'ff02::2', option: [1, GUEST_MAC] });
    expect(heard(bench)).toHaveLength(10);
    bench.pass(999);
    expect(heard(bench).length).toBeLessThanOrEqual(1);
  });

  it('deprecate a prefix that the interface lost', () => {
    const bench = advertise();
    bench.pass(0);
    heard(bench);
    bench.gateway.addAddress('lan', 'fd00:b::1/64');
    bench.gateway.removeAddress('lan', 'fd00:a::1/64');
    heard(bench);
    bench.pass(3000);
    const [next] = heard(bench);
    const prefixes: string[] = [];
    for (let at = 70; at < next!.bytes.length; at += next!.bytes[at + 1]! * 8) {
      if (next!.bytes[at] !== 3) continue;
      const view = new DataView(next!.bytes.buffer, at);
      prefixes.push(
        `${view.getUint32(16).toString(16)}:${view.getUint16(20).toString(16)} ${view.getUint32(4)}`,
      );
    }
    expect(prefixes).toEqual(['fd00000b:0 86400', 'fd00000a:0 0']);
  });

  it('say good-bye when the gateway closes', () => {
    const bench = advertise();
    bench.pass(0);
    heard(bench);
    bench.gateway.close();
    const [last] = heard(bench);
    expect(last).toMatchObject({ type: RA });
    expect((last!.bytes[60]! << 8) | last!.bytes[61]!).toBe(0);
  });

  it.each([
    [{ prefixes: ['10.0.0.0/24'] }, /prefix/],
    [{ dns: ['1.1.1.1'] }, /name server/],
    [{ search: ['not a name'] }, /domain/],
    [{ lifetimeSeconds: 10_000 }, /lifetimeSeconds/],
  ] as const)('with options %o are refused', (options, message) => {
    expect(() => advertise(options)).toThrow(message);
  });
});
