/** Rows C1, C4 and C5: what a gateway's own endpoints may be bound to, where their answers leave from, and who has a port. */
import { describe, expect, it } from 'vitest';
import type { Datagram } from '../../lib/index.js';
import { Lab, MASQUERADE } from './lab.js';

const PREFIX = 'fd00:1009:bacc::/48';
const REDIRECT = '*nat\n-A PREROUTING -p udp --dport 53 -j REDIRECT --to-ports 5353\nCOMMIT\n';

describe('C1: loopback prefixes, 127.0.0.0/8, ::1/128 and fd00:1009:bacc::/48', () => {
  it.each([
    '10.0.0.2:5000 > 127.0.0.9:53',
    '127.0.0.9:5000 > 198.51.100.7:53',
    '[fd00:a::2]:5000 > [::1]:53',
    '[fd00:a::2]:5000 > [fd00:1009:bacc:7::9]:53',
    '[fd00:1009:bacc::1]:5000 > [2001:db8:2::7]:53',
  ])('on a link %s is a martian: one more in the counter, no entry', (ends) => {
    const lab = new Lab(MASQUERADE, { loopbackPrefixes: [PREFIX], tracking: 'always' });
    for (const name of ['lan', 'wan'] as const) {
      lab.gateway.drops.reset();
      expect(lab.send(name, `udp ${ends} len 1`)).toEqual([]);
      expect(lab.gateway.drops.toObject()).toEqual({ martian: 1 });
      expect(lab.count).toBe(0);
    }
  });

  it.each(['127.77.0.9', '::1', 'fd00:1009:bacc:7::9'])(
    'on loopback %s is local, and can be bound',
    (address) => {
      const lab = new Lab(undefined, { loopbackPrefixes: [PREFIX] });
      const heard: Datagram[] = [];
      lab.gateway.udp.bind({ address, port: 53, onMessage: (datagram) => heard.push(datagram) });
      const answers: Datagram[] = [];
      const client = lab.gateway.udp.bind({ onMessage: (datagram) => answers.push(datagram) });
      client.send(Uint8Array.of(7), { address, port: 53 });
      expect(heard.map(({ to, bytes }) => [to, bytes[0]])).toEqual([[{ address, port: 53 }, 7]]);
      expect(lab.take()).toEqual([]);
      expect(lab.gateway.drops.toObject()).toEqual({});
    },
  );

  it('an address just beside is neither', () => {
    const lab = new Lab(MASQUERADE, { loopbackPrefixes: [PREFIX] });
    expect(() => lab.gateway.udp.bind({ address: 'fd00:1009:bacd::1', port: 53 })).toThrow(
      'not an address of the gateway',
    );
    expect(lab.send('lan', 'udp [fd00:a::2]:5000 > [fd00:1009:bacd::1]:53 len 1')).toHaveLength(1);
  });
});

describe('C4: an answer to a redirected datagram', () => {
  it('leaves from the address that was asked: 1.1.1.1:53 redirected to 127.0.0.1:53 answers from 1.1.1.1:53', () => {
    const lab = new Lab('*nat\n-A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 53\nCOMMIT\n');
    const server = lab.gateway.udp.bind({ address: '127.0.0.1', port: 53 });
    server.onMessage = (datagram) => server.reply(datagram, datagram.bytes);
    const answers: Datagram[] = [];
    const client = lab.gateway.udp.bind({ onMessage: (datagram) => answers.push(datagram) });
    client.send(Uint8Array.of(7), '1.1.1.1:53');
    expect(answers.map(({ from, bytes }) => [from, bytes[0]])).toEqual([
      [{ address: '1.1.1.1', port: 53 }, 7],
    ]);
  });

  it('does so for a client on a link too, where route_localnet lets it in', () => {
    const lab = new Lab(undefined, {
      rules: { 4: '*nat\n-A PREROUTING -p udp --dport 53 -j DNAT --to-destination 127.0.0.1:53\nCOMMIT\n' },
    });
    lab.gateway.sysctl('net.ipv4.conf.lan.route_localnet', 1);
    const server = lab.gateway.udp.bind({ address: '127.0.0.1', port: 53 });
    server.onMessage = (datagram) => server.reply(datagram, datagram.bytes);
    const sent = lab.send('lan', 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 1');
    expect(sent).toEqual([expect.stringContaining('lan udp 1.1.1.1:53 > 10.0.0.2:5000 ')]);
  });

  it('leaves from there whichever interface it leaves by', () => {
    const lab = new Lab(REDIRECT, { routes: ['10.9.0.0/16 dev wan'] });
    const server = lab.gateway.udp.bind({ port: 5353 });
    server.onMessage = (datagram) => server.reply(datagram, datagram.bytes);
    const sent = lab.send('lan', 'udp 10.9.0.2:5000 > 1.1.1.1:53 len 1');
    expect(sent).toEqual([expect.stringMatching(/^wan udp 1\.1\.1\.1:53 > 10\.9\.0\.2:5000 /)]);
  });

  it('is kept apart from that of another virtual address on the same backend', () => {
    const lab = new Lab(REDIRECT);
    const server = lab.gateway.udp.bind({ port: 5353 });
    server.onMessage = (datagram) => server.reply(datagram, datagram.bytes);
    for (const address of ['1.1.1.1', '8.8.8.8', '1.1.1.1']) {
      const sent = lab.send('lan', `udp 10.0.0.2:5000 > ${address}:53 len 1`);
      expect(sent.join()).toMatch(`lan udp ${address}:53 > 10.0.0.2:5000 `);
    }
  });

  it('cannot be claimed without an inbound flow: EPERM, one more in the counter, nothing is sent', () => {
    const lab = new Lab(REDIRECT);
    const server = lab.gateway.udp.bind({ port: 5353 });
    const claim = () => server.send(Uint8Array.of(7), '10.0.0.2:5000', { from: '1.1.1.1:53' });
    expect(claim).toThrow(expect.objectContaining({ code: 'EPERM' }));
    expect([server.refusedSources, lab.gateway.drops.toObject(), lab.take()]).toEqual([
      1,
      { 'source-refused': 1 },
      [],
    ]);
    lab.send('lan', 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 1');
    claim();
    expect(lab.take().join()).toMatch('lan udp 1.1.1.1:53 > 10.0.0.2:5000 ');
  });
});

describe('C5: one registry of ports for sockets, NAT and forwards', () => {
  const snat = (protocol: string, ports: string) =>
    `*nat\n-A POSTROUTING -o wan -p ${protocol} -j SNAT --to-source 203.0.113.1:${ports}\nCOMMIT\n`;

  it('40000 reserved, SNAT to 40000-40001: the first flow gets 40001, the second to the same server none', () => {
    const rules = { 4: snat('tcp', '40000-40001') };
    const lab = new Lab(undefined, { rules });
    lab.gateway.reserve('tcp', '203.0.113.1', 40000);
    const open = (client: string, server: string) =>
      /^wan tcp 203\.0\.113\.1:(\d+) /.exec(
        lab.send('lan', `tcp ${client} > ${server} SYN seq 1`).join(),
      )?.[1];
    expect(open('10.0.0.2:5000', '198.51.100.7:80')).toBe('40001');
    expect(open('10.0.0.3:5000', '198.51.100.7:80')).toBeUndefined();
    expect(lab.gateway.drops.toObject()).toEqual({ 'nat-exhausted': 1 });
    expect(open('10.0.0.3:5000', '198.51.100.8:80'), 'another server').toBe('40001');
  });

  it('sockets, forwards and reservations do not get the port of one another', () => {
    const lab = new Lab(MASQUERADE);
    lab.gateway.reserve('tcp', '203.0.113.1', 40000);
    lab.gateway.udp.bind({ port: 7000 });
    lab.gateway.forward('tcp', '8080:10.0.0.2/80');
    expect(() => lab.gateway.forward('tcp', '203.0.113.1/40000:10.0.0.2/80')).toThrow(/EADDRINUSE.*reserved/);
    expect(() => lab.gateway.forward('udp', '7000:10.0.0.2/80')).toThrow('EADDRINUSE');
    expect(() => lab.gateway.tcp.listen({ port: 8080 })).toThrow('8080');
    expect(() => lab.gateway.reserve('udp', undefined, 7000)).toThrow('7000');
  });

  it('an answer to a flow of NAT goes to the flow, also when a socket is bound to its port', () => {
    const lab = new Lab(MASQUERADE);
    const heard: Datagram[] = [];
    lab.send('lan', 'udp 10.0.0.2:5000 > 198.51.100.7:53 len 1');
    lab.gateway.udp.bind({ port: 5000, onMessage: (datagram) => heard.push(datagram) });
    const answer = lab.send('wan', 'udp 198.51.100.7:53 > 203.0.113.1:5000 len 1');
    expect(answer).toEqual([expect.stringContaining('lan udp 198.51.100.7:53 > 10.0.0.2:5000')]);
    expect(lab.send('wan', 'udp 198.51.100.8:53 > 203.0.113.1:5000 len 1')).toEqual([]);
    expect(heard.map(({ from }) => from.address)).toEqual(['198.51.100.8']);
  });

  it('ports for sockets that ask for none skip those that NAT holds', () => {
    const lab = new Lab(undefined, {
      rules: { 4: snat('udp', '32768-32769') },
      random: { u32: () => 0, pick: (first) => first },
    });
    lab.send('lan', 'udp 10.0.0.2:5000 > 198.51.100.7:53 len 1');
    lab.send('lan', 'udp 10.0.0.3:5000 > 198.51.100.7:53 len 1');
    expect(lab.gateway.udp.bind().port).toBe(32_770);
    lab.until(31_000);
    expect(lab.gateway.udp.bind().port).toBe(32_768);
  });
});
