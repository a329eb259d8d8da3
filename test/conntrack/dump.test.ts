import { describe, expect, it } from 'vitest';
import type { Connection, Tuple } from '../../lib/conntrack/connection.js';
import { Connections } from '../../lib/conntrack/connections.js';
import { formatConnection } from '../../lib/conntrack/dump.js';
import { Tracker } from '../../lib/conntrack/tracker.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { Packet } from '../../lib/wire/packet.js';
import { Hook } from '../../lib/wire/verdict.js';

const LOOPBACK = { source: '127.0.0.1', destination: '127.0.0.1' };

function connection(original: Partial<Tuple>, reply: Partial<Tuple>, rest: Partial<Connection>): Connection {
  return {
    id: 1,
    family: 4,
    protocol: 17,
    protocolName: 'udp',
    remainingMs: 29_999,
    ageMs: 1,
    original: { ...LOOPBACK, ...original },
    reply: { ...LOOPBACK, ...reply },
    status: 8,
    seenReply: false,
    assured: false,
    mark: 0,
    zone: 0,
    zoneDirection: 'both',
    originalCounts: { packets: 1, bytes: 29 },
    replyCounts: { packets: 0, bytes: 0 },
    ...rest,
  };
}

// The expected lines were printed by conntrack 1.4.7 for these entries of a real kernel.
describe('conntrack -L', () => {
  const ports = [
    { sourcePort: 32954, destinationPort: 99 },
    { sourcePort: 99, destinationPort: 32954 },
  ] as const;

  it('prints an unreplied UDP flow', () => {
    expect(formatConnection(connection(...ports, {}))).toBe(
      'udp      17 29 src=127.0.0.1 dst=127.0.0.1 sport=32954 dport=99 packets=1 bytes=29 [UNREPLIED] src=127.0.0.1 dst=127.0.0.1 sport=99 dport=32954 packets=0 bytes=0 mark=0 use=1',
    );
  });

  it('names the family in the extended form', () => {
    expect(formatConnection(connection(...ports, {}), 'extended')).toMatch(/^ipv4 {5}2 udp {6}17 29 src=/);
    expect(formatConnection(connection(...ports, { family: 6 }), 'extended')).toMatch(/^ipv6 {5}10 udp /);
  });

  it('puts a zone behind the mark, a zone of one direction behind that tuple', () => {
    expect(formatConnection(connection(...ports, { zone: 5 }))).toContain(' mark=0 zone=5 use=1');
    expect(formatConnection(connection(...ports, { zone: 6, zoneDirection: 'original' }))).toContain(
      'sport=32954 dport=99 zone-orig=6 packets=1 bytes=29 [UNREPLIED]',
    );
    expect(formatConnection(connection(...ports, { zone: 6, zoneDirection: 'reply' }))).toContain(
      'sport=99 dport=32954 zone-reply=6 packets=0 bytes=0 mark=0 use=1',
    );
  });

  it('prints ICMP by type, code and id, without [UNREPLIED] once answered', () => {
    const echo = connection(
      { type: 8, code: 0, id: 26563 },
      { type: 0, code: 0, id: 26563 },
      {
        protocol: 1,
        protocolName: 'icmp',
        seenReply: true,
        originalCounts: { packets: 1, bytes: 84 },
        replyCounts: { packets: 1, bytes: 84 },
      },
    );
    expect(formatConnection(echo)).toBe(
      'icmp     1 29 src=127.0.0.1 dst=127.0.0.1 type=8 code=0 id=26563 packets=1 bytes=84 src=127.0.0.1 dst=127.0.0.1 type=0 code=0 id=26563 packets=1 bytes=84 mark=0 use=1',
    );
  });

  it('prints GRE by its keys in hexadecimal', () => {
    const gre = connection(
      { sourceKey: 0, destinationKey: 5 },
      { sourceKey: 5, destinationKey: 0 },
      { protocol: 47, protocolName: 'gre' },
    );
    expect(formatConnection(gre)).toContain(
      'gre      47 29 src=127.0.0.1 dst=127.0.0.1 srckey=0x0 dstkey=0x5',
    );
  });

  it('calls a protocol without a name unknown', () => {
    // `conntrack -L`: unknown  253 599 src=127.0.0.1 dst=127.0.0.1 [UNREPLIED] ... of a raw socket's packets.
    const tracker = new Tracker({ maxConnections: 16, seed: 1 });
    const packet = new Packet();
    packet.parse(parsePacket('ip 127.0.0.1 > 127.0.0.1 proto 253 data "abc"'));
    tracker.begin(0);
    tracker.track(packet, Hook.OUTPUT);
    tracker.confirm(packet);
    const [other] = new Connections(tracker).list();
    expect(other).toMatchObject({ protocol: 253, protocolName: 'unknown' });
    expect(formatConnection({ ...other!, remainingMs: 599_500 })).toMatch(
      /^unknown {2}253 599 src=127.0.0.1 dst=127.0.0.1 packets=/,
    );
  });

  it('prints state and [ASSURED]', () => {
    const tcp = connection(...ports, {
      protocol: 6,
      protocolName: 'tcp',
      state: 'TIME_WAIT',
      remainingMs: 119_001,
      seenReply: true,
      assured: true,
    });
    expect(formatConnection(tcp)).toMatch(/^tcp {6}6 119 TIME_WAIT src=.* bytes=0 \[ASSURED\] mark=0 use=1$/);
  });
});
