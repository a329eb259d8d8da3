import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseEntry } from '../../../lib/network/policy/entry.js';
import { judgeIn, judgeOut, judgeShield, readModel } from '../../../lib/network/policy/model.js';
import { parseAddress } from '../../../lib/wire/address.js';
import { PolicyLab } from './lab.js';

/** A small world, so that entries and packets meet often. */
const ADDRESSES = ['1.1.1.1', '1.1.1.2', '1.1.2.1', '2.2.2.2', '169.254.169.254', '127.0.0.1'];
const entry = fc.oneof(
  fc.constantFrom('*', 'tcp', 'udp', 'tcp/80', 'udp/53-80', ':53', '*:80', 'icmp', '0.0.0.0/0', '::/0'),
  fc
    .tuple(
      fc.constantFrom('', 'tcp/', 'udp/'),
      fc.constantFrom(...ADDRESSES),
      fc.constantFrom('', '/0', '/8', '/24', '/32'),
      fc.constantFrom('', ':80', ':53-79'),
    )
    .map((parts) => parts.join('')),
);
const list = fc.option(fc.array(entry, { maxLength: 4 }), { nil: undefined });
const packet = fc.record({
  protocol: fc.constantFrom('tcp', 'udp'),
  address: fc.constantFrom(...ADDRESSES),
  port: fc.constantFrom(53, 79, 80, 443),
});
const present = (lists: Record<string, string[] | undefined>) =>
  Object.fromEntries(Object.entries(lists).filter(([, value]) => value !== undefined));

describe('the chains of a policy', () => {
  it('let out what the model allows', () => {
    fc.assert(
      fc.property(
        list,
        list,
        fc.array(packet, { minLength: 1, maxLength: 8 }),
        (allowOut, denyOut, packets) => {
          const lists = present({ allowOut, denyOut });
          const lab = new PolicyLab(lists);
          const model = readModel(lists);
          for (const [i, { protocol, address, port }] of packets.entries()) {
            const rest = protocol === 'tcp' ? 'SYN seq 1' : 'len 1';
            const sent = lab.send('lan', `${protocol} 10.0.0.2:${4000 + i} > ${address}:${port} ${rest}`);
            const question = {
              version: 4,
              protocol: protocol === 'tcp' ? 6 : 17,
              words: parseAddress(address, 4)!,
              at: 0,
              port,
            } as const;
            const shield = judgeShield(model, question);
            const verdict =
              shield?.verdict === 'deny' ? 'deny' : judgeOut(model, question, () => false).verdict;
            // Loopback addresses are never forwarded, whatever the policy says.
            const isOut = verdict === 'allow' && address !== '127.0.0.1';
            expect(
              sent.some((one) => one.startsWith('wan: ')),
              `${protocol} ${address}:${port}`,
            ).toBe(isOut);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('let in what the model allows, and a connection that it let in survives the same policy', () => {
    fc.assert(
      fc.property(
        list,
        list,
        fc.array(packet, { minLength: 1, maxLength: 8 }),
        (allowIn, denyIn, packets) => {
          const lists = present({ allowIn, denyIn });
          const lab = new PolicyLab(lists);
          const model = readModel(lists);
          const hosts = packets.filter(({ address }) => address[0] !== '1' || address.startsWith('1.'));
          for (const [i, { protocol, address, port }] of hosts.entries()) {
            const rest = protocol === 'tcp' ? 'SYN seq 1' : 'len 1';
            const text = `${protocol} ${address}:${4000 + i} > 10.0.0.2:${port} ${rest}`;
            const comesIn = () => lab.send('wan', text).some((one) => one.startsWith('lan: '));
            const question = {
              version: 4,
              protocol: protocol === 'tcp' ? 6 : 17,
              words: parseAddress(address, 4)!,
              at: 0,
              port,
            } as const;
            // Nothing comes from loopback.
            const isIn = judgeIn(model, question, false).verdict === 'allow' && address !== '127.0.0.1';
            expect(comesIn(), text).toBe(isIn);
            lab.policy.apply(lists);
            expect(comesIn(), `${text} again`).toBe(isIn);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});

it('an entry means in its chain what it says: no entry is lost between families', () => {
  const lab = new PolicyLab({ allowOut: ['tcp/443', '2001:db8::/32', 'icmp', 'icmpv6', '1.1.1.1:5-6'] });
  const out = (family: 4 | 6) =>
    lab
      .save(family)
      .split('\n')
      .filter((line) => line.startsWith('-A CONNTIDE-OUT') && line.endsWith('RETURN'));
  expect(out(4)).toEqual([
    '-A CONNTIDE-OUT -p tcp -m tcp --dport 443 -j RETURN',
    '-A CONNTIDE-OUT -p icmp -j RETURN',
    '-A CONNTIDE-OUT -d 1.1.1.1/32 -p tcp -m tcp --dport 5:6 -j RETURN',
    '-A CONNTIDE-OUT -d 1.1.1.1/32 -p udp -m udp --dport 5:6 -j RETURN',
  ]);
  expect(out(6)).toEqual([
    '-A CONNTIDE-OUT -p tcp -m tcp --dport 443 -j RETURN',
    '-A CONNTIDE-OUT -d 2001:db8::/32 -j RETURN',
    '-A CONNTIDE-OUT -p ipv6-icmp -j RETURN',
  ]);
  expect(parseEntry('icmp', 'allowOut').protocols).toEqual([1]);
});
