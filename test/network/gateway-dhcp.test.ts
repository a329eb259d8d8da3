import { describe, expect, it } from 'vitest';
import type { DhcpLease, DhcpOptions } from '../../lib/network/dhcp.js';
import type { LeaseReport } from '../../lib/network/gateway-events.js';
import type { GatewayInterfaceOptions, GatewayOptions } from '../../lib/network/gateway-options.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { formatAddress, parseAddress } from '../../lib/wire/address.js';
import {
  ALL_MAC,
  arpFrame,
  type Bench,
  frame,
  GATEWAY_MAC,
  GUEST_MAC,
  makeBench,
  OTHER_MAC,
} from './gateway-frames.js';

const DISCOVER = 1;
const OFFER = 2;
const REQUEST = 3;
const DECLINE = 4;
const ACK = 5;
const NAK = 6;
const RELEASE = 7;
const INFORM = 8;

interface Ask {
  readonly type: number;
  readonly mac?: string;
  readonly requested?: string;
  readonly server?: string;
  readonly client?: string;
  readonly broadcast?: boolean;
  readonly name?: string;
  readonly frameMac?: string;
}

const ip = (text: string): number[] => {
  const word = parseAddress(text, 4)![0];
  return [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255];
};

const hex = (mac: string): number[] => mac.split(':').map((part) => Number.parseInt(part, 16));

/** A client's message, by hand. */
function message(ask: Ask): Uint8Array {
  const bytes = new Uint8Array(300);
  bytes.set([1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78]);
  if (ask.broadcast === true) bytes[10] = 0x80;
  if (ask.client !== undefined) bytes.set(ip(ask.client), 12);
  bytes.set(hex(ask.mac ?? GUEST_MAC), 28);
  bytes.set([0x63, 0x82, 0x53, 0x63, 53, 1, ask.type], 236);
  let at = 243;
  const option = (code: number, value: readonly number[]) => {
    bytes.set([code, value.length, ...value], at);
    at += 2 + value.length;
  };
  if (ask.requested !== undefined) option(50, ip(ask.requested));
  if (ask.server !== undefined) option(54, ip(ask.server));
  if (ask.name !== undefined)
    option(
      12,
      [...ask.name].map((letter) => letter.charCodeAt(0)),
    );
  bytes[at] = 255;
  return bytes;
}

function send(bench: Bench, ask: Ask): void {
  const payload = message(ask);
  const source = ask.client ?? '0.0.0.0';
  const to = ask.client === undefined ? '255.255.255.255' : '10.0.0.1';
  const packet = parsePacket(
    `udp ${source}:68 > ${to}:67 data ${[...payload].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`,
  );
  bench.receive(
    'lan',
    frame(
      ask.client === undefined ? ALL_MAC : GATEWAY_MAC,
      ask.frameMac ?? ask.mac ?? GUEST_MAC,
      0x0800,
      packet,
    ),
  );
}

interface Answer {
  readonly type: number;
  readonly address: string;
  readonly options: Map<number, Uint8Array>;
  readonly toMac: string;
  readonly toIp: string;
}

/** The server's answers since the last call. */
function answers(bench: Bench): Answer[] {
  return bench.takeBytes().map(({ bytes }) => {
    const at = 14 + 28;
    const options = new Map<number, Uint8Array>();
    for (let i = at + 240; bytes[i] !== 255; i += 2 + bytes[i + 1]!) {
      options.set(bytes[i]!, bytes.slice(i + 2, i + 2 + bytes[i + 1]!));
    }
    return {
      type: options.get(53)![0]!,
      address: bytes.slice(at + 16, at + 20).join('.'),
      options,
      toMac: [...bytes.slice(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
      toIp: bytes.slice(30, 34).join('.'),
    };
  });
}

function makeServer(
  dhcp: DhcpOptions = { from: '10.0.0.100', to: '10.0.0.102' },
  lan: Partial<GatewayInterfaceOptions> = {},
  options: Partial<GatewayOptions> = {},
): Bench & { readonly seen: LeaseReport[] } {
  const bench = makeBench({ dhcp, ...lan }, options);
  const seen: LeaseReport[] = [];
  bench.gateway.events.on('lease', (report) => seen.push(report));
  return { ...bench, seen };
}

/** DISCOVER to ACK; returns the address. */
function lease(bench: Bench, mac = GUEST_MAC): string | undefined {
  send(bench, { type: DISCOVER, mac });
  const offer = answers(bench)[0];
  if (offer === undefined) return undefined;
  send(bench, { type: REQUEST, mac, requested: offer.address, server: '10.0.0.1' });
  const [ack] = answers(bench);
  expect(ack?.type).toBe(ACK);
  return ack?.address;
}

const macOf = (n: number): string => `52:54:00:00:01:${n.toString(16).padStart(2, '0')}`;

describe('a DHCP client', () => {
  it('is offered an address with mask, router, MTU and times, and gets it', () => {
    const bench = makeServer({ from: '10.0.0.100', to: '10.0.0.102', dns: ['9.9.9.9'], domain: 'lab.test' });
    send(bench, { type: DISCOVER, name: 'guest' });
    const [offer] = answers(bench);
    expect(offer).toMatchObject({ type: OFFER, address: '10.0.0.100', toMac: GUEST_MAC, toIp: '10.0.0.100' });
    const words = (code: number) =>
      formatAddress([new DataView(offer!.options.get(code)!.buffer).getInt32(0)], 4);
    expect([1, 3, 6, 28, 54].map(words)).toEqual([
      '255.255.255.0',
      '10.0.0.1',
      '9.9.9.9',
      '10.0.0.255',
      '10.0.0.1',
    ]);
    expect([...offer!.options.get(26)!]).toEqual([1500 >> 8, 1500 & 255]);
    expect([51, 58, 59].map((code) => new DataView(offer!.options.get(code)!.buffer).getUint32(0))).toEqual([
      3600, 1800, 3150,
    ]);
    expect(String.fromCharCode(...offer!.options.get(15)!)).toBe('lab.test');
    send(bench, { type: REQUEST, requested: '10.0.0.100', server: '10.0.0.1', name: 'guest' });
    expect(answers(bench)).toMatchObject([{ type: ACK, address: '10.0.0.100' }]);
    expect(bench.seen).toMatchObject([
      { kind: 'bound', address: '10.0.0.100', mac: GUEST_MAC, hostName: 'guest' },
    ]);
  });

  it('is answered by broadcast when it asks for that', () => {
    const bench = makeServer();
    send(bench, { type: DISCOVER, broadcast: true });
    expect(answers(bench)).toMatchObject([{ type: OFFER, toMac: ALL_MAC, toIp: '255.255.255.255' }]);
  });

  it('gets its address again, after its lease was over too', () => {
    const bench = makeServer();
    expect(lease(bench)).toBe('10.0.0.100');
    expect(lease(bench, OTHER_MAC)).toBe('10.0.0.101');
    bench.pass(4_000_000);
    expect(bench.seen.filter(({ kind }) => kind === 'ended')).toHaveLength(2);
    expect(lease(bench, OTHER_MAC)).toBe('10.0.0.101');
    expect(lease(bench)).toBe('10.0.0.100');
  });

  it('renews by unicast', () => {
    const bench = makeServer();
    lease(bench);
    bench.pass(1_800_000);
    send(bench, { type: REQUEST, client: '10.0.0.100' });
    expect(answers(bench)).toMatchObject([{ type: ACK, address: '10.0.0.100', toIp: '10.0.0.100' }]);
    bench.pass(3_000_000);
    expect(bench.gateway.dhcp('lan')!.leases()).toMatchObject([{ address: '10.0.0.100', seconds: 600 }]);
  });

  it('is refused the address of another, and one of another network', () => {
    const bench = makeServer();
    lease(bench);
    send(bench, { type: REQUEST, mac: OTHER_MAC, requested: '10.0.0.100' });
    send(bench, { type: REQUEST, mac: OTHER_MAC, requested: '192.168.7.7' });
    expect(answers(bench)).toMatchObject([
      { type: NAK, toMac: ALL_MAC },
      { type: NAK, toMac: ALL_MAC },
    ]);
  });

  it('that the server does not remember keeps its address after a reboot if it is free', () => {
    const bench = makeServer();
    send(bench, { type: REQUEST, requested: '10.0.0.102' });
    expect(answers(bench)).toMatchObject([{ type: ACK, address: '10.0.0.102' }]);
  });

  it('that only wants settings gets them without an address', () => {
    const bench = makeServer();
    bench.receive('lan', arpFrame('who-has', [GUEST_MAC, '10.0.0.7'], ['00:00:00:00:00:00', '10.0.0.1']));
    bench.take();
    send(bench, { type: INFORM, client: '10.0.0.7' });
    const [ack] = answers(bench);
    expect(ack).toMatchObject({ type: ACK, address: '0.0.0.0', toIp: '10.0.0.7' });
    expect(ack!.options.has(51)).toBe(false);
    expect(ack!.options.has(3)).toBe(true);
  });

  it('that is configured gets its fixed address and name', () => {
    const bench = makeServer(undefined, {
      stations: [{ address: '10.0.0.9', mac: GUEST_MAC, name: 'vm1' }],
    });
    send(bench, { type: DISCOVER });
    const [offer] = answers(bench);
    expect(offer?.address).toBe('10.0.0.9');
    expect(String.fromCharCode(...offer!.options.get(12)!)).toBe('vm1');
  });
});

describe('a DHCP pool', () => {
  it('that is exhausted answers nobody new until an address is free', () => {
    const bench = makeServer();
    for (let n = 0; n < 3; n++) expect(lease(bench, macOf(n))).toBe(`10.0.0.10${n}`);
    expect(lease(bench, macOf(9))).toBeUndefined();
    expect(bench.seen.at(-1)).toMatchObject({ kind: 'exhausted', mac: macOf(9) });
    send(bench, { type: RELEASE, mac: macOf(1), client: '10.0.0.101' });
    expect(lease(bench, macOf(9))).toBe('10.0.0.101');
  });

  it('is not held by offers that nobody takes', () => {
    const bench = makeServer();
    for (let n = 0; n < 50; n++) send(bench, { type: DISCOVER, mac: macOf(n) });
    expect(answers(bench)).toHaveLength(3);
    bench.pass(30_000);
    expect(lease(bench, macOf(99))).toBeDefined();
  });

  it('leaves a declined address alone for an hour, but does not believe one guest for ever', () => {
    const bench = makeServer({ from: '10.0.0.100', to: '10.0.0.110' });
    const given = new Set<string | undefined>();
    for (let n = 0; n < 8; n++) {
      const address = lease(bench)!;
      given.add(address);
      send(bench, { type: DECLINE, requested: address, server: '10.0.0.1' });
    }
    expect(given.size).toBe(5);
    expect(bench.seen.filter(({ kind }) => kind === 'declined')).toHaveLength(4);
    expect(lease(bench, OTHER_MAC)).not.toBe('10.0.0.100');
  });

  it('does not serve a message whose frame came from another station', () => {
    const bench = makeServer();
    send(bench, { type: DISCOVER, mac: macOf(5), frameMac: GUEST_MAC });
    expect(answers(bench)).toEqual([]);
  });

  it('binds its addresses: nobody takes them over by ARP while the lease lasts', () => {
    const bench = makeServer();
    lease(bench);
    bench.receive('lan', arpFrame('is-at', [OTHER_MAC, '10.0.0.100'], [GATEWAY_MAC, '10.0.0.1']));
    bench.receive('wan', parsePacket('udp 198.51.100.9:53 > 10.0.0.100:5000 len 4'));
    expect(bench.take()).toEqual([expect.stringContaining(`> ${GUEST_MAC} udp`)]);
  });

  it('larger than the neighbour table binds all of its addresses, and others still find room', () => {
    const bench = makeServer({ from: '10.0.0.100', to: '10.0.0.119' }, { neighbours: { capacity: 4 } });
    for (let n = 0; n < 20; n++) expect(lease(bench, macOf(n))).toBe(`10.0.0.${100 + n}`);
    bench.receive('wan', parsePacket('udp 198.51.100.9:53 > 10.0.0.7:5000 len 4'));
    expect(bench.take()).toEqual([expect.stringContaining('arp who-has 10.0.0.7')]);
  });

  it('gives leases that were kept to the same stations again', () => {
    const first = makeServer();
    expect(lease(first, macOf(1))).toBe('10.0.0.100');
    expect(lease(first, macOf(2))).toBe('10.0.0.101');
    const kept: DhcpLease[] = JSON.parse(JSON.stringify(first.gateway.dhcp('lan')!.leases()));
    const second = makeServer({ from: '10.0.0.100', to: '10.0.0.102', leases: kept });
    expect(lease(second, macOf(3))).toBe('10.0.0.102');
    expect(lease(second, macOf(2))).toBe('10.0.0.101');
  });

  it.each([
    ['10.0.1.5', '10.0.0.9'],
    ['10.0.0.9', '10.0.0.5'],
    ['nonsense', '10.0.0.5'],
  ])('from %s to %s is refused', (from, to) => {
    expect(() => makeServer({ from, to })).toThrow(/dhcp on lan/);
  });

  it('without limits serves the whole subnet but the gateway', () => {
    const bench = makeServer({});
    expect(lease(bench)).toBe('10.0.0.2');
  });
});
