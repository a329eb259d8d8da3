/** Endpoints that are bound to an interface send by it, as sockets with SO_BINDTODEVICE do (compared with Linux 6.18). */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../lib/clock.js';
import { createGateway, type Gateway } from '../../../lib/network/gateway.js';
import { formatPacket, parsePacket } from '../../../lib/scenario/notation.js';

/** A gateway whose default routes leave by `wan`. */
function makeGateway(rules = ''): { gateway: Gateway; take(): string[] } {
  const gateway = createGateway({
    clock: new ManualClock(),
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'], mtu: 1000 },
      { name: 'wan', addresses: ['192.0.2.1/24', 'fd00:b::1/64'] },
    ],
    routes: ['default via 192.0.2.254', '-6 default via fd00:b::fe'],
    ...(rules === '' ? {} : { rules: { 4: rules } }),
  });
  const sent: string[] = [];
  for (const port of gateway.interfaces) {
    port.onTransmit = (packet) => sent.push(`${port.name} ${formatPacket(packet)}`);
  }
  return { gateway, take: () => sent.splice(0) };
}

const BYTES = new Uint8Array(4);

describe('a UDP endpoint bound to an interface', () => {
  it('sends by it, from its address, whatever routes say; one that is not follows them', () => {
    const { gateway, take } = makeGateway();
    gateway.udp.bind({ port: 9, interface: 'lan' }).send(BYTES, '198.51.100.7:53');
    gateway.udp.bind({ port: 9 }).send(BYTES, '198.51.100.7:53');
    expect(take()).toEqual([
      expect.stringContaining('lan udp 10.0.0.1:9 > 198.51.100.7:53'),
      expect.stringContaining('wan udp 192.0.2.1:9 > 198.51.100.7:53'),
    ]);
    gateway.close();
  });

  it('answers by it those who came by it from elsewhere', () => {
    const { gateway, take } = makeGateway();
    const endpoint = gateway.udp.bind({ port: 9, interface: 'lan' });
    endpoint.onMessage = (datagram) => endpoint.reply(datagram, datagram.bytes);
    gateway.interface('lan').receive(parsePacket('udp 198.51.100.7:53 > 10.0.0.1:9 len 4'));
    expect(take()).toEqual([expect.stringContaining('lan udp 10.0.0.1:9 > 198.51.100.7:53')]);
    gateway.close();
  });

  it('stays with it when rules change mark or destination', () => {
    const mark = '*mangle\n-A OUTPUT -p udp --dport 53 -j MARK --set-mark 7\nCOMMIT\n';
    const dnat = '*nat\n-A OUTPUT -p udp --dport 54 -j DNAT --to-destination 203.0.113.9\nCOMMIT\n';
    const { gateway, take } = makeGateway(mark + dnat);
    const endpoint = gateway.udp.bind({ port: 9, interface: 'lan' });
    endpoint.send(BYTES, '198.51.100.7:53');
    endpoint.send(BYTES, '198.51.100.7:54');
    expect(take()).toEqual([
      expect.stringContaining('lan udp 10.0.0.1:9 > 198.51.100.7:53'),
      expect.stringContaining('lan udp 10.0.0.1:9 > 203.0.113.9:54'),
    ]);
    gateway.close();
  });

  it('cuts what is too long for it, not for where the route goes', () => {
    const { gateway, take } = makeGateway();
    gateway.udp.bind({ port: 9, interface: 'lan' }).send(new Uint8Array(1200), '198.51.100.7:53');
    expect(take().map((text) => text.slice(0, 3))).toEqual(['lan', 'lan']);
    gateway.close();
  });

  it('finds no way over IPv6 where no route leads, and none to loopback', () => {
    const { gateway, take } = makeGateway();
    const endpoint = gateway.udp.bind({ port: 9, interface: 'lan' });
    expect(() => endpoint.send(BYTES, '[2001:db8::1]:53')).toThrow('ENETUNREACH');
    expect(() => endpoint.send(BYTES, '[fd00:b::1]:53')).toThrow('ENETUNREACH');
    expect(() => endpoint.send(BYTES, '127.0.0.1:53')).toThrow('EINVAL');
    endpoint.send(BYTES, '[fd00:a::7]:53');
    expect(take()).toEqual([expect.stringContaining('lan udp [fd00:a::1]:9 > [fd00:a::7]:53')]);
    gateway.close();
  });

  it('reaches a neighbour whose address is of its link alone', () => {
    const { gateway, take } = makeGateway();
    gateway.addAddress('lan', 'fe80::1/64');
    gateway.addAddress('wan', 'fe80::2/64');
    const endpoint = gateway.udp.bind({ port: 9, interface: 'wan' });
    endpoint.send(BYTES, '[fe80::7]:53');
    expect(take()).toEqual([expect.stringContaining('wan udp [fe80::2]:9 > [fe80::7]:53')]);
    gateway.close();
  });
});

describe('a TCP port bound to an interface', () => {
  const SYN = 'tcp 198.51.100.7:4000 > 10.0.0.1:80 SYN seq 99 <mss 1460>';

  it('answers by it, with a segment size that its link can carry', () => {
    const { gateway, take } = makeGateway();
    gateway.tcp.listen({ port: 80, interface: 'lan' });
    gateway.interface('lan').receive(parsePacket(SYN));
    expect(take()).toEqual([
      expect.stringMatching(/^lan tcp 10\.0\.0\.1:80 > 198\.51\.100\.7:4000 SYN,ACK .*mss 960/),
    ]);
    gateway.close();
  });

  it('resets by it, and a flow that is handed over sends by it', () => {
    const { gateway, take } = makeGateway();
    gateway.tcp.handOver({ port: 80, interface: 'lan' }, (flow) => {
      flow.send(parsePacket('tcp 10.0.0.1:80 > 198.51.100.7:4000 SYN,ACK seq 7 ack 100'));
    });
    gateway.interface('lan').receive(parsePacket(SYN));
    gateway.interface('lan').receive(parsePacket('tcp 198.51.100.7:4001 > 10.0.0.1:80 ACK seq 5 ack 6'));
    expect(take()).toEqual([
      expect.stringMatching(/^lan tcp 10\.0\.0\.1:80 > 198\.51\.100\.7:4000 SYN,ACK/),
      expect.stringMatching(/^lan tcp 10\.0\.0\.1:80 > 198\.51\.100\.7:4001 RST/),
    ]);
    gateway.close();
  });
});
