import { describe, expect, it } from 'vitest';
import { parsePacket } from '../../lib/scenario/notation.js';
import { Packet } from '../../lib/wire/packet.js';
import {
  findTcpOption,
  hasTcpHeader,
  hasTcpOptions,
  TCP_HAS_SACK_PERMITTED,
  TCP_HAS_WINDOW_SCALE,
  tcpEnd,
  tcpHighestSack,
  tcpMss,
  tcpSynOptions,
} from '../../lib/wire/tcp.js';

function segment(rest: string): Packet {
  const packet = new Packet();
  packet.parse(parsePacket(`tcp 10.0.0.2:40000 > 198.51.100.7:80 ${rest}`));
  return packet;
}

/** A segment whose option bytes are given in hexadecimal, padded with end-of-options to words. */
function withOptions(hex: string): Packet {
  const options = Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
  const optionBytes = (options.length + 3) & ~3;
  const bytes = new Uint8Array(40 + optionBytes);
  bytes.set(segment('ACK').bytes);
  bytes[3] = bytes.length;
  bytes[32] = ((20 + optionBytes) >>> 2) << 4;
  bytes.set(options, 40);
  let sum = 0;
  bytes.fill(0, 10, 12);
  for (let i = 0; i < 20; i += 2) sum += ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
  sum = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
  bytes[10] = sum >>> 8;
  bytes[11] = sum & 255;
  const packet = new Packet();
  expect(packet.parse(bytes)).toBe(0);
  return packet;
}

describe('TCP header', () => {
  it('must be there as a whole, options included', () => {
    expect(hasTcpHeader(segment('ACK'))).toBe(1);
    expect(hasTcpHeader(segment('ACK cut 39 iplen 39'))).toBe(0);
    expect(hasTcpHeader(segment('SYN <mss 1460>'))).toBe(1);
    expect(hasTcpHeader(segment('SYN <mss 1460> cut 43 iplen 43'))).toBe(0);
  });

  it('must not claim to be shorter than twenty bytes', () => {
    const packet = segment('ACK');
    packet.bytes[packet.transport + 12] = 4 << 4;
    expect(hasTcpHeader(packet)).toBe(0);
  });

  it.each([
    ['ACK seq 100', 100],
    ['ACK seq 100 len 10', 110],
    ['SYN seq 100', 101],
    ['FIN,ACK seq 100 len 10', 111],
    ['SYN seq 4294967295 <mss 1460>', 0],
  ])('the sequence number behind %s is %i', (rest, end) => {
    expect(tcpEnd(segment(rest))).toBe(end);
  });
});

describe('TCP options', () => {
  it('are found wherever they stand', () => {
    const packet = segment('SYN <nop,mss 1460,sackok,ts 1:2,nop,wscale 7>');
    expect(tcpMss(packet)).toBe(1460);
    expect(tcpSynOptions(packet)).toBe(7 | TCP_HAS_WINDOW_SCALE | TCP_HAS_SACK_PERMITTED);
    expect(hasTcpOptions(packet)).toBe(1);
    expect(findTcpOption(packet, 8, 10)).toBeGreaterThan(0);
    expect(findTcpOption(packet, 5, 2)).toBe(-1);
  });

  it('may be missing', () => {
    const packet = segment('SYN');
    expect([hasTcpOptions(packet), tcpSynOptions(packet), tcpMss(packet)]).toEqual([0, 0, -1]);
  });

  it.each([
    ['scales above 14 count as 14', '03030f', 14 | TCP_HAS_WINDOW_SCALE],
    ['of two scales the last counts', '030302030305', 5 | TCP_HAS_WINDOW_SCALE],
    ['nothing behind the end of options', '00030302', 0],
    ['nothing behind a length of zero', '0200030302', 0],
    ['nothing behind a length of one', '0201030302', 0],
    ['nothing that reaches over the header', '030302080a01', 2 | TCP_HAS_WINDOW_SCALE],
    ['a scale of another length is none', '03040200', 0],
    ['SACK permitted of another length is none', '04030000', 0],
    ['unknown options are skipped', 'fd04abcd030302', 2 | TCP_HAS_WINDOW_SCALE],
  ])('%s', (_, hex, offered) => {
    expect(tcpSynOptions(withOptions(hex))).toBe(offered);
  });

  it('a maximum segment size of another length is none', () => {
    expect(tcpMss(withOptions('0206000005b4'))).toBe(-1);
    expect(tcpMss(withOptions('0204ffff'))).toBe(65535);
  });
});

describe('SACK', () => {
  it('reports its highest right edge, also across the wrap', () => {
    expect(tcpHighestSack(withOptions('0512000000100000002000000030000000ff'), 5)).toBe(0xff);
    expect(tcpHighestSack(withOptions('050afffffff000000010'), -32)).toBe(0x10);
  });

  it('exactly half the space ahead counts as ahead, as in Linux', () => {
    expect(tcpHighestSack(withOptions('050a0000000080000000'), 0)).toBe(-(2 ** 31));
  });

  it('is the acknowledgement when that is higher, or there is no block', () => {
    expect(tcpHighestSack(withOptions('050a0000001000000020'), 0x21)).toBe(0x21);
    expect(tcpHighestSack(segment('ACK'), 7)).toBe(7);
  });

  it('of an impossible length is none', () => {
    expect(tcpHighestSack(withOptions('050b000000100000002000'), 5)).toBe(5);
    expect(tcpHighestSack(withOptions('0502'), 5)).toBe(5);
  });
});
