import { describe, expect, it } from 'vitest';
import { Direction, type EntryId, Status } from '../../lib/conntrack/entries.js';
import { DropReason } from '../../lib/counters.js';
import { Manip, type NatRange } from '../../lib/nat/range.js';
import { CtInfo, type Packet } from '../../lib/wire/packet.js';
import { Hook, Verdict } from '../../lib/wire/verdict.js';
import { address, build, Gateway, LAN, range, Script, WAN, words } from './gateway.js';

const { PREROUTING, POSTROUTING, INPUT, OUTPUT } = Hook;

const client = (port: number, destination = '198.51.100.7') =>
  build({ source: '10.0.0.2', destination, protocol: 17, ports: [port, 53], payload: [1, 2, 3] });

function ends(packet: Packet | undefined): string {
  if (packet === undefined) return 'dropped';
  const at = packet.transport;
  const [source, destination] = [0, 4].map((word) => address(packet.addresses, word, packet.version));
  return `${source}:${packet.u16(at)} > ${destination}:${packet.u16(at + 2)}`;
}

function masquerading(ports = ''): Gateway {
  const gateway = new Gateway();
  const to = range(ports);
  gateway.rule = (packet, hook) =>
    hook === POSTROUTING && packet.outInterface === WAN ? gateway.nat.masquerade(packet, to) : Verdict.ACCEPT;
  return gateway;
}

function status(gateway: Gateway, packet: Packet): number {
  return gateway.table(packet).entries.status(packet.entry as EntryId);
}

describe('masquerading', () => {
  it('gives packets the address of the interface that they leave by, answers go back, bytes are right', () => {
    const gateway = masquerading();
    const out = gateway.forward(client(5000), LAN, WAN)!;
    expect(ends(out)).toBe('203.0.113.1:5000 > 198.51.100.7:53');
    expect(out.copyBytes()).toEqual(
      build({
        source: '203.0.113.1',
        destination: '198.51.100.7',
        protocol: 17,
        ports: [5000, 53],
        payload: [1, 2, 3],
      }),
    );
    const answer = build({
      source: '198.51.100.7',
      destination: '203.0.113.1',
      protocol: 17,
      ports: [53, 5000],
    });
    const back = gateway.forward(answer, WAN, LAN)!;
    expect(ends(back)).toBe('198.51.100.7:53 > 10.0.0.2:5000');
    expect(back.copyBytes()).toEqual(
      build({ source: '198.51.100.7', destination: '10.0.0.2', protocol: 17, ports: [53, 5000] }),
    );
    expect(status(gateway, out) & 0x1b0).toBe(0x190);
  });

  it('of IPv6 takes the IPv6 address', () => {
    const gateway = masquerading();
    const bytes = build({
      source: 'fd00:a::2',
      destination: '2001:db8:2::7',
      protocol: 17,
      ports: [5000, 53],
    });
    expect(ends(gateway.forward(bytes, LAN, WAN))).toBe(
      '2001:db8:1:0:0:0:0:1:5000 > 2001:db8:2:0:0:0:0:7:53',
    );
  });

  it('uses the ports that the rule gives', () => {
    const gateway = masquerading(':1700-1799');
    expect(ends(gateway.forward(client(5000), LAN, WAN))).toMatch(/^203\.0\.113\.1:17\d\d > /);
    expect(ends(gateway.forward(client(1750), LAN, WAN))).toMatch(/^203\.0\.113\.1:1750 > /);
  });

  it('asks the table once: later packets of a flow follow its binding', () => {
    const gateway = masquerading();
    let asked = 0;
    const rule = gateway.rule;
    gateway.rule = (packet, hook) => {
      asked++;
      return rule(packet, hook);
    };
    for (let i = 0; i < 3; i++) {
      expect(ends(gateway.forward(client(5000), LAN, WAN))).toMatch(/^203/);
    }
    expect(asked).toBe(2);
  });

  it('drops a packet that leaves by an interface without an address', () => {
    const gateway = new Gateway();
    gateway.rule = (packet, hook) =>
      hook === POSTROUTING ? gateway.nat.masquerade(packet, range('')) : Verdict.ACCEPT;
    const packet = gateway.track(client(5000));
    packet.outInterface = 3;
    expect(gateway.nat.hook(packet, POSTROUTING, gateway)).toBe(Verdict.DROP);
    expect(packet.reason).toBe(DropReason.NAT_ADDRESS_GONE);
  });

  it('leaves a packet without a source address alone', () => {
    const gateway = masquerading();
    const bytes = build({ source: '0.0.0.0', destination: '255.255.255.255', protocol: 17, ports: [68, 67] });
    expect(ends(gateway.forward(bytes, 0, WAN))).toBe('0.0.0.0:68 > 255.255.255.255:67');
  });

  it('ends a flow that leaves by another interface, and drops the packet', () => {
    const gateway = masquerading();
    gateway.forward(client(5000), LAN, WAN);
    const packet = gateway.track(client(5000));
    packet.outInterface = LAN;
    expect(gateway.nat.hook(packet, POSTROUTING, gateway)).toBe(Verdict.DROP);
    expect(packet.reason).toBe(DropReason.NAT_ADDRESS_GONE);
    expect(gateway.tables[4].live).toBe(0);
  });

  it('lets answers leave by any interface', () => {
    const gateway = masquerading();
    gateway.forward(client(5000), LAN, WAN);
    const answer = build({
      source: '198.51.100.7',
      destination: '203.0.113.1',
      protocol: 17,
      ports: [53, 5000],
    });
    expect(ends(gateway.forward(answer, WAN, 3))).toBe('198.51.100.7:53 > 10.0.0.2:5000');
  });

  it('ends with the address or the interface, for those flows only', () => {
    const gateway = masquerading();
    gateway.forward(client(5000), LAN, WAN);
    gateway.forward(client(5001), LAN, WAN);
    gateway.forward(client(5002), WAN, LAN);
    expect(gateway.nat.addressGone(4, WAN, words('203.0.113.2'), 0)).toBe(0);
    expect(gateway.nat.addressGone(4, LAN, words('203.0.113.1'), 0)).toBe(0);
    expect(gateway.nat.addressGone(6, WAN, words('203.0.113.1'), 0)).toBe(0);
    expect(gateway.nat.addressGone(4, WAN, words('203.0.113.1'), 0)).toBe(2);
    expect(gateway.tables[4].live).toBe(1);
    gateway.forward(client(5000), LAN, WAN);
    expect(gateway.nat.interfaceGone(WAN)).toBe(1);
    expect(gateway.tables[4].live).toBe(1);
  });
});

describe('redirecting', () => {
  it('turns packets to the interface that they came in by, and their answers to the address asked', () => {
    const gateway = new Gateway();
    gateway.rule = (packet, hook) =>
      hook === PREROUTING ? gateway.nat.redirect(packet, hook, range(':5300')) : Verdict.ACCEPT;
    const packet = gateway.track(client(5000));
    packet.inInterface = LAN;
    expect(gateway.nat.hook(packet, PREROUTING, gateway)).toBe(Verdict.ACCEPT);
    expect(gateway.nat.hook(packet, INPUT, gateway)).toBe(Verdict.ACCEPT);
    expect(ends(packet)).toBe('10.0.0.2:5000 > 10.0.0.1:5300');
    gateway.confirm(packet);
    const answer = gateway.track(
      build({ source: '10.0.0.1', destination: '10.0.0.2', protocol: 17, ports: [5300, 5000] }),
    );
    expect(gateway.nat.hook(answer, OUTPUT, gateway)).toBe(Verdict.ACCEPT);
    expect(gateway.nat.hook(answer, POSTROUTING, gateway)).toBe(Verdict.ACCEPT);
    expect(ends(answer)).toBe('198.51.100.7:53 > 10.0.0.2:5000');
  });

  it('drops what came in by an interface without an address', () => {
    const gateway = new Gateway();
    gateway.rule = (packet, hook) => gateway.nat.redirect(packet, hook, range(':5300'));
    const packet = gateway.track(client(5000));
    packet.inInterface = 3;
    expect(gateway.nat.hook(packet, PREROUTING, gateway)).toBe(Verdict.DROP);
    expect(packet.reason).toBe(DropReason.NAT_ADDRESS_GONE);
  });
});

describe('NETMAP', () => {
  const net: NatRange = { ...range('192.0.2.0-192.0.2.255') };

  it('keeps the host part, of the destination coming in and of the source going out', () => {
    const gateway = new Gateway();
    gateway.rule = (packet, hook) => gateway.nat.netmap(packet, hook, net);
    const inward = gateway.track(
      build({ source: '1.1.1.1', destination: '203.0.113.77', protocol: 17, ports: [9, 9] }),
    );
    gateway.nat.hook(inward, PREROUTING, gateway);
    expect(ends(inward)).toBe('1.1.1.1:9 > 192.0.2.77:9');
    const outward = gateway.track(client(5000));
    gateway.nat.hook(outward, POSTROUTING, gateway);
    expect(ends(outward)).toBe('192.0.2.2:5000 > 198.51.100.7:53');
  });
});

describe('a null binding', () => {
  it('marks both ends done and changes nothing', () => {
    const gateway = new Gateway();
    const packet = gateway.forward(client(5000), LAN, WAN)!;
    expect(ends(packet)).toBe('10.0.0.2:5000 > 198.51.100.7:53');
    expect(status(gateway, packet)).toBe(Status.CONFIRMED | Status.SRC_NAT_DONE | Status.DST_NAT_DONE);
  });

  it('gives a flow that no rule touches another port when its answers would go to a translated one', () => {
    const gateway = new Gateway(new Script(56_322));
    gateway.rule = (packet, hook) =>
      hook === POSTROUTING && packet.addresses[0] === words('10.0.0.3')[0]
        ? gateway.nat.setup(packet, range('10.0.0.2'), Manip.SRC)
        : Verdict.ACCEPT;
    const other = build({ source: '10.0.0.3', destination: '198.51.100.7', protocol: 17, ports: [5000, 53] });
    expect(ends(gateway.forward(other, LAN, WAN))).toBe('10.0.0.2:5000 > 198.51.100.7:53');
    expect(ends(gateway.forward(client(5000), LAN, WAN))).toBe('10.0.0.2:56322 > 198.51.100.7:53');
  });

  it('is refused a second time, and a confirmed connection is left alone', () => {
    const gateway = new Gateway();
    const packet = gateway.track(client(5000));
    expect(gateway.nat.isBound(packet, Manip.SRC)).toBe(0);
    expect(gateway.nat.setupNull(packet, Manip.SRC)).toBe(Verdict.ACCEPT);
    expect(gateway.nat.isBound(packet, Manip.SRC)).toBe(1);
    expect(gateway.nat.isBound(packet, Manip.DST)).toBe(0);
    expect(gateway.nat.setup(packet, range('10.9.9.9'), Manip.SRC)).toBe(Verdict.DROP);
    gateway.confirm(packet);
    expect(gateway.nat.setup(packet, range('10.9.9.9'), Manip.DST)).toBe(Verdict.ACCEPT);
    expect(gateway.replyText(packet)).toBe('198.51.100.7:53 > 10.0.0.2:5000');
  });
});

describe('both ends of one connection', () => {
  it('can be translated: the server sees the gateway, the client sees the address it asked', () => {
    const gateway = new Gateway();
    gateway.rule = (packet, hook) =>
      hook === PREROUTING
        ? gateway.nat.setup(packet, range('10.0.0.3:80'), Manip.DST)
        : gateway.nat.setup(packet, range('10.0.0.1'), Manip.SRC);
    const bytes = build({ source: '10.0.0.2', destination: '203.0.113.1', protocol: 6, ports: [4000, 8080] });
    const there = gateway.forward(bytes, LAN, LAN)!;
    expect(ends(there)).toBe('10.0.0.1:4000 > 10.0.0.3:80');
    expect(status(gateway, there) & 0x1b0).toBe(0x1b0);
    const answer = build({ source: '10.0.0.3', destination: '10.0.0.1', protocol: 6, ports: [80, 4000] });
    const back = gateway.forward(answer, LAN, LAN)!;
    expect(back.copyBytes()).toEqual(
      build({ source: '203.0.113.1', destination: '10.0.0.2', protocol: 6, ports: [8080, 4000] }),
    );
  });
});

describe('exhaustion', () => {
  it('lets the packet go on to confirmation, with the reason set, and tells', () => {
    const gateway = new Gateway();
    const told: string[] = [];
    gateway.nat.onExhausted = ({ version, protocol, range: to }) =>
      told.push(`${version} ${protocol} ${to.minPort}`);
    gateway.rule = (packet, hook) =>
      hook === POSTROUTING ? gateway.nat.setup(packet, range('203.0.113.9:4000'), Manip.SRC) : Verdict.ACCEPT;
    expect(gateway.forward(client(4000), LAN, WAN)).toBeDefined();
    const packet = gateway.track(client(5000));
    expect(gateway.nat.hook(packet, POSTROUTING, gateway)).toBe(Verdict.ACCEPT);
    expect(packet.reason).toBe(DropReason.NAT_EXHAUSTED);
    expect(gateway.confirm(packet)).toBe(false);
    expect(told).toEqual(['4 17 4000']);
    expect(gateway.tables[4].live).toBe(1);
    expect([...gateway.nat.bindings(4).sources.nodes()]).toHaveLength(1);
  });
});

describe('what the table says', () => {
  it('is passed on: a dropped first packet is not bound', () => {
    const gateway = new Gateway();
    gateway.rule = () => Verdict.DROP;
    const packet = gateway.track(client(5000));
    expect(gateway.nat.hook(packet, PREROUTING, gateway)).toBe(Verdict.DROP);
    expect(gateway.nat.isBound(packet, Manip.DST)).toBe(0);
  });

  it('is not asked about packets without a connection', () => {
    const gateway = new Gateway();
    gateway.rule = () => Verdict.DROP;
    const packet = gateway.track(client(5000));
    gateway.tables[4].discard(packet.entry as EntryId);
    packet.entry = -1;
    packet.ctinfo = CtInfo.INVALID;
    expect(gateway.nat.hook(packet, PREROUTING, gateway)).toBe(Verdict.ACCEPT);
    expect(ends(packet)).toBe('10.0.0.2:5000 > 198.51.100.7:53');
  });
});

describe('an entry bound before the table was made', () => {
  it('is taken into the index of sources when adopted', () => {
    const gateway = new Gateway();
    const packet = gateway.track(client(5000));
    const entries = gateway.tables[4].entries;
    entries.setStatus(packet.entry as EntryId, Status.SRC_NAT_DONE);
    gateway.nat.bindings(4).adopt(packet.entry as EntryId);
    expect([...gateway.nat.bindings(4).sources.nodes()]).toEqual([packet.entry]);
    expect(entries.directionOf(entries.tuple(packet.entry as EntryId, Direction.REPLY))).toBe(1);
  });
});
