import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../lib/clock.js';
import { createGateway, type Gateway } from '../../../lib/network/gateway.js';
import type { GatewayOptions } from '../../../lib/network/gateway-options.js';
import type { Denial } from '../../../lib/network/policy/policy.js';
import { formatPacket, parsePacket } from '../../../lib/scenario/notation.js';
import { dnsAnswer } from '../policy/lab.js';

const SYN = 'SYN seq 1';
const open: Gateway[] = [];

/** A gateway with raw IP on both sides. */
function makeGateway(options: Partial<GatewayOptions> = {}) {
  const clock = new ManualClock(1000);
  const gateway = createGateway({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'] },
      { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'] },
    ],
    routes: ['default dev wan', '-6 default dev wan'],
    rules: { 4: '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n' },
    maxConnections: 256,
    seed: 1,
    clock,
    ...options,
  });
  open.push(gateway);
  let sent: string[] = [];
  for (const port of gateway.interfaces) {
    port.onTransmit = (packet) => sent.push(`${port.name}: ${formatPacket(packet)}`);
  }
  const send = (from: string, packet: string): string[] => {
    sent = [];
    gateway.interface(from).receive(parsePacket(packet));
    clock.advance(10);
    return sent;
  };
  return { gateway, clock, send };
}

afterEach(() => {
  for (const gateway of open.splice(0)) gateway.close();
});

describe('a gateway', () => {
  it('forwards ports in one line, until that is taken back', () => {
    const { gateway, send } = makeGateway();
    const handle = gateway.forward('tcp', '8080:10.0.0.2/80');
    expect(send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8080 ${SYN}`)[0]).toContain('> 10.0.0.2:80 SYN');
    expect(gateway.rules.save()).toContain('-A PREROUTING -j CONNTIDE-FORWARDS');
    handle.remove();
    expect(send('wan', `tcp 198.51.100.7:4001 > 203.0.113.1:8080 ${SYN}`)[0]).toContain('RST');
  });

  it('has forwards and a policy from the start by option', () => {
    const { gateway, send } = makeGateway({
      forwards: ['tcp 8080'],
      forwarding: { to: ['10.0.0.2', 'fd00:a::2'] },
      policy: { allowOut: ['tcp/443'] },
    });
    expect(send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8080 ${SYN}`)[0]).toContain('> 10.0.0.2:8080');
    expect(send('wan', `tcp [2001:db8:9::7]:4000 > [2001:db8:1::1]:8080 ${SYN}`)[0]).toContain(
      '> [fd00:a::2]:8080',
    );
    expect(send('lan', `tcp 10.0.0.2:4000 > 1.1.1.1:443 ${SYN}`)[0]).toMatch(/^wan: /);
    expect(send('lan', `tcp 10.0.0.2:4000 > 1.1.1.1:80 ${SYN}`)[0]).toMatch(/^lan: .* RST/);
    expect(gateway.forwards.list()).toHaveLength(2);
  });

  it('keeps forwards and policy when rules are restored', () => {
    const { gateway, send } = makeGateway({ forwards: ['tcp 8080:10.0.0.2/80'], policy: { allowOut: [] } });
    gateway.rules.restore(
      4,
      '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n*filter\nCOMMIT\n*mangle\nCOMMIT\n',
    );
    expect(send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8080 ${SYN}`)[0]).toContain('> 10.0.0.2:80');
    expect(send('lan', `tcp 10.0.0.2:4000 > 1.1.1.1:80 ${SYN}`)[0]).toContain('RST');
  });

  it('refuses a port that one of its own services has', () => {
    const { gateway } = makeGateway({ dns: { answer: () => undefined } });
    gateway.router.ports.reserve({ version: 4, protocol: 6, port: 22, owner: 'socket' });
    expect(() => gateway.forward('tcp', '22:10.0.0.2/22')).toThrow(/EADDRINUSE.*tcp 22 \(socket\)/);
    expect(gateway.forwards.list()).toEqual([]);
  });

  it('leaves its own DNS service to the guests when port 53 is forwarded', () => {
    const { gateway, send } = makeGateway({ dns: { answer: (query) => query.with(2, 0x81) } });
    gateway.forward('udp', '53:10.0.0.2/53');
    const query = dnsQuery('example.com');
    expect(send('lan', `udp 10.0.0.9:4000 > 10.0.0.1:53 data ${query}`)[0]).toMatch(
      /^lan: udp 10\.0\.0\.1:53 > 10\.0\.0\.9:4000/,
    );
  });

  it('opens the addresses that its DNS service answers with, before the guest has them', async () => {
    const answer = dnsAnswer('example.com', [{ type: 'A', value: [93, 184, 216, 34], ttl: 60 }]);
    const { gateway, clock, send } = makeGateway({ dns: { answer: () => Promise.resolve(answer) } });
    const denied: Denial[] = [];
    gateway.events.on('denied', (denial) => denied.push(denial));
    gateway.policy({ allowOut: ['example.com:443'], denyOut: ['0.0.0.0/0'] });
    expect(send('lan', `tcp 10.0.0.2:4000 > 93.184.216.34:443 ${SYN}`)[0]).toContain('RST');
    send('lan', `udp 10.0.0.2:4000 > 10.0.0.1:53 data ${dnsQuery('example.com')}`);
    await Promise.resolve();
    await Promise.resolve();
    expect(send('lan', `tcp 10.0.0.2:4001 > 93.184.216.34:443 ${SYN}`)[0]).toMatch(/^wan: /);
    expect(send('lan', `tcp 10.0.0.2:4001 > 93.184.216.34:80 ${SYN}`)[0]).toContain('RST');
    expect(denied).toMatchObject([
      { destination: '93.184.216.34', port: 443, rule: 'denyOut 0.0.0.0/0' },
      { destination: '93.184.216.34', port: 80, domain: 'example.com' },
    ]);
    clock.advance(61_000);
    gateway.advance();
    expect(send('lan', `tcp 10.0.0.2:4002 > 93.184.216.34:443 ${SYN}`)[0]).toContain('RST');
  });

  it('asks its user about a denial, whose answer holds for the next packet', () => {
    const { gateway, send } = makeGateway();
    const allowOut = ['tcp/443'];
    gateway.policy({ allowOut });
    gateway.events.on('denied', ({ protocol, destination, port }) => {
      if (port === 22) gateway.policy({ allowOut: [...allowOut, `${protocol}/${destination}:${port}`] });
    });
    const ssh = `tcp 10.0.0.2:4000 > 198.51.100.9:22 ${SYN}`;
    expect(send('lan', ssh)[0]).toContain('RST');
    expect(send('lan', ssh)[0]).toMatch(/^wan: /);
    gateway.policy(undefined);
    expect(gateway.rules.save()).not.toContain('CONNTIDE');
  });
});

/** A query in hexadecimal. */
function dnsQuery(name: string): string {
  const bytes = dnsAnswer(name, []).with(2, 1).with(3, 0);
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
