import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../lib/clock.js';
import { createGateway, type Gateway } from '../../../lib/index.js';
import { SeededRandom } from '../../../lib/random.js';
import { formatPacket, parsePacket } from '../../../lib/scenario/notation.js';

function makeGateway(rules4: string): {
  gateway: Gateway;
  clock: ManualClock;
  sent: string[];
  receive(text: string): void;
} {
  const clock = new ManualClock(1000);
  const gateway = createGateway({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24'] },
      { name: 'wan', addresses: ['192.0.2.1/24'] },
    ],
    routes: ['default dev wan'],
    rules: { 4: `*nat\n${rules4}\nCOMMIT\n` },
    random: new SeededRandom(3),
    clock,
  });
  const sent: string[] = [];
  for (const port of gateway.interfaces) {
    port.onTransmit = (frame) => sent.push(`${port.name} ${formatPacket(frame)}`);
  }
  return { gateway, clock, sent, receive: (text) => gateway.interface('lan').receive(parsePacket(text)) };
}

describe("a gateway's own endpoints", () => {
  it('answer redirected datagrams from the address that was asked (C4)', () => {
    const { gateway, sent, receive } = makeGateway(
      '-A PREROUTING -p udp --dport 53 -j REDIRECT --to-ports 53',
    );
    const endpoint = gateway.udp.bind({ port: 53 });
    endpoint.onMessage = (datagram) => endpoint.reply(datagram, datagram.bytes);
    receive('udp 10.0.0.2:5000 > 1.1.1.1:53 len 4');
    receive('udp 10.0.0.2:5000 > 8.8.8.8:53 len 4');
    expect(sent.map((text) => text.slice(0, 37))).toEqual([
      expect.stringContaining('lan udp 1.1.1.1:53 > 10.0.0.2:5000'),
      expect.stringContaining('lan udp 8.8.8.8:53 > 10.0.0.2:5000'),
    ]);
    expect(() => endpoint.send(new Uint8Array(1), '10.0.0.3:5000', { from: '1.1.1.1:53' })).toThrow('EPERM');
    expect(gateway.drops.toObject()).toEqual({ 'source-refused': 1 });
    gateway.close();
  });

  it('share their ports with NAT: a reserved one of two leaves one connection to a server (C5)', () => {
    const { gateway, sent, receive } = makeGateway(
      '-A POSTROUTING -o wan -p tcp -j SNAT --to-source 192.0.2.1:40000-40001',
    );
    const kept = gateway.reserve('tcp', '192.0.2.1', 40000);
    expect(() => gateway.tcp.listen({ address: '192.0.2.1', port: 40000 })).toThrow('reserved has this port');
    receive('tcp 10.0.0.2:5000 > 198.51.100.1:80 SYN');
    receive('tcp 10.0.0.3:5000 > 198.51.100.1:80 SYN');
    expect(sent).toEqual([expect.stringContaining('wan tcp 192.0.2.1:40001 > 198.51.100.1:80 SYN')]);
    expect(gateway.drops.toObject()).toEqual({ 'nat-exhausted': 1 });
    expect(() => gateway.reserve('sctp' as 'udp', '192.0.2.1', 1)).toThrow(/protocol of a port \('sctp'\)/);
    kept.release();
    receive('tcp 10.0.0.3:5000 > 198.51.100.1:80 SYN');
    expect(sent[1]).toContain('wan tcp 192.0.2.1:40000 > 198.51.100.1:80 SYN');
    gateway.close();
  });

  it("live by the gateway's clock, and end with it", () => {
    const { gateway, clock, sent, receive } = makeGateway('-A PREROUTING -p tcp -j REDIRECT --to-ports 3128');
    const listener = gateway.tcp.listen({ port: 3128 });
    receive('tcp 10.0.0.2:5000 > 198.51.100.1:80 SYN seq 9');
    clock.advance(3500);
    gateway.advance();
    expect(sent.filter((text) => text.includes('198.51.100.1:80 > 10.0.0.2:5000 SYN,ACK'))).toHaveLength(3);
    receive('tcp 10.0.0.2:5000 > 198.51.100.1:80 RST seq 10');
    expect(listener.connectionCount).toBe(0);
    receive('tcp 10.0.0.2:5001 > 198.51.100.1:80 SYN seq 9');
    expect(listener.connectionCount).toBe(1);
    gateway.close();
    expect(listener.connectionCount).toBe(0);
    expect(sent.at(-1)).toContain('198.51.100.1:80 > 10.0.0.2:5001 RST,ACK');
  });
});
