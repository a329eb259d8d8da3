/** route_localnet: loopback addresses that come in and leave by a link. What Linux does with them is in test/traces-own. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../lib/clock.js';
import { ConfigurationError } from '../../lib/errors.js';
import { createGateway } from '../../lib/network/gateway.js';
import { SocketError } from '../../lib/network/local/socket-error.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';

const RULES = '*nat\n-A PREROUTING -p udp --dport 53 -j DNAT --to-destination 127.0.0.1:5353\nCOMMIT\n';

function makeGateway(routeLocalnet: boolean | undefined, sysctls: Record<string, number> = {}) {
  const gateway = createGateway({
    clock: new ManualClock(0),
    maxConnections: 16,
    interfaces: [
      {
        name: 'lan',
        addresses: ['10.0.0.1/24', 'fd00:a::1/64'],
        ...(routeLocalnet === undefined ? {} : { routeLocalnet }),
      },
      { name: 'wan', addresses: ['203.0.113.1/24'] },
    ],
    rules: { 4: RULES },
    sysctls,
  });
  const sent: string[] = [];
  for (const port of gateway.interfaces) {
    port.onTransmit = (bytes) => sent.push(`${port.name} ${formatPacket(bytes)}`);
  }
  const udp = gateway.udp.bind({ address: '127.0.0.1', port: 5353 });
  udp.onMessage = (datagram) => udp.reply(datagram, datagram.bytes);
  const ask = (from = 'lan', client = '10.0.0.2', server = '10.0.0.1'): string[] => {
    sent.length = 0;
    gateway.interface(from).receive(parsePacket(`udp ${client}:5000 > ${server}:53 len 3`));
    return sent.slice();
  };
  return { gateway, udp, ask };
}

const ANSWER = expect.stringContaining('lan udp 10.0.0.1:53 > 10.0.0.2:5000 len 3');

describe('DNAT from a link to 127.0.0.1', () => {
  it('is martian by default, as on Linux', () => {
    const { gateway, ask } = makeGateway(undefined);
    expect(ask()).toEqual([]);
    expect(gateway.drops.toObject()).toEqual({ martian: 1 });
    expect(gateway.engine.tracker.count).toBe(0);
    expect(gateway.getSysctl('net.ipv4.conf.lan.route_localnet')).toBe(0);
    gateway.close();
  });

  it('comes to who listens there with the option, by this interface alone', () => {
    const { gateway, ask } = makeGateway(true);
    expect(ask()).toEqual([ANSWER]);
    expect(ask('wan', '203.0.113.9', '203.0.113.1')).toEqual([]);
    expect(gateway.drops.toObject()).toEqual({ martian: 1 });
    expect(gateway.getSysctl('net.ipv4.conf.lan.route_localnet')).toBe(1);
    gateway.close();
  });

  it('can be allowed and forbidden while it runs, of one interface or of all', () => {
    const { gateway, ask } = makeGateway(undefined, { 'net.ipv4.conf.all.route_localnet': 1 });
    expect(ask()).toEqual([ANSWER]);
    expect(ask('wan', '203.0.113.9', '203.0.113.1')).toHaveLength(1);
    gateway.sysctl('net.ipv4.conf.all.route_localnet', 0);
    expect(ask()).toEqual([]);
    gateway.sysctl('net.ipv4.conf.lan.route_localnet', 1);
    expect(ask()).toEqual([ANSWER]);
    // For interfaces to come, of which there are none.
    gateway.sysctl('net.ipv4.conf.default.route_localnet', 1);
    expect(ask('wan', '203.0.113.9', '203.0.113.1')).toEqual([]);
    gateway.close();
  });

  it.each([
    ['net.ipv4.conf.nowhere.route_localnet', 1],
    ['net.ipv4.conf.lan.route_localnet', 2],
    ['net.ipv6.conf.lan.route_localnet', 1],
  ])('refuses %s = %d', (name, value) => {
    const { gateway } = makeGateway(undefined);
    expect(() => gateway.sysctl(name, value)).toThrow(ConfigurationError);
    gateway.close();
  });

  it('lets a socket of 127.0.0.1 send by the interface, EINVAL otherwise', () => {
    const { gateway, udp } = makeGateway(true);
    udp.send(Uint8Array.of(1), '10.0.0.2:9');
    let code: string | undefined;
    try {
      udp.send(Uint8Array.of(1), '203.0.113.9:9');
    } catch (error) {
      if (error instanceof SocketError) code = error.code;
    }
    expect(code).toBe('EINVAL');
    gateway.close();
  });

  it('has no twin of IPv6: ::1 comes by no link', () => {
    const { gateway } = makeGateway(true);
    gateway.interface('lan').receive(parsePacket('udp [fd00:a::2]:5000 > [::1]:53 len 3'));
    expect(gateway.drops.toObject()).toEqual({ martian: 1 });
    gateway.close();
  });
});
