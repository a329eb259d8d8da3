import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../lib/clock.js';
import { ConfigurationError } from '../../lib/errors.js';
import { createGateway } from '../../lib/network/gateway.js';
import { SeededRandom } from '../../lib/random.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';

const MASQUERADE = '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n';

/** A gateway between a guest and the world, over raw IP; what it sends is kept as text. */
function makeGateway(options: { lanMtu?: number } = {}) {
  const clock = new ManualClock(1000);
  const gateway = createGateway({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'], mtu: options.lanMtu ?? 1500 },
      { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'] },
    ],
    routes: ['default dev wan', '-6 default dev wan'],
    rules: { 4: MASQUERADE },
    clock,
    random: new SeededRandom(1),
    maxConnections: 1024,
  });
  const sent: string[] = [];
  for (const port of gateway.interfaces) {
    port.onTransmit = (frame) => sent.push(`${port.name} ${formatPacket(frame)}`);
  }
  const receive = (name: string, packet: string) => gateway.interface(name).receive(parsePacket(packet));
  const take = () => sent.splice(0);
  return { clock, gateway, receive, take };
}

describe('a gateway over raw IP', () => {
  it('masquerades what goes out and lets the answer back in', () => {
    const { receive, take } = makeGateway();
    receive('lan', 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 4');
    expect(take()).toEqual([expect.stringContaining('wan udp 203.0.113.1:5000 > 1.1.1.1:53')]);
    receive('wan', 'udp 1.1.1.1:53 > 203.0.113.1:5000 len 4');
    expect(take()).toEqual([expect.stringContaining('lan udp 1.1.1.1:53 > 10.0.0.2:5000')]);
  });

  it('answers a ping of its own address', () => {
    const { receive, take } = makeGateway();
    receive('lan', 'icmp 10.0.0.2 > 10.0.0.1 echo-request id 7 seq 1');
    receive('lan', 'icmpv6 fd00:a::2 > fd00:a::1 echo-request id 7 seq 1');
    expect(take()).toEqual([
      expect.stringContaining('lan icmp 10.0.0.1 > 10.0.0.2 echo-reply'),
      expect.stringContaining('lan icmpv6 fd00:a::1 > fd00:a::2 echo-reply'),
    ]);
  });

  it('counts packets, bytes and drops by interface', () => {
    const { gateway, receive } = makeGateway();
    receive('lan', 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 4');
    expect(gateway.interface('lan').counters).toMatchObject({ receivedPackets: 1, receivedBytes: 32 });
    expect(gateway.interface('wan').counters).toMatchObject({ transmittedPackets: 1, transmittedBytes: 32 });
    gateway.interface('wan').onTransmit = undefined;
    receive('lan', 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 4');
    expect(gateway.interface('wan').drops.toObject()).toEqual({ 'link-unheard': 1 });
  });

  it('says a ConfigurationError for an interface that it does not have', () => {
    const { gateway } = makeGateway();
    expect(() => gateway.interface('dmz')).toThrow(ConfigurationError);
  });
});

describe('a gateway that is closed', () => {
  it('counts and drops what comes, and closing twice does nothing', () => {
    const { gateway, receive, take } = makeGateway();
    gateway.close();
    gateway.close();
    receive('lan', 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 4');
    expect(take()).toEqual([]);
    expect(gateway.interface('lan').drops.toObject()).toEqual({ 'gateway-closed': 1 });
    expect(gateway.interface('lan').counters.receivedPackets).toBe(0);
  });
});
