import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EntryId, Status } from '../../lib/conntrack/entries.js';
import { DropReason } from '../../lib/counters.js';
import { Manip } from '../../lib/nat/range.js';
import { CtInfo, type Packet } from '../../lib/wire/packet.js';
import { Hook, Verdict } from '../../lib/wire/verdict.js';
import {
  actualChecksum,
  address,
  build,
  expectedChecksum,
  Gateway,
  ipv4ChecksumIsRight,
  LAN,
  range,
  WAN,
} from './gateway.js';

const FAMILIES = [
  {
    client: '10.0.0.2',
    server: '198.51.100.7',
    router: '198.51.100.1',
    own: '203.0.113.1',
    icmp: 1,
    error: 3,
    echo: 8,
  },
  {
    client: 'fd00:a:0:0:0:0:0:2',
    server: '2001:db8:2:0:0:0:0:7',
    router: '2001:db8:2:0:0:0:0:1',
    own: '2001:db8:1:0:0:0:0:1',
    icmp: 58,
    error: 1,
    echo: 128,
  },
] as const;
type Family = (typeof FAMILIES)[number];

function headerBytes(family: Family): number {
  return family.icmp === 1 ? 20 : 40;
}

/** The flow's first packet, before and after the gateway, and the gateway. */
function masqueraded(family: Family, protocol: number, port: number, payload: readonly number[], to: string) {
  const gateway = new Gateway();
  const ports = range(to);
  gateway.rule = (packet, hook) =>
    hook === Hook.POSTROUTING && packet.outInterface === WAN
      ? gateway.nat.masquerade(packet, ports)
      : Verdict.ACCEPT;
  const inside = build({
    source: family.client,
    destination: family.server,
    protocol,
    ports: protocol === family.icmp ? [family.echo, port] : [port, 53],
    payload,
  });
  const packet = gateway.forward(inside.slice(), LAN, WAN);
  if (packet === undefined) throw new Error('the flow did not begin');
  return { gateway, inside, outside: packet.copyBytes(), entry: packet.entry as EntryId };
}

function error(
  family: Family,
  source: string,
  destination: string,
  quote: Uint8Array,
  type: number = family.error,
) {
  return build({ source, destination, protocol: family.icmp, ports: [type, 0], body: [...quote] });
}

function quoteOf(packet: Packet): Uint8Array {
  return packet.bytes.slice(packet.transport + 8, packet.end);
}

function ends(packet: Packet): string[] {
  return [0, 4].map((at) => address(packet.addresses, at, packet.version));
}

const protocols = (family: Family) => fc.constantFrom(family.icmp, 6, 17, 136, 132);

describe.each(FAMILIES)('an error about a masqueraded flow ($client)', (family) => {
  it('shows the inside host its own packet again, byte for byte as far as it was quoted', () => {
    fc.assert(
      fc.property(
        protocols(family),
        fc.integer({ min: 1024, max: 65_535 }),
        fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 40 }),
        fc.integer({ min: 8, max: 70 }),
        fc.constantFrom('', ':700-900'),
        (protocol, port, payload, quotedBytes, to) => {
          const { gateway, inside, outside, entry } = masqueraded(family, protocol, port, payload, to);
          const length = Math.min(headerBytes(family) + quotedBytes, outside.length);
          const bytes = error(family, family.router, family.own, outside.slice(0, length));
          const packet = gateway.forwardError(bytes, entry, CtInfo.RELATED_REPLY, LAN);
          expect(packet && ends(packet)).toEqual([family.router, family.client]);
          const quote = quoteOf(packet!);
          const expected = inside.slice(0, length);
          // Not given back: a TCP checksum of which the rest was not quoted, SCTP's CRC, which is computed over the quote.
          const isCut = length < outside.length;
          const [from, until] =
            protocol === 6 && quotedBytes < 20 ? [16, 18] : protocol === 132 && isCut ? [8, 12] : [0, 0];
          quote.fill(0, headerBytes(family) + from, headerBytes(family) + until);
          expected.fill(0, headerBytes(family) + from, headerBytes(family) + until);
          expect(quote).toEqual(expected);
          const whole = packet!.copyBytes();
          expect(actualChecksum(whole, headerBytes(family), family.icmp)).toBe(
            expectedChecksum(whole, headerBytes(family), family.icmp),
          );
          if (family.icmp === 1) expect(ipv4ChecksumIsRight(whole)).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('from the inside host shows the server its own packet again, and comes from the gateway', () => {
    fc.assert(
      fc.property(protocols(family), fc.integer({ min: 1024, max: 65_535 }), (protocol, port) => {
        const { gateway, outside, entry } = masqueraded(family, protocol, port, [], ':700-900');
        const at = headerBytes(family);
        const remapped =
          protocol === family.icmp
            ? outside[at + 4]! * 256 + outside[at + 5]!
            : outside[at]! * 256 + outside[at + 1]!;
        const answer = build({
          source: family.server,
          destination: family.own,
          protocol,
          ports: protocol === family.icmp ? [family.icmp === 1 ? 0 : 129, remapped] : [53, remapped],
        });
        const sent = answer.slice();
        const received = gateway.forward(answer, WAN, LAN)!.copyBytes();
        const packet = gateway.forwardError(
          error(family, family.client, family.server, received),
          entry,
          CtInfo.RELATED,
          WAN,
        );
        expect(packet && ends(packet)).toEqual([family.own, family.server]);
        expect(quoteOf(packet!)).toEqual(sent);
      }),
      { numRuns: 100 },
    );
  });

  it.each([6, 17, 136, 132, family.icmp])('that quotes 7 bytes of protocol %i is dropped', (protocol) => {
    const { gateway, outside, entry } = masqueraded(family, protocol, 5000, [], '');
    for (const [quotedBytes, verdict] of [
      [7, false],
      [8, true],
    ] as const) {
      const quote = outside.slice(0, headerBytes(family) + quotedBytes);
      const bytes = error(family, family.router, family.own, quote);
      expect(gateway.forwardError(bytes, entry, CtInfo.RELATED_REPLY, LAN) !== undefined).toBe(verdict);
    }
  });

  it('with a wrong checksum is dropped', () => {
    const { gateway, outside, entry } = masqueraded(family, 17, 5000, [], '');
    const bytes = error(family, family.router, family.own, outside);
    bytes[bytes.length - 1]! ^= 1;
    const packet = gateway.track(client(family));
    packet.parse(bytes);
    packet.entry = entry;
    packet.ctinfo = CtInfo.RELATED_REPLY;
    expect(gateway.nat.hook(packet, Hook.PREROUTING, gateway)).toBe(Verdict.DROP);
    expect(packet.reason).toBe(DropReason.NAT_ERROR_UNTRANSLATABLE);
  });

  it('that is a redirect is dropped', () => {
    const { gateway, outside, entry } = masqueraded(family, 17, 5000, [], '');
    const redirect = error(family, family.router, family.own, outside, family.icmp === 1 ? 5 : 137);
    expect(gateway.forwardError(redirect, entry, CtInfo.RELATED_REPLY, LAN)).toBeUndefined();
  });
});

function client(family: Family): Uint8Array {
  return build({ source: family.client, destination: family.server, protocol: 17, ports: [1, 1] });
}

describe('an error about a flow that is not translated', () => {
  const [family] = FAMILIES;

  it('passes unchanged, a redirect too once both ends are bound', () => {
    const gateway = new Gateway();
    const packet = gateway.forward(client(family), LAN, WAN)!;
    for (const type of [3, 5]) {
      const bytes = error(family, family.router, family.client, packet.copyBytes(), type);
      const before = bytes.slice();
      expect(gateway.forwardError(bytes, packet.entry as EntryId, CtInfo.RELATED_REPLY, LAN)).toBeDefined();
      expect(bytes).toEqual(before);
    }
    gateway.tables[4].entries.clearStatus(packet.entry as EntryId, Status.DST_NAT_DONE);
    const redirect = error(family, family.router, family.client, packet.copyBytes(), 5);
    expect(
      gateway.forwardError(redirect, packet.entry as EntryId, CtInfo.RELATED_REPLY, LAN),
    ).toBeUndefined();
  });
});

describe('an error about a flow with another destination', () => {
  it('from the inside server comes from the address that was asked', () => {
    const gateway = new Gateway();
    gateway.rule = (packet, hook) =>
      hook === Hook.PREROUTING ? gateway.nat.setup(packet, range('10.0.0.3:53'), Manip.DST) : Verdict.ACCEPT;
    const asked = build({
      source: '198.51.100.7',
      destination: '203.0.113.1',
      protocol: 17,
      ports: [4000, 5300],
    });
    const sent = asked.slice();
    const received = gateway.forward(asked, WAN, LAN)!;
    const bytes = error(FAMILIES[0], '10.0.0.3', '198.51.100.7', received.copyBytes());
    const packet = gateway.forwardError(bytes, received.entry as EntryId, CtInfo.RELATED_REPLY, WAN)!;
    expect(ends(packet)).toEqual(['203.0.113.1', '198.51.100.7']);
    expect(quoteOf(packet)).toEqual(sent);
  });
});
