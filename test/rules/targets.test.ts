/** What each target does to a packet, and what it says. */
import { describe, expect, test } from 'vitest';
import { DropReason } from '../../lib/counters.js';
import { type Host, REJECT_WITH_RESET } from '../../lib/host.js';
import type { LogRecord } from '../../lib/rules/rules.js';
import { sumPseudoHeader, sumRange } from '../../lib/wire/checksum.js';
import { CtInfo, type Packet } from '../../lib/wire/packet.js';
import { Verdict } from '../../lib/wire/verdict.js';
import { Gate, Hook, host, view } from './acl.js';

const UDP = 'udp 10.0.0.2:4000 > 198.51.100.7:53';
const UDP6 = 'udp [fd00:a::2]:4000 > [2001:db8:2::7]:53';
const TCP = 'tcp 10.0.0.2:4000 > 198.51.100.7:80';
const SYN6 = 'tcp [fd00:a::2]:4000 > [2001:db8:2::7]:80 SYN';

/** Sends a packet through one rule of a table's FORWARD chain. */
function act(
  rule: string,
  packet: Packet,
  table: 'mangle' | 'filter' | 'raw' = 'mangle',
  gate = new Gate(),
): Verdict {
  const chain = table === 'raw' ? 'PREROUTING' : 'FORWARD';
  gate.load(packet.version, table, [`-A ${chain} ${rule}`]);
  return gate.send(packet, table, table === 'raw' ? Hook.PREROUTING : Hook.FORWARD);
}

/** Whether IPv4 header and TCP checksums hold. */
function isSound(packet: Packet): boolean {
  const { bytes, start, transport, end } = packet;
  if (packet.version === 4 && sumRange(bytes, start, transport, 0) !== 0xffff) return false;
  return (
    sumRange(bytes, transport, end, sumPseudoHeader(packet.addresses, packet.protocol, end - transport)) ===
    0xffff
  );
}

describe('marks', () => {
  test.each([
    ['-j MARK --set-mark 5', 0xff, 5],
    ['-j MARK --set-xmark 0x5/0xf', 0xf3, 0xf5],
    ['-j MARK --and-mark 0xf0', 0xff, 0xf0],
    ['-j MARK --or-mark 0xf0', 0x0f, 0xff],
    ['-j MARK --xor-mark 0xff', 0x0f, 0xf0],
  ])('%s makes %d into %d', (rule, before, after) => {
    const packet = view(UDP);
    packet.mark = before;
    expect(act(rule, packet)).toBe(1);
    expect(packet.mark).toBe(after);
  });

  test('CONNMARK writes the mark of the connection and takes it back', () => {
    const gate = new Gate();
    const packet = view(UDP);
    gate.tracker.track(packet, Hook.PREROUTING);
    packet.mark = 0x1234;
    act('-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff', packet, 'mangle', gate);
    expect(gate.tracker.table(4).entries.mark(packet.entry as never)).toBe(0x34);
    packet.mark = 0;
    act('-j CONNMARK --restore-mark', packet, 'mangle', gate);
    expect(packet.mark).toBe(0x34);
    act('-j CONNMARK --set-xmark 0x1/0xf', packet, 'mangle', gate);
    expect(gate.tracker.table(4).entries.mark(packet.entry as never)).toBe(0x31);
  });

  test('CONNMARK leaves a packet without connection alone', () => {
    const packet = view(UDP);
    expect(act('-j CONNMARK --set-mark 7', packet)).toBe(1);
    expect(packet.mark).toBe(0);
  });
});

describe('header fields', () => {
  test.each([
    [UDP, '-j TTL --ttl-set 10', 8, 10],
    [UDP, '-j TTL --ttl-inc 250', 8, 255],
    [UDP, '-j TTL --ttl-dec 70', 8, 0],
    [UDP6, '-j HL --hl-dec 1', 7, 63],
    [`${UDP} tos 0x03`, '-j DSCP --set-dscp 46', 1, 0xbb],
    [`${UDP} tos 0xff`, '-j TOS --set-tos 0x10/0x3f', 1, 0xd0],
    [`${UDP} tos 0xff`, '-j TOS --and-tos 0xf0', 1, 0xf0],
  ])('%s | %s', (notation, rule, offset, value) => {
    const packet = view(notation);
    expect(act(rule, packet)).toBe(1);
    expect(packet.u8(packet.start + offset)).toBe(value);
    expect(isSound(packet)).toBe(true);
  });

  test('the traffic class of IPv6 lies across two bytes', () => {
    const packet = view(`${UDP6} tos 0x03 flow 0x12345`);
    act('-j DSCP --set-dscp 46', packet);
    expect(packet.i32(packet.start) >>> 0).toBe(0x6bb12345);
  });

  test('ECN is taken out of TCP', () => {
    const packet = view(`${TCP} SYN,ECE,CWR`);
    act('-p tcp -j ECN --ecn-tcp-remove', packet);
    expect(packet.u8(packet.transport + 13)).toBe(2);
    expect(isSound(packet)).toBe(true);
  });
});

describe('TCP options', () => {
  test('TCPMSS lowers the MSS and never raises it', () => {
    const rule = '-p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1000';
    const high = view(`${TCP} SYN <mss 1460>`);
    act(rule, high);
    expect(high.u16(high.transport + 22)).toBe(1000);
    expect(isSound(high)).toBe(true);
    const low = view(`${TCP} SYN <mss 536>`);
    act(rule, low);
    expect(low.u16(low.transport + 22)).toBe(536);
  });

  test.each([
    ['--clamp-mss-to-pmtu', `${TCP} SYN <mss 1460>`, 1360],
    ['--clamp-mss-to-pmtu', `${SYN6} <mss 1440>`, 1340],
    ['--set-mss 1000', `${TCP} SYN`, 536],
    ['--set-mss 400', `${TCP} SYN`, 400],
    ['--set-mss 1300', SYN6, 1220],
  ])('%s | %s: %d', (option, notation, mss) => {
    const packet = view(notation);
    expect(act(`-p tcp --tcp-flags SYN,RST SYN -j TCPMSS ${option}`, packet)).toBe(1);
    expect(packet.u16(packet.transport + 22)).toBe(mss);
    expect(isSound(packet)).toBe(true);
    const length = packet.version === 4 ? packet.u16(packet.start + 2) : packet.u16(packet.start + 4) + 40;
    expect(length).toBe(packet.end - packet.start);
  });

  test('data behind the header keeps TCPMSS from adding the option', () => {
    const packet = view(`${TCP} SYN len 1`);
    act('-p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 500', packet);
    expect(packet.end - packet.start).toBe(41);
  });

  test('TCPMSS grows the packet without touching what lies behind it in its buffer', () => {
    const small = view(`${TCP} SYN`);
    const buffer = new Uint8Array(64).fill(0xee);
    buffer.set(small.copyBytes(), 8);
    const packet = view(`${TCP} SYN`);
    packet.parse(buffer, 8, 40);
    act('-p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 500', packet);
    expect(packet.end - packet.start).toBe(44);
    expect(buffer.subarray(48).every((byte) => byte === 0xee)).toBe(true);
    expect(isSound(packet)).toBe(true);
  });

  test('TCPOPTSTRIP puts NOPs in the place of options', () => {
    const packet = view(`${TCP} SYN <mss 1460,nop,wscale 7,ts 1:2>`);
    act('-p tcp -j TCPOPTSTRIP --strip-options wscale,timestamp', packet);
    const options = packet.bytes.subarray(packet.transport + 20, packet.end);
    expect([...options.subarray(0, 8)]).toEqual([2, 4, 5, 180, 1, 1, 1, 1]);
    expect(options.subarray(8, 18).every((byte) => byte === 1)).toBe(true);
    expect(isSound(packet)).toBe(true);
  });
});

describe('CT and NOTRACK', () => {
  test('NOTRACK exempts the packet', () => {
    const packet = view(UDP);
    expect(act('-j NOTRACK', packet, 'raw')).toBe(1);
    expect(packet.ctinfo).toBe(CtInfo.UNTRACKED);
  });

  test('the first CT target decides', () => {
    const gate = new Gate();
    gate.load(4, 'raw', ['-A PREROUTING -j CT --zone-orig 5', '-A PREROUTING -j CT --notrack']);
    const packet = view(UDP);
    gate.send(packet, 'raw', Hook.PREROUTING);
    expect(packet.ctinfo).toBe(CtInfo.INVALID);
    expect(packet.template & 0xffff).toBe(5);
    expect((packet.template >>> 17) & 3).toBe(1);
  });

  test('--zone mark takes the mark that the raw table leaves', () => {
    const gate = new Gate();
    gate.load(4, 'raw', ['-A PREROUTING -j CT --zone mark', '-A PREROUTING -j MARK --set-mark 77']);
    const packet = view(UDP);
    gate.send(packet, 'raw', Hook.PREROUTING);
    expect(packet.template).toBe(77 | (1 << 16));
  });
});

describe('REJECT', () => {
  interface Answer {
    readonly hook: number;
    readonly icmp: number;
  }

  /** Rejects a packet; gives the answers that were asked for. */
  function rejected(rule: string, packet: Packet): Answer[] {
    const answers: Answer[] = [];
    const asking: Host = Object.assign(Object.create(host) as Host, {
      reject: (_packet: unknown, hook: number, icmp: number) => answers.push({ hook, icmp }),
    });
    for (const method of ['interfaceName', 'mtu', 'addressType'] as const) {
      asking[method] = (host[method] as (...given: never[]) => never).bind(host) as never;
    }
    const gate = new Gate({ host: asking });
    expect(act(rule, packet, 'filter', gate)).toBe(Verdict.DROP);
    expect(packet.reason).toBe(DropReason.RULE_REJECT);
    return answers;
  }

  test.each([
    ['-j REJECT', UDP, 0x303],
    ['-j REJECT --reject-with icmp-net-prohibited', UDP, 0x309],
    ['-j REJECT --reject-with icmp-admin-prohibited', `${TCP} SYN`, 0x30d],
    ['-j REJECT', UDP6, 0x104],
    ['-j REJECT --reject-with icmp6-policy-fail', UDP6, 0x105],
    ['-p tcp -j REJECT --reject-with tcp-reset', `${TCP} SYN`, REJECT_WITH_RESET],
    ['-p tcp -j REJECT --reject-with tcp-reset', SYN6, REJECT_WITH_RESET],
    ['-j REJECT', 'icmp 10.0.0.2 > 198.51.100.7 echo-request id 1', 0x303],
    ['-j REJECT', `${UDP} nosum`, 0x303],
    ['-j REJECT', 'ip 10.0.0.2 > 198.51.100.7 proto esp len 20', 0x303],
  ])('%s answers %s', (rule, notation, icmp) => {
    expect(rejected(rule, view(notation))).toEqual([{ hook: Hook.FORWARD, icmp }]);
  });

  test.each([
    ['an ICMP error', '-j REJECT', 'icmp 10.0.0.2 > 198.51.100.7 3/3 len 28'],
    ['an ICMPv6 error', '-j REJECT', 'icmpv6 fd00:a::2 > 2001:db8:2::7 1/4 len 48'],
    ['a later fragment', '-j REJECT', `${UDP} frag 16 len 40`],
    ['a broadcast', '-j REJECT', 'udp 10.0.0.2:1 > 255.255.255.255:2'],
    ['a multicast', '-j REJECT', 'udp 10.0.0.2:1 > 224.0.0.251:2'],
    ['a wrong checksum', '-j REJECT', `${UDP} sum 1`],
    ['a protocol without a known checksum', '-j REJECT', 'ip 10.0.0.2 > 1.1.1.1 proto 253 data "abc"'],
    ['a reset', '-p tcp -j REJECT --reject-with tcp-reset', `${TCP} RST`],
    ['a reset with a wrong checksum', '-p tcp -j REJECT --reject-with tcp-reset', `${TCP} SYN sum 1`],
    ['a multicast source of IPv6', '-j REJECT', 'udp [ff02::1]:1 > [2001:db8:2::7]:2'],
  ])('%s gets no answer', (_what, rule, notation) => {
    expect(rejected(rule, view(notation))).toEqual([]);
  });

  test('a packet that the link sent to all gets no answer', () => {
    const packet = view(UDP);
    packet.packetType = 1;
    expect(rejected('-j REJECT', packet)).toEqual([]);
  });

  test('tcp-reset closes the connection at once', () => {
    const gate = new Gate();
    const syn = view(`${TCP} SYN seq 1`);
    gate.tracker.begin(0);
    gate.tracker.track(syn, Hook.PREROUTING);
    gate.tracker.confirm(syn);
    const again = view(`${TCP} SYN seq 1`);
    gate.nowMs = 1000;
    gate.tracker.begin(1000);
    gate.tracker.track(again, Hook.PREROUTING);
    expect(act('-p tcp -j REJECT --reject-with tcp-reset', again, 'filter', gate)).toBe(0);
    expect(gate.tracker.count).toBe(1);
    const entries = gate.tracker.table(4).entries;
    expect(entries.state(syn.entry as never)).toBe(8);
    expect(entries.expires(syn.entry as never)).toBe(11_000);
  });
});

describe('LOG, NFLOG, NFQUEUE, TEE', () => {
  test('LOG tells a listener, and the packet goes on', () => {
    const records: LogRecord[] = [];
    const gate = new Gate({ observers: { onLog: (record) => records.push(record) } });
    const packet = view(UDP);
    packet.mark = -1;
    expect(act('-j LOG --log-prefix "hello " --log-level 4', packet, 'filter', gate)).toBe(1);
    expect(records).toMatchObject([
      {
        kind: 'LOG',
        prefix: 'hello ',
        level: 4,
        inInterface: 'lan0',
        outInterface: 'wan0',
        mark: 0xffffffff,
        place: { table: 'filter', chain: 'FORWARD', number: 1 },
      },
    ]);
    expect(records[0]?.bytes).toEqual(packet.copyBytes());
  });

  test('NFLOG cuts the copy', () => {
    const records: LogRecord[] = [];
    const gate = new Gate({ observers: { onLog: (record) => records.push(record) } });
    act('-j NFLOG --nflog-group 5 --nflog-size 24', view(UDP), 'filter', gate);
    expect(records[0]).toMatchObject({ kind: 'NFLOG', group: 5 });
    expect(records[0]?.bytes.length).toBe(24);
  });

  test('NFQUEUE drops without a listener, passes with --queue-bypass, and asks the one that is there', () => {
    const packet = view(UDP);
    expect(act('-j NFQUEUE --queue-num 3', packet, 'filter')).toBe(0);
    expect(packet.reason).toBe(DropReason.RULE_QUEUE_UNHEARD);
    expect(act('-j NFQUEUE --queue-num 3 --queue-bypass', view(UDP), 'filter')).toBe(1);
    const asked: number[] = [];
    const onQueue = (queue: number): Verdict => {
      asked.push(queue);
      return Verdict.DROP;
    };
    const gate = new Gate({ observers: { onQueue } });
    expect(act('-j NFQUEUE --queue-num 4', view(UDP), 'filter', gate)).toBe(0);
    expect(act('-j NFQUEUE --queue-balance 6:9', view(UDP), 'filter', gate)).toBe(0);
    expect(asked[0]).toBe(4);
    expect([6, 7, 8, 9]).toContain(asked[1]);
  });

  test('TEE gives a copy away', () => {
    const copies: Uint8Array[] = [];
    const gate = new Gate({ observers: { onTee: (copy) => copies.push(copy) } });
    const packet = view(UDP);
    expect(act('-j TEE --gateway 10.0.0.9', packet, 'mangle', gate)).toBe(1);
    expect(copies).toEqual([packet.copyBytes()]);
  });
});
