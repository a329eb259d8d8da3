import { describe, expect, test } from 'vitest';
import { formatHex, parseHex } from '../../lib/scenario/hex.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';
import { OutputRecorder } from '../../lib/scenario/outputs.js';
import { patchPacket } from '../../lib/scenario/patch.js';
import { GROUPS, readGroup } from './traces.js';

function record(injected: string, sent: readonly string[], origin: 'link' | 'local' = 'link') {
  const recorder = new OutputRecorder(['lan', 'wan']);
  const packet = parsePacket(injected);
  recorder.inject(packet);
  return recorder.record(
    sent.map((text) => ({ interface: text.startsWith('lan ') ? 0 : 1, bytes: parsePacket(text.slice(4)) })),
    packet,
    origin,
  );
}

describe('packets that come out', () => {
  const input = 'udp 10.0.0.2:5 > 1.1.1.1:53 ipid 7 ttl 65';

  test('are listed by interface, in order within one', () => {
    const out = record(input, [
      'wan udp 10.0.0.2:1 > 1.1.1.1:53 ipid 7',
      'lan udp 10.0.0.2:2 > 1.1.1.1:53 ipid 7',
      'wan udp 10.0.0.2:3 > 1.1.1.1:53 ipid 7',
    ]);
    expect(out.map(({ packet }) => formatPacket(parseHex(packet)))).toEqual([
      'udp 10.0.0.2:2 > 1.1.1.1:53',
      'udp 10.0.0.2:1 > 1.1.1.1:53',
      'udp 10.0.0.2:3 > 1.1.1.1:53',
    ]);
    expect(out.map((one) => one.if)).toEqual(['lan', 'wan', 'wan']);
  });

  test('with an id that was injected are forwarded ones; with another, made here and their id is zeroed', () => {
    const [forwarded, made] = record(input, [
      'wan udp 10.0.0.2:1 > 1.1.1.1:53 ipid 7',
      'wan udp 10.0.0.2:1 > 1.1.1.1:53 ipid 9',
    ]);
    expect(forwarded).not.toHaveProperty('gen');
    expect(made).toMatchObject({ gen: true, ipid: 'norm' });
    expect(made?.packet).toBe(formatHex(parsePacket('udp 10.0.0.2:1 > 1.1.1.1:53')));
  });

  test('with a TTL of 64 are made here, unless the injected packet explains it', () => {
    const made = 'wan icmp 10.0.0.1 > 10.0.0.2 echo-reply ipid 7';
    expect(record('udp 10.0.0.2:5 > 1.1.1.1:53 ipid 7', [made])[0]).toMatchObject({ gen: true });
    expect(record(input, [made])[0]).not.toHaveProperty('gen');
    expect(record('udp 10.0.0.2:5 > 1.1.1.1:53 ipid 7', [made], 'local')[0]).not.toHaveProperty('gen');
  });

  test('have unknown IPv6 fragment ids zeroed and known ones kept', () => {
    const fragment = (id: number) => `udp [fd00::2]:5 > [fd00::3]:6 len 8 frag 0 mf fragid ${id} ttl 9`;
    const [own, known] = record(fragment(5), [`wan ${fragment(77)}`, `wan ${fragment(5)}`]);
    expect(own).toMatchObject({ fragid: 'norm', packet: formatHex(parsePacket(fragment(0))) });
    expect(known).not.toHaveProperty('fragid');
  });

  test('of neighbour discovery are left out', () => {
    const out = record(input, ['lan icmpv6 fe80::1 > ff02::2 133/0', 'lan icmpv6 fe80::1 > ff02::1 143/0']);
    expect(out).toEqual([]);
  });
});

describe('patches', () => {
  test.each(GROUPS)('%s: applied to the recorded outputs they give the recorded inputs', (group) => {
    for (const { name, steps } of readGroup(group)) {
      const outs = steps.map((step) => step.out ?? []);
      for (const [k, { packet, patch }] of steps.entries()) {
        if (packet === undefined || patch === undefined) continue;
        const patched = patchPacket(parseHex(packet), patch, outs.slice(0, k));
        expect(formatHex(patched), `${name} step ${k}`).toBe(packet);
      }
    }
  });

  test('carry an answer to the port that the router chose this time', () => {
    const out = { if: 'wan', packet: formatHex(parsePacket('udp 203.0.113.1:61000 > 1.1.1.1:53')) };
    const answer = parsePacket('udp 1.1.1.1:53 > 203.0.113.1:5000 len 3 df');
    const patched = patchPacket(answer, [{ set: 'dport', step: 0, get: 'sport' }], [[out]]);
    expect(patched).toEqual(parsePacket('udp 1.1.1.1:53 > 203.0.113.1:61000 len 3 df'));
  });

  test('change a quoted field and both checksums of an ICMP error', () => {
    const out = { if: 'wan', packet: formatHex(parsePacket('udp 203.0.113.1:61000 > 1.1.1.1:53')) };
    const error = parsePacket(
      'icmp 9.9.9.9 > 203.0.113.1 port-unreachable { udp 203.0.113.1:5000 > 1.1.1.1:53 }',
    );
    const patched = patchPacket(error, [{ set: 'inner.sport', step: 0, get: 'sport' }], [[out]]);
    const text = 'icmp 9.9.9.9 > 203.0.113.1 port-unreachable { udp 203.0.113.1:61000 > 1.1.1.1:53 }';
    expect(formatPacket(patched)).toBe(text);
    expect(patched).toEqual(parsePacket(text));
  });

  test('quote an output, cut to a length', () => {
    const out = { if: 'wan', packet: formatHex(parsePacket('udp 203.0.113.1:61000 > 1.1.1.1:53 len 100')) };
    const error = parsePacket('icmp 9.9.9.9 > 203.0.113.1 host-unreachable');
    const patched = patchPacket(error, [{ set: 'quote', step: 0, get: 'packet', len: 28 }], [[out]]);
    expect(formatPacket(patched)).toContain(
      'host-unreachable { udp 203.0.113.1:61000 > 1.1.1.1:53 len 100 cut 28 }',
    );
    expect(patched.length).toBe(56);
  });

  test('whose output is not there change nothing', () => {
    const packet = parsePacket('udp 1.1.1.1:53 > 203.0.113.1:5000 sum 0x1');
    expect(patchPacket(packet, [{ set: 'dport', step: 0, get: 'sport' }], [[]])).toEqual(packet);
  });
});
