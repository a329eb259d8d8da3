/** Transparent endpoints: what TPROXY gives them, and answers in the name of whom the client asked. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../lib/clock.js';
import { createGateway, type Gateway } from '../../../lib/network/gateway.js';
import type { Datagram } from '../../../lib/network/local/arrival.js';
import { SocketError } from '../../../lib/network/local/socket-error.js';
import type { TcpConnection } from '../../../lib/network/local/tcp-connection.js';
import type { TcpFlow } from '../../../lib/network/local/tcp-flows.js';
import { formatPacket, parsePacket } from '../../../lib/scenario/notation.js';

const MANGLE = (rules: string) => `*mangle\n${rules}\nCOMMIT\n`;
const UDP_RULE = '-A PREROUTING -i lan -p udp -j TPROXY --on-port 9053';
const TCP_RULE = '-A PREROUTING -i lan -p tcp -j TPROXY --on-port 9080';

class Bench {
  readonly gateway: Gateway;
  readonly clock = new ManualClock(0);
  #sent: string[] = [];

  constructor(rules: string, options = {}) {
    this.gateway = createGateway({
      clock: this.clock,
      maxConnections: 64,
      seed: 1,
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'] },
        { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'] },
      ],
      routes: ['default dev wan', '-6 default dev wan'],
      rules: { 4: MANGLE(rules), ...(rules.includes('7.7.7.7') ? {} : { 6: MANGLE(rules) }) },
      ...options,
    });
    for (const port of this.gateway.interfaces) {
      port.onTransmit = (bytes) => this.#sent.push(`${port.name} ${formatPacket(bytes)}`);
    }
  }

  receive(text: string, from = 'lan'): string[] {
    this.#sent = [];
    this.gateway.interface(from).receive(parsePacket(text));
    return this.#sent;
  }

  get sent(): string[] {
    return this.#sent;
  }
}

describe('a transparent UDP endpoint', () => {
  const TRACKED = '-A PREROUTING -m conntrack --ctstate INVALID -j DROP';
  it.each([
    ['10.0.0.2:5000', '1.1.1.1:53', `${UDP_RULE}`],
    ['10.0.0.2:5000', '1.1.1.1:53', `${TRACKED}\n${UDP_RULE}`],
    ['[fd00:a::2]:5000', '[2001:db8:9::9]:53', `${TRACKED}\n${UDP_RULE}`],
    ['10.0.0.2:5000', '203.0.113.1:53', UDP_RULE],
  ])('gets what %s sends to %s and answers in that name', (client, server, rules) => {
    const bench = new Bench(rules);
    const udp = bench.gateway.udp.bind({ port: 9053, transparent: true });
    const heard: Datagram[] = [];
    udp.onMessage = (datagram) => {
      heard.push(datagram);
      udp.reply(datagram, datagram.bytes);
    };
    expect(bench.receive(`udp ${client} > ${server} data "ask"`)).toEqual([
      expect.stringMatching(`^lan udp ${server} > ${client} len 3`.replace(/[[\]]/g, '\\$&')),
    ]);
    const { originalDst, to, from, interface: name } = heard[0]!;
    const text = ({ address, port }: { address: string; port: number }) =>
      address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
    expect([originalDst, to, from].map(text)).toEqual([server, server, client]);
    expect(name).toBe('lan');
    bench.gateway.close();
  });

  it('may later send in that name while the flow lives, and in no other', () => {
    const bench = new Bench(`-A PREROUTING -m conntrack --ctstate INVALID -j DROP\n${UDP_RULE}`);
    const { gateway } = bench;
    const udp = gateway.udp.bind({ port: 9053, transparent: true });
    udp.onMessage = () => {};
    bench.receive('udp 10.0.0.2:5000 > 1.1.1.1:53 len 1');
    bench.receive('udp 10.0.0.2:5000 > 8.8.8.8:53 len 1');
    bench.receive('udp 10.0.0.2:9 > 10.0.0.1:9 len 1');
    udp.send(Uint8Array.of(1), '10.0.0.2:5000', { from: '1.1.1.1:53' });
    udp.send(Uint8Array.of(1), '10.0.0.2:5000', { from: '8.8.8.8:53' });
    expect(bench.sent.slice(-2)).toEqual([
      expect.stringContaining('lan udp 1.1.1.1:53 > 10.0.0.2:5000'),
      expect.stringContaining('lan udp 8.8.8.8:53 > 10.0.0.2:5000'),
    ]);
    for (const from of ['9.9.9.9:53', '1.1.1.1:54']) {
      expect(() => udp.send(Uint8Array.of(1), '10.0.0.2:5000', { from })).toThrow(SocketError);
    }
    expect(udp.refusedSources).toBe(2);
    gateway.close();
  });

  it('may be bound to an address of nobody, which others may not', () => {
    const bench = new Bench(`${UDP_RULE} --on-ip 7.7.7.7`);
    const { gateway } = bench;
    expect(() => gateway.udp.bind({ address: '7.7.7.7', port: 9053 })).toThrow();
    const heard: string[] = [];
    gateway.udp.bind({
      address: '7.7.7.7',
      port: 9053,
      transparent: true,
      onMessage: ({ to }) => heard.push(to.address),
    });
    bench.receive('udp 10.0.0.2:5000 > 1.1.1.1:53 len 1');
    expect(heard).toEqual(['1.1.1.1']);
    gateway.close();
  });

  it('that is closed takes nothing any more', () => {
    const bench = new Bench(UDP_RULE);
    const udp = bench.gateway.udp.bind({ port: 9053, transparent: true, onMessage: () => {} });
    udp.close();
    expect(bench.receive('udp 10.0.0.2:5000 > 1.1.1.1:53 len 1')).toEqual([]);
    expect(bench.gateway.drops.toObject()).toEqual({ 'no-transparent-socket': 1 });
    bench.gateway.close();
  });
});

describe('a transparent TCP port', () => {
  const SYN = 'SYN seq 999 win 64240 <mss 1460>';
  const flows = (bench: Bench, options = {}) => {
    const taken: TcpFlow[] = [];
    const packets: string[] = [];
    const port = bench.gateway.tcp.handOver({ port: 9080, transparent: true, ...options }, (flow) => {
      taken.push(flow);
      flow.onPacket = (packet) => packets.push(formatPacket(packet));
    });
    return { taken, packets, port };
  };

  it.each([
    ['10.0.0.2:5000', '93.184.216.34:80'],
    ['[fd00:a::2]:5000', '[2001:db8:9::9]:80'],
  ])('gets flows as they are: %s to %s', (client, server) => {
    const bench = new Bench(TCP_RULE);
    const { taken, packets } = flows(bench);
    bench.receive(`tcp ${client} > ${server} ${SYN}`);
    expect(taken).toHaveLength(1);
    const [flow] = taken;
    expect(flow!.originalDst).toEqual(flow!.destination);
    expect(`${flow!.originalDst.address}:${flow!.originalDst.port}`).toBe(server.replace(/[[\]]/g, ''));
    expect(packets).toEqual([expect.stringContaining(`tcp ${client} > ${server} SYN seq 999`)]);
    flow!.send(parsePacket(`tcp ${server} > ${client} SYN,ACK seq 5 ack 1000`));
    expect(bench.sent).toEqual([
      expect.stringContaining(`lan tcp ${server} > ${client} SYN,ACK seq 5 ack 1000`),
    ]);
    bench.gateway.close();
  });

  it('keeps flows of one client port to several servers and ports apart', () => {
    const bench = new Bench(TCP_RULE);
    const { taken } = flows(bench);
    for (const server of ['1.1.1.1:80', '1.1.1.1:81', '2.2.2.2:80'])
      bench.receive(`tcp 10.0.0.2:5000 > ${server} ${SYN}`);
    expect(taken.map(({ destination: { address, port } }) => `${address}:${port}`)).toEqual([
      '1.1.1.1:80',
      '1.1.1.1:81',
      '2.2.2.2:80',
    ]);
    bench.gateway.close();
  });

  it('accepts connections in the name of the server', () => {
    const bench = new Bench(TCP_RULE);
    const accepted: TcpConnection[] = [];
    bench.gateway.tcp.listen({ port: 9080, transparent: true, onConnection: (one) => accepted.push(one) });
    const [answer] = bench.receive(`tcp 10.0.0.2:5000 > 93.184.216.34:80 ${SYN}`);
    expect(answer).toMatch(/^lan tcp 93\.184\.216\.34:80 > 10\.0\.0\.2:5000 SYN,ACK seq \d+ ack 1000/);
    const sequence = Number(/seq (\d+)/.exec(answer!)![1]);
    bench.receive(`tcp 10.0.0.2:5000 > 93.184.216.34:80 ACK seq 1000 ack ${sequence + 1}`);
    expect(accepted.map(({ originalDst }) => originalDst)).toEqual([{ address: '93.184.216.34', port: 80 }]);
    bench.gateway.close();
  });

  it('has its flows also when the rule names another port by now, as established sockets have', () => {
    const bench = new Bench(TCP_RULE);
    const { taken, packets } = flows(bench);
    const other = flows(bench, { port: 9081 });
    bench.receive(`tcp 10.0.0.2:5000 > 93.184.216.34:80 ${SYN}`);
    bench.gateway.restore(4, MANGLE(TCP_RULE.replace('9080', '9081')));
    bench.receive('tcp 10.0.0.2:5000 > 93.184.216.34:80 ACK seq 1000 ack 1');
    expect(packets).toHaveLength(2);
    bench.receive(`tcp 10.0.0.2:5001 > 93.184.216.34:80 ${SYN}`);
    expect([taken.length, other.taken.length]).toEqual([1, 1]);
    // A flow that was let go is nobody's: what comes of it meets the port of the rule, which resets it.
    taken[0]!.close();
    expect(bench.receive('tcp 10.0.0.2:5000 > 93.184.216.34:80 ACK seq 1000 ack 1')).toEqual([
      expect.stringContaining('lan tcp 93.184.216.34:80 > 10.0.0.2:5000 RST seq 1'),
    ]);
    bench.gateway.close();
  });

  it('works with socket, a mark, and the TPROXY rule for first packets alone (DIVERT)', () => {
    const rules = [
      ':DIVERT - [0:0]',
      '-A PREROUTING -p tcp -m socket --transparent -j DIVERT',
      '-A PREROUTING -i lan -p tcp --syn -j TPROXY --on-port 9080 --tproxy-mark 0x1/0x1',
      '-A DIVERT -j MARK --set-mark 0x1/0x1',
      '-A DIVERT -j ACCEPT',
    ].join('\n');
    const bench = new Bench(rules, { localMark: '0x1/0x1' });
    const { packets } = flows(bench);
    bench.receive(`tcp 10.0.0.2:5000 > 93.184.216.34:80 ${SYN}`);
    bench.receive('tcp 10.0.0.2:5000 > 93.184.216.34:80 ACK seq 1000 ack 1');
    expect(packets).toHaveLength(2);
    // Of no flow: forwarded as ever.
    expect(bench.receive('tcp 10.0.0.2:5001 > 93.184.216.34:80 ACK seq 1000 ack 1')).toEqual([
      expect.stringContaining('wan tcp 10.0.0.2:5001'),
    ]);
    bench.gateway.close();
  });

  it('hears nothing of the inactivity clock in the name of the server, and the server nothing at all', () => {
    const bench = new Bench(`-A PREROUTING -m conntrack --ctstate INVALID -j DROP\n${TCP_RULE}`, {
      inactivity: { intervalMs: 1000, onExpiry: 'reset-both' },
    });
    const { taken } = flows(bench);
    bench.receive(`tcp 10.0.0.2:5000 > 93.184.216.34:80 ${SYN}`);
    taken[0]!.send(parsePacket('tcp 93.184.216.34:80 > 10.0.0.2:5000 SYN,ACK seq 5 ack 1000'));
    bench.receive('tcp 10.0.0.2:5000 > 93.184.216.34:80 ACK seq 1000 ack 6');
    bench.clock.advance(2000);
    bench.gateway.advance();
    expect(bench.sent).toEqual([
      expect.stringMatching(/^lan tcp 93\.184\.216\.34:80 > 10\.0\.0\.2:5000 RST/),
    ]);
    bench.gateway.close();
  });

  it('is not cut by a policy that speaks of where flows go: they go nowhere', () => {
    const bench = new Bench(`-A PREROUTING -m conntrack --ctstate INVALID -j DROP\n${TCP_RULE}`);
    const { taken, packets } = flows(bench);
    bench.receive(`tcp 10.0.0.2:5000 > 93.184.216.34:80 ${SYN}`);
    taken[0]!.send(parsePacket('tcp 93.184.216.34:80 > 10.0.0.2:5000 SYN,ACK seq 5 ack 1000'));
    bench.gateway.policy({ allowOut: ['9.9.9.9'] });
    bench.receive('tcp 10.0.0.2:5000 > 93.184.216.34:80 ACK seq 1000 ack 6');
    expect(packets).toHaveLength(2);
    bench.gateway.close();
  });
});
