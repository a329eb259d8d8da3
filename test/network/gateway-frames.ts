/**
 * For tests of gateways: Ethernet frames as text, and a gateway with an Ethernet guest side.
 */
import { ManualClock } from '../../lib/clock.js';
import { createGateway, type Gateway } from '../../lib/network/gateway.js';
import type { GatewayInterfaceOptions, GatewayOptions } from '../../lib/network/gateway-options.js';
import { formatMac, macAt, parseMac } from '../../lib/network/mac.js';
import { SeededRandom } from '../../lib/random.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';
import { formatAddress, parseAddress } from '../../lib/wire/address.js';

export const GATEWAY_MAC = '02:00:00:00:00:01';
export const GUEST_MAC = '52:54:00:00:00:02';
export const OTHER_MAC = '52:54:00:00:00:03';
export const ALL_MAC = 'ff:ff:ff:ff:ff:ff';

const TYPES: Readonly<Record<string, number>> = { arp: 0x0806, ip: 0x0800, ipv6: 0x86dd };

/** A frame around `payload`. */
export function frame(to: string, from: string, type: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(14 + payload.length);
  putText(bytes, 0, to);
  putText(bytes, 6, from);
  bytes[12] = type >>> 8;
  bytes[13] = type & 0xff;
  bytes.set(payload, 14);
  return bytes;
}

function putText(bytes: Uint8Array, at: number, mac: string): void {
  bytes.set(
    mac.split(':').map((part) => Number.parseInt(part, 16)),
    at,
  );
}

/** A frame with a packet in the notation of scenarios. */
export function packetFrame(to: string, from: string, text: string): Uint8Array {
  const packet = parsePacket(text);
  return frame(to, from, packet[0]! >>> 4 === 6 ? TYPES.ipv6! : TYPES.ip!, packet);
}

/** An ARP message: `who-has` asks for `target`, `is-at` answers to `targetMac`. */
export function arpFrame(
  operation: 'who-has' | 'is-at',
  sender: readonly [mac: string, ip: string],
  target: readonly [mac: string, ip: string],
  to = operation === 'who-has' ? ALL_MAC : target[0],
): Uint8Array {
  const message = new Uint8Array(28);
  message.set([0, 1, 8, 0, 6, 4, 0, operation === 'who-has' ? 1 : 2]);
  const put = (at: number, [mac, ip]: readonly [string, string]) => {
    putText(message, at, mac);
    const word = parseAddress(ip, 4)![0];
    message.set([word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255], at + 6);
  };
  put(8, sender);
  put(18, target);
  return frame(to, sender[0], TYPES.arp!, message);
}

/** A frame in words: who to whom, and the ARP message or the packet in it. */
export function describeFrame(bytes: Uint8Array): string {
  const to = macText(bytes, 0);
  const from = macText(bytes, 6);
  const type = (bytes[12]! << 8) | bytes[13]!;
  const rest = bytes.slice(14);
  const what = type === TYPES.arp ? describeArp(rest) : formatPacket(rest);
  return `${from} > ${to} ${what}`;
}

function macText(bytes: Uint8Array, at: number): string {
  const { high, low } = macAt(bytes, at);
  return formatMac(high, low);
}

function describeArp(bytes: Uint8Array): string {
  const ip = (at: number) =>
    formatAddress([(bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!], 4);
  return bytes[7] === 1
    ? `arp who-has ${ip(24)} tell ${ip(14)}`
    : `arp ${ip(14)} is-at ${macText(bytes, 8)} to ${ip(24)}`;
}

export interface Bench {
  readonly clock: ManualClock;
  readonly gateway: Gateway;
  /** Gives a frame or packet to an interface. */
  receive(name: string, bytes: Uint8Array): void;
  /** What was sent since the last call: `lan <frame>`, `wan <packet>`. */
  take(): string[];
  /** The same as bytes. */
  takeBytes(): { readonly port: string; readonly bytes: Uint8Array }[];
  /** Lets time pass. */
  pass(ms: number): void;
}

/** A gateway with an Ethernet `lan` (10.0.0.1/24, fd00:a::1/64) and a raw IP `wan` (203.0.113.1/24). */
export function makeBench(
  lan: Partial<GatewayInterfaceOptions> = {},
  options: Partial<GatewayOptions> = {},
): Bench {
  const clock = new ManualClock(1000);
  const gateway = createGateway({
    interfaces: [
      {
        name: 'lan',
        link: 'ethernet',
        mac: GATEWAY_MAC,
        addresses: ['10.0.0.1/24', 'fd00:a::1/64'],
        ...lan,
      },
      { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'] },
    ],
    routes: ['default dev wan', '-6 default dev wan'],
    clock,
    random: new SeededRandom(1),
    maxConnections: 1024,
    ...options,
  });
  let sent: { port: string; bytes: Uint8Array }[] = [];
  for (const port of gateway.interfaces) {
    port.onTransmit = (bytes) => sent.push({ port: port.name, bytes: bytes.slice() });
  }
  const takeBytes = () => {
    const taken = sent;
    sent = [];
    return taken;
  };
  return {
    clock,
    gateway,
    receive: (name, bytes) => gateway.interface(name).receive(bytes),
    takeBytes,
    take: () =>
      takeBytes().map(({ port, bytes }) => {
        const isEthernet = gateway.interface(port).link === 'ethernet';
        return `${port} ${isEthernet ? describeFrame(bytes) : formatPacket(bytes)}`;
      }),
    pass: (ms) => {
      clock.advance(ms);
      gateway.advance();
    },
  };
}

/** Makes a guest known to the gateway's `lan` by an ARP exchange. */
export function greet(bench: Bench, mac = GUEST_MAC, ip = '10.0.0.2'): void {
  parseMac(mac);
  bench.receive('lan', arpFrame('who-has', [mac, ip], ['00:00:00:00:00:00', '10.0.0.1']));
  bench.take();
}
