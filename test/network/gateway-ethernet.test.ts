import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../lib/clock.js';
import { createGateway } from '../../lib/network/gateway.js';
import type { NeighbourReport } from '../../lib/network/gateway-events.js';
import { SeededRandom } from '../../lib/random.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';
import {
  ALL_MAC,
  arpFrame,
  type Bench,
  GATEWAY_MAC,
  GUEST_MAC,
  greet,
  makeBench,
  OTHER_MAC,
  packetFrame,
} from './gateway-frames.js';

const NOBODY = '00:00:00:00:00:00';
const GUEST = [GUEST_MAC, '10.0.0.2'] as const;
const OURS = [GATEWAY_MAC, '10.0.0.1'] as const;

function fromWan(bench: Bench, to = '10.0.0.2', ttl = 64): void {
  bench.receive('wan', parsePacket(`udp 198.51.100.9:53 > ${to}:5000 len 4 ttl ${ttl}`));
}

function reports(bench: Bench): NeighbourReport[] {
  const seen: NeighbourReport[] = [];
  bench.gateway.events.on('neighbour', (report) => seen.push(report));
  return seen;
}

describe('ARP', () => {
  it('answers for the interface address, padding or not, and only for that', () => {
    const bench = makeBench();
    const question = arpFrame('who-has', GUEST, [NOBODY, '10.0.0.1']);
    const padded = new Uint8Array(60);
    padded.set(question);
    bench.receive('lan', padded);
    expect(bench.take()).toEqual([
      `lan ${GATEWAY_MAC} > ${GUEST_MAC} arp 10.0.0.1 is-at ${GATEWAY_MAC} to 10.0.0.2`,
    ]);
    bench.receive('lan', arpFrame('who-has', GUEST, [NOBODY, '203.0.113.1']));
    bench.receive('lan', arpFrame('who-has', GUEST, [NOBODY, '10.0.0.77']));
    expect(bench.take()).toEqual([]);
  });

  it('answers a probe from 0.0.0.0 without learning anything', () => {
    const bench = makeBench();
    bench.receive('lan', arpFrame('who-has', [GUEST_MAC, '0.0.0.0'], [NOBODY, '10.0.0.1']));
    expect(bench.take()).toHaveLength(1);
    expect(bench.gateway.ethernet('lan')!.neighbours.count).toBe(0);
  });

  it('asks for a next hop, keeps packets meanwhile, and sends them in order', () => {
    const bench = makeBench();
    fromWan(bench);
    fromWan(bench);
    expect(bench.take()).toEqual([`lan ${GATEWAY_MAC} > ${ALL_MAC} arp who-has 10.0.0.2 tell 10.0.0.1`]);
    bench.receive('lan', arpFrame('is-at', GUEST, OURS));
    const sent = bench.take();
    expect(sent).toHaveLength(2);
    for (const text of sent) {
      expect(text).toContain(`lan ${GATEWAY_MAC} > ${GUEST_MAC} udp 198.51.100.9:53 > 10.0.0.2:5000`);
    }
    fromWan(bench);
    expect(bench.take()).toHaveLength(1);
  });

  it('asks three times, a second apart, then tells the sender that the host cannot be reached', () => {
    const bench = makeBench();
    fromWan(bench);
    const asked = [bench.take().length];
    for (let second = 0; second < 2; second++) {
      bench.pass(1000);
      asked.push(bench.take().length);
    }
    expect(asked).toEqual([1, 1, 1]);
    bench.pass(1000);
    expect(bench.take()).toEqual([
      expect.stringMatching(/^wan icmp 203\.0\.113\.1 > 198\.51\.100\.9 (3\/1|host-unreachable)/),
    ]);
    expect(bench.gateway.interface('lan').drops.toObject()).toEqual({ 'neighbour-unreachable': 1 });
  });

  it('translates the error back to a masqueraded sender', () => {
    const clock = new ManualClock(0);
    const gateway = createGateway({
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24'] },
        { name: 'wan', link: 'ethernet', addresses: ['203.0.113.1/24'] },
      ],
      routes: ['default via 203.0.113.254'],
      rules: { 4: '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n' },
      clock,
      random: new SeededRandom(1),
      maxConnections: 64,
    });
    const sent: string[] = [];
    gateway.interface('lan').onTransmit = (bytes) => sent.push(formatPacket(bytes));
    gateway.interface('lan').receive(parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:53 len 4'));
    clock.advance(5000);
    gateway.advance();
    expect(sent).toHaveLength(1);
    expect(sent[0]).toMatch(/^icmp 203\.0\.113\.1 > 10\.0\.0\.2 host-unreachable/);
    expect(sent[0]).toContain('10.0.0.2:5000 > 1.1.1.1:53');
  });

  it('keeps 32 packets for one neighbour and drops the oldest', () => {
    const bench = makeBench();
    for (let ttl = 100; ttl < 140; ttl++) fromWan(bench, '10.0.0.2', ttl);
    bench.take();
    expect(bench.gateway.interface('lan').drops.toObject()).toEqual({ 'neighbour-queue-full': 8 });
    bench.receive('lan', arpFrame('is-at', GUEST, OURS));
    const sent = bench.take();
    expect(sent).toHaveLength(32);
    expect(sent[0]).toContain('ttl 107');
  });

  it('lets unanswered questions take a quarter of the table at most', () => {
    const bench = makeBench({ neighbours: { capacity: 16 } });
    for (let host = 2; host < 250; host++) fromWan(bench, `10.0.0.${host}`);
    expect(bench.gateway.ethernet('lan')!.neighbours.count).toBe(4);
  });
});

describe('a hostile guest', () => {
  it('cannot take the gateway address: it is ignored, told off once in ten seconds, and reported', () => {
    const bench = makeBench();
    const seen = reports(bench);
    bench.receive('lan', arpFrame('who-has', [OTHER_MAC, '10.0.0.1'], [NOBODY, '10.0.0.1']));
    bench.receive('lan', arpFrame('is-at', [OTHER_MAC, '10.0.0.1'], GUEST, ALL_MAC));
    expect(bench.take()).toEqual([`lan ${GATEWAY_MAC} > ${ALL_MAC} arp who-has 10.0.0.1 tell 10.0.0.1`]);
    expect(seen).toHaveLength(2);
    expect(seen[0]).toMatchObject({ kind: 'usurped', address: '10.0.0.1', claimant: OTHER_MAC });
    expect(bench.gateway.ethernet('lan')!.neighbours.count).toBe(0);
  });

  it('does not get the address of a neighbour that still answers', () => {
    const bench = makeBench();
    greet(bench);
    const seen = reports(bench);
    bench.receive('lan', arpFrame('is-at', [OTHER_MAC, '10.0.0.2'], OURS));
    expect(bench.take()).toEqual([`lan ${GATEWAY_MAC} > ${GUEST_MAC} arp who-has 10.0.0.2 tell 10.0.0.1`]);
    bench.receive('lan', arpFrame('is-at', GUEST, OURS));
    fromWan(bench);
    expect(bench.take()).toEqual([expect.stringContaining(`> ${GUEST_MAC} udp`)]);
    expect(seen.map(({ kind }) => kind)).toEqual(['claimed', 'refused']);
  });

  it('gets the address of a neighbour that is gone, with an event', () => {
    const bench = makeBench();
    greet(bench);
    const seen = reports(bench);
    bench.receive('lan', arpFrame('is-at', [OTHER_MAC, '10.0.0.2'], OURS));
    bench.pass(3000);
    bench.take();
    fromWan(bench);
    expect(bench.take()).toEqual([expect.stringContaining(`> ${OTHER_MAC} udp`)]);
    expect(seen.map(({ kind }) => kind)).toEqual(['claimed', 'moved']);
  });

  it('never gets the address of a station that is configured', () => {
    const bench = makeBench({ stations: [{ address: '10.0.0.2', mac: GUEST_MAC }] });
    const seen = reports(bench);
    bench.receive('lan', arpFrame('is-at', [OTHER_MAC, '10.0.0.2'], OURS));
    bench.receive('lan', arpFrame('who-has', [OTHER_MAC, '10.0.0.2'], [NOBODY, '10.0.0.1']));
    bench.pass(60_000);
    bench.take();
    fromWan(bench);
    expect(bench.take()).toEqual([expect.stringContaining(`> ${GUEST_MAC} udp`)]);
    expect(seen.map(({ kind }) => kind)).toEqual(['refused', 'refused']);
  });

  it('is not believed when the message names another station than the frame', () => {
    const bench = makeBench();
    const lie = arpFrame('who-has', GUEST, [NOBODY, '10.0.0.1']);
    lie.set(
      OTHER_MAC.split(':').map((part) => Number.parseInt(part, 16)),
      6,
    );
    bench.receive('lan', lie);
    expect(bench.take()).toEqual([]);
    expect(bench.gateway.interface('lan').drops.toObject()).toEqual({ 'neighbour-refused': 1 });
  });

  it('makes no more than its share of addresses known', () => {
    const bench = makeBench({ neighbours: { addressesPerStation: 4 } });
    greet(bench, GUEST_MAC, '10.0.0.2');
    for (let host = 10; host < 200; host++) greet(bench, OTHER_MAC, `10.0.0.${host}`);
    const known = bench.gateway.ethernet('lan')!.neighbours.list();
    expect(known).toHaveLength(5);
  });
});

describe('frames', () => {
  it('for other stations, of unknown protocols and cut short are dropped and counted', () => {
    const bench = makeBench();
    const text = 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 4';
    bench.receive('lan', packetFrame(OTHER_MAC, GUEST_MAC, text));
    const odd = packetFrame(GATEWAY_MAC, GUEST_MAC, text);
    odd[12] = 0x88;
    bench.receive('lan', odd);
    bench.receive('lan', new Uint8Array(13));
    const lie = packetFrame(GATEWAY_MAC, GUEST_MAC, text);
    lie.set([0x86, 0xdd], 12);
    bench.receive('lan', lie);
    expect(bench.take()).toEqual([]);
    expect(bench.gateway.interface('lan').drops.toObject()).toEqual({
      'link-other-host': 1,
      'unknown-link-protocol': 1,
      'link-bad-frame': 2,
    });
  });

  it('to all stations with a packet for somewhere else are not forwarded', () => {
    const bench = makeBench();
    bench.receive('lan', packetFrame(ALL_MAC, GUEST_MAC, 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 4'));
    bench.receive('lan', packetFrame(ALL_MAC, GUEST_MAC, 'udp [fd00:a::2]:5000 > [2001:db8:9::1]:53 len 4'));
    expect(bench.take()).toEqual([]);
  });

  it('with padding leave it behind', () => {
    const bench = makeBench();
    const short = packetFrame(GATEWAY_MAC, GUEST_MAC, 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 4');
    const padded = new Uint8Array(60);
    padded.set(short);
    bench.receive('lan', padded);
    expect(bench.takeBytes().map(({ bytes }) => bytes.length)).toEqual([32]);
  });

  it('leave in the buffer in which they came', () => {
    const bench = makeBench(
      {},
      {
        interfaces: [
          { name: 'lan', link: 'ethernet', mac: GATEWAY_MAC, addresses: ['10.0.0.1/24'] },
          {
            name: 'wan',
            link: 'ethernet',
            addresses: ['203.0.113.1/24'],
            stations: [{ address: '203.0.113.9', mac: OTHER_MAC }],
          },
        ],
        routes: [],
      },
    );
    let left: Uint8Array | undefined;
    bench.gateway.interface('wan').onTransmit = (bytes) => {
      left = bytes;
    };
    const came = packetFrame(GATEWAY_MAC, GUEST_MAC, 'udp 10.0.0.2:5000 > 203.0.113.9:53 len 4');
    bench.receive('lan', came);
    expect(left).toBe(came);
  });
});

describe('two gateways back to back', () => {
  it('find each other over ARP and neighbour discovery and forward both ways', () => {
    const clock = new ManualClock(0);
    const make = (side: number) =>
      createGateway({
        interfaces: [
          { name: 'in', addresses: [`10.${side}.0.1/24`, `fd00:${side}::1/64`] },
          { name: 'mid', link: 'ethernet', addresses: [`192.0.2.${side}/24`, `2001:db8::${side}/64`] },
        ],
        routes: [`default via 192.0.2.${3 - side}`, `-6 default via 2001:db8::${3 - side}`],
        clock,
        random: new SeededRandom(side),
        maxConnections: 64,
      });
    const [one, two] = [make(1), make(2)];
    one.interface('mid').onTransmit = (bytes) => two.interface('mid').receive(bytes);
    two.interface('mid').onTransmit = (bytes) => one.interface('mid').receive(bytes);
    const sent: string[] = [];
    one.interface('in').onTransmit = (bytes) => sent.push(`one ${formatPacket(bytes)}`);
    two.interface('in').onTransmit = (bytes) => sent.push(`two ${formatPacket(bytes)}`);
    one.interface('in').receive(parsePacket('udp 10.1.0.9:1000 > 10.2.0.9:2000 len 4'));
    two.interface('in').receive(parsePacket('udp 10.2.0.9:2000 > 10.1.0.9:1000 len 4'));
    one.interface('in').receive(parsePacket('udp [fd00:1::9]:1000 > [fd00:2::9]:2000 len 4'));
    two.interface('in').receive(parsePacket('udp [fd00:2::9]:2000 > [fd00:1::9]:1000 len 4'));
    expect(sent.map((text) => text.split(' ').slice(0, 5).join(' '))).toEqual([
      'two udp 10.1.0.9:1000 > 10.2.0.9:2000',
      'one udp 10.2.0.9:2000 > 10.1.0.9:1000',
      'two udp [fd00:1::9]:1000 > [fd00:2::9]:2000',
      'one udp [fd00:2::9]:2000 > [fd00:1::9]:1000',
    ]);
    // An answer is believed for half a minute; then the neighbour is asked again, alone.
    const before = one.interface('mid').counters.transmittedPackets;
    for (let second = 0; second < 60; second++) {
      clock.advance(1000);
      one.advance();
      two.advance();
      one.interface('in').receive(parsePacket('udp 10.1.0.9:1000 > 10.2.0.9:2000 len 4'));
    }
    expect(one.interface('mid').counters.transmittedPackets - before).toBeGreaterThan(60);
    expect(sent).toHaveLength(64);
    one.close();
    two.close();
  });
});
