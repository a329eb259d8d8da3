import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../lib/clock.js';
import { createGateway } from '../../lib/network/gateway.js';
import { Timers } from '../../lib/network/timers.js';
import { SeededRandom } from '../../lib/random.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';
import { arpFrame, frame, GATEWAY_MAC, GUEST_MAC, greet, makeBench, packetFrame } from './gateway-frames.js';

const MASQUERADE = '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n';
const OUT = 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 4';

describe('addresses and links at run time', () => {
  it('that are taken away take their masqueraded connections with them', () => {
    const bench = makeBench({}, { rules: { 4: MASQUERADE } });
    bench.receive('lan', packetFrame(GATEWAY_MAC, GUEST_MAC, OUT));
    const { engine } = bench.gateway;
    expect(engine.tracker.count).toBe(1);
    bench.gateway.addAddress('wan', '203.0.113.7/24');
    bench.gateway.removeAddress('wan', '203.0.113.1/24');
    expect(engine.tracker.count).toBe(0);
    bench.take();
    bench.receive('lan', packetFrame(GATEWAY_MAC, GUEST_MAC, OUT));
    expect(bench.take()).toEqual([expect.stringContaining('wan udp 203.0.113.7:5000 > 1.1.1.1:53')]);
  });

  it('that are new are announced to the stations on the link', () => {
    const bench = makeBench();
    bench.gateway.addAddress('lan', '10.0.9.1/24');
    expect(bench.take()).toEqual([expect.stringContaining('arp who-has 10.0.9.1 tell 10.0.9.1')]);
    bench.receive('lan', arpFrame('who-has', [GUEST_MAC, '10.0.9.5'], ['00:00:00:00:00:00', '10.0.9.1']));
    expect(bench.take()).toEqual([expect.stringContaining('arp 10.0.9.1 is-at')]);
  });

  it('a link that is down carries nothing, routes lead elsewhere, and it comes back', () => {
    const bench = makeBench({}, { rules: { 4: MASQUERADE } });
    greet(bench);
    bench.receive('lan', packetFrame(GATEWAY_MAC, GUEST_MAC, OUT));
    bench.take();
    expect(() => bench.gateway.setLink('wan', 'off' as 'down')).toThrow(/state of a link \('off'\)/);
    bench.gateway.setLink('wan', 'down');
    expect(bench.gateway.engine.tracker.count).toBe(0);
    bench.receive('lan', packetFrame(GATEWAY_MAC, GUEST_MAC, OUT));
    expect(bench.take()).toEqual([expect.stringContaining('icmp 10.0.0.1 > 10.0.0.2 network-unreachable')]);
    bench.receive('wan', parsePacket('udp 1.1.1.1:53 > 203.0.113.1:5000 len 4'));
    expect(bench.gateway.interface('wan').drops.toObject()).toEqual({ 'link-down': 1 });
    bench.gateway.setLink('wan', 'up');
    bench.receive('lan', packetFrame(GATEWAY_MAC, GUEST_MAC, OUT));
    expect(bench.take()).toEqual([expect.stringContaining('wan udp 203.0.113.1:5000 > 1.1.1.1:53')]);
  });
});

describe('rules and settings', () => {
  it('are replaced while packets flow, and saved', () => {
    const bench = makeBench();
    bench.gateway.restore(4, '*filter\n:FORWARD DROP\nCOMMIT\n');
    bench.receive('lan', packetFrame(GATEWAY_MAC, GUEST_MAC, OUT));
    expect(bench.take()).toEqual([]);
    expect(bench.gateway.drops.toObject()).toEqual({ 'rule-policy': 1 });
    expect(bench.gateway.rules.save()).toContain(':FORWARD DROP [1:32]');
    expect(() => bench.gateway.restore(4, '*filter\n-A FORWARD -j NOWHERE\nCOMMIT\n')).toThrow();
    expect(bench.gateway.rules.save()).toContain(':FORWARD DROP [1:32]');
  });

  it('start the reaper when tracking is first needed', () => {
    const bench = makeBench();
    expect(bench.gateway.engine.reaper.isRunning).toBe(false);
    bench.gateway.restore(4, MASQUERADE);
    expect(bench.gateway.engine.reaper.isRunning).toBe(true);
    bench.receive('lan', packetFrame(GATEWAY_MAC, GUEST_MAC, OUT));
    expect(bench.gateway.engine.tracker.count).toBe(1);
    bench.pass(200_000);
    expect(bench.gateway.engine.tracker.count).toBe(0);
  });

  it('know the names of Linux', () => {
    const { gateway } = makeBench({}, { sysctls: { 'net.ipv4.ip_default_ttl': 33 } });
    expect(gateway.getSysctl('net.ipv4.ip_default_ttl')).toBe(33);
    gateway.sysctl('net.netfilter.nf_conntrack_udp_timeout', 10);
    expect(gateway.getSysctl('net.netfilter.nf_conntrack_udp_timeout')).toBe(10);
  });
});

describe('path MTU', () => {
  it('is told to a sender whose packet must not be cut, and others are cut', () => {
    const clock = new ManualClock(0);
    const gateway = createGateway({
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'] },
        { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'], mtu: 1280 },
      ],
      routes: ['default dev wan', '-6 default dev wan'],
      clock,
      random: new SeededRandom(1),
      maxConnections: 64,
    });
    const sent: string[] = [];
    for (const port of gateway.interfaces) {
      port.onTransmit = (bytes) => sent.push(`${port.name} ${formatPacket(bytes)}`);
    }
    gateway.interface('lan').receive(parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:53 len 1400 df'));
    gateway.interface('lan').receive(parsePacket('udp [fd00:a::2]:5000 > [2001:db8:9::1]:53 len 1400'));
    gateway.interface('lan').receive(parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:53 len 1400'));
    expect(sent.map((text) => text.split(' ').slice(0, 5).join(' '))).toEqual([
      'lan icmp 10.0.0.1 > 10.0.0.2',
      'lan icmpv6 fd00:a::1 > fd00:a::2',
      expect.stringContaining('wan '),
      expect.stringContaining('wan '),
    ]);
    expect(sent[0]).toContain('fragmentation-needed mtu 1280');
    expect(sent[1]).toContain('too-big mtu 1280');
    gateway.close();
  });
});

describe('web streams', () => {
  it('carry packets in and out, and end with the gateway', async () => {
    const bench = makeBench();
    const wan = bench.gateway.interface('wan');
    wan.onTransmit = undefined;
    const reader = wan.readable.getReader();
    const writer = wan.writable.getWriter();
    bench.receive('lan', packetFrame(GATEWAY_MAC, GUEST_MAC, OUT));
    const { value } = await reader.read();
    expect(formatPacket(value!)).toContain('udp 10.0.0.2:5000 > 1.1.1.1:53');
    greet(bench);
    await writer.write(parsePacket('udp 1.1.1.1:53 > 10.0.0.2:5000 len 4'));
    expect(bench.take()).toEqual([expect.stringContaining('udp 1.1.1.1:53 > 10.0.0.2:5000')]);
    bench.gateway.close();
    expect((await reader.read()).done).toBe(true);
    await expect(writer.closed).rejects.toThrow();
  });
});

describe('a gateway that is closed', () => {
  it('does nothing by time any more', () => {
    const bench = makeBench({ dhcp: {}, advertise: {} }, { rules: { 4: MASQUERADE } });
    bench.receive('wan', parsePacket('udp 1.1.1.1:53 > 10.0.0.2:5000 len 4'));
    bench.gateway.close();
    bench.take();
    bench.pass(3_600_000);
    expect(bench.take()).toEqual([]);
    expect(bench.gateway.engine.reaper.isRunning).toBe(false);
    expect([...bench.gateway.router.ports.list()]).toEqual([]);
    expect(bench.gateway.interface('lan').state).toBe('closed');
  });

  it('or forgotten does not keep the process alive', () => {
    const entry = join(import.meta.dirname, '../../dist/network/gateway.js');
    const program = `
      const { createGateway } = await import(${JSON.stringify(`file://${entry}`)});
      createGateway({
        interfaces: [{ name: 'lan', link: 'ethernet', addresses: ['10.0.0.1/24', 'fd00::1/64'], dhcp: {}, advertise: {} }],
        rules: { 4: ${JSON.stringify('*nat\n-A POSTROUTING -o lan -j MASQUERADE\nCOMMIT\n')} },
      });
      console.log('made');`;
    const out = execFileSync(process.execPath, ['--input-type=module', '-e', program], { timeout: 20_000 });
    expect(out.toString()).toBe('made\n');
  });
});

describe('timers', () => {
  it('do what is due in order of time, each thing at its moment, and stop at a part that does not', () => {
    const timers = new Timers();
    const done: string[] = [];
    const every = (name: string, ms: number) => {
      let next = ms;
      timers.add({
        nextMs: () => next,
        advance: (nowMs) => {
          done.push(`${name}@${nowMs}`);
          next += ms;
        },
      });
    };
    every('a', 20);
    every('b', 30);
    timers.advance(60);
    expect(done).toEqual(['a@20', 'b@30', 'a@40', 'a@60', 'b@60']);
    timers.add({ nextMs: () => 61, advance: () => {} });
    timers.advance(100);
    expect(timers.nextMs()).toBe(61);
  });
});

describe('any bytes at all', () => {
  const wellFormed = [
    arpFrame('who-has', [GUEST_MAC, '10.0.0.2'], ['00:00:00:00:00:00', '10.0.0.1']),
    packetFrame(GATEWAY_MAC, GUEST_MAC, OUT),
    packetFrame(GATEWAY_MAC, GUEST_MAC, 'icmpv6 fd00:a::2 > fd00:a::1 echo-request id 7 seq 1'),
    frame(
      'ff:ff:ff:ff:ff:ff',
      GUEST_MAC,
      0x0800,
      parsePacket(`udp 0.0.0.0:68 > 255.255.255.255:67 data 010106${'00'.repeat(233)}63825363350101ff`),
    ),
    frame(
      GATEWAY_MAC,
      GUEST_MAC,
      0x0800,
      parsePacket('udp 10.0.0.2:4000 > 10.0.0.1:53 data 12340100000100000000000001610000010001'),
    ),
  ];

  it('on an Ethernet interface never throw, and waiting packets and neighbours stay bounded', () => {
    const bench = makeBench(
      { dhcp: {}, advertise: {}, neighbours: { capacity: 32 } },
      { dns: { answer: (asked) => asked, on: ['lan'] }, rules: { 4: MASQUERADE } },
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc
            .tuple(
              fc.constantFrom(...wellFormed),
              fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 8 }),
              fc.nat(400),
            )
            .map(([base, changes, length]) => {
              const bytes = base.slice(0, length < 300 ? base.length : length - 300);
              for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
              return bytes;
            }),
        ),
        fc.nat(3000),
        (bytes, ms) => {
          bench.receive('lan', bytes.slice());
          bench.receive('wan', bytes.slice(Math.min(14, bytes.length)));
          bench.pass(ms);
          bench.takeBytes();
          expect(bench.gateway.ethernet('lan')!.neighbours.count).toBeLessThanOrEqual(32);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('in neighbour discovery never throw', () => {
    const bench = makeBench({ advertise: {} });
    fc.assert(
      fc.property(
        fc.constantFrom(133, 134, 135, 136, 137),
        fc.uint8Array({ maxLength: 80 }),
        fc.boolean(),
        (type, body, toGroup) => {
          const hex = [...body].map((byte) => byte.toString(16).padStart(2, '0')).join('');
          const to = toGroup ? 'ff02::1:ff00:1' : 'fd00:a::1';
          const packet = parsePacket(
            `ip fd00:a::2 > ${to} proto icmpv6 ttl 255 data ${type.toString(16)}00ffff${hex}`,
          );
          bench.receive('lan', frame(toGroup ? '33:33:ff:00:00:01' : GATEWAY_MAC, GUEST_MAC, 0x86dd, packet));
        },
      ),
      { numRuns: 500 },
    );
    expect(bench.gateway.interface('lan').counters.receivedPackets).toBe(500);
  });
});
