/** Why a rule did not match, a case per condition: the reason names what the packet has and what was wanted. */
import { describe, expect, test } from 'vitest';
import { Router } from '../../../lib/network/router.js';
import { matchNames } from '../../../lib/rules/text/registry.js';
import { Explainer } from '../../../lib/scenario/explain.js';
import type { TableStep } from '../../../lib/scenario/explanation.js';
import { parsePacket } from '../../../lib/scenario/notation.js';

const UDP = 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 5';
const SYN = 'tcp 10.0.0.2:5000 > 1.1.1.1:80 SYN <mss 1460,sackok>';
const PING = 'icmp 10.0.0.2 > 1.1.1.1 echo-request id 7 seq 1';
const SCTP = 'sctp 10.0.0.2:5000 > 1.1.1.1:80 data 0100001400000001';
const UDP6 = 'udp [fd00:a::2]:5000 > [2001:db8::9]:53 len 5';
const PING6 = 'icmpv6 fd00:a::2 > 2001:db8::9 echo-request id 7 seq 1';
const DCCP = 'ip 10.0.0.2 > 1.1.1.1 proto dccp data 138800500400000000000000';
const AH = 'ip 10.0.0.2 > 1.1.1.1 proto ah data 060400000000000900000001';

/** The reason that the last of some rules in mangle's FORWARD gives for the last of some packets. */
function reasonOf(rules: string, ...packets: string[]): string | undefined {
  const family = packets[0]?.includes('::') === true ? 6 : 4;
  const router = new Router({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'] },
      { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'] },
    ],
    routes: ['default dev wan', '-6 default dev wan'],
    tracking: 'always',
    maxConnections: 16,
    buckets: 16,
    wallTimeMs: () => 0,
  });
  router.sysctl('net.ipv4.ip_forward', 1);
  router.sysctl('net.ipv6.conf.all.forwarding', 1);
  router.engine.sets.restore(
    'create blocked hash:ip family inet\ncreate pairs hash:ip,port family inet\ncreate open bitmap:port range 0-99\n',
  );
  const chain = /PREROUTING|POSTROUTING/.exec(rules)?.[0] ?? 'FORWARD';
  const lines = rules.split('\n').map((rule) => (rule.startsWith('-A') ? rule : `-A ${chain} ${rule}`));
  router.engine.restore(family, `*mangle\n${lines.join('\n')}\nCOMMIT\n`);
  const explainer = new Explainer(router);
  const explained = packets.map((packet) => explainer.receive(1, parsePacket(packet), 0)).at(-1);
  const steps = explained?.stages.flatMap((stage) => (stage.stage === 'hook' ? stage.steps : [])) ?? [];
  const tables = steps.filter((step): step is TableStep => step.step === 'table');
  const rule = tables
    .flatMap((table) => table.rules)
    .findLast((one) => one.chain === chain && typeof one.number === 'number');
  return rule?.reason;
}

const CASES: readonly (readonly [rules: string, packets: string | readonly string[], reason: string])[] = [
  // base conditions
  ['-s 192.168.0.0/16', UDP, 'source 10.0.0.2 is not in 192.168.0.0/16'],
  ['! -s 10.0.0.0/8', UDP, 'source 10.0.0.2 is in 10.0.0.0/8'],
  ['-d 1.1.1.2/32', UDP, 'destination 1.1.1.1 is not 1.1.1.2'],
  ['! -s 0.0.0.0/0', UDP, 'source 10.0.0.2 is any address'],
  ['-s 2001:db8::/32', UDP6, 'source fd00:a::2 is not in 2001:db8::/32'],
  ['-i wan', UDP, 'it came in by lan, wanted wan'],
  ['! -i la+', UDP, 'it came in by lan, wanted anything but la+'],
  ['-o eth+', UDP, 'it leaves by wan, wanted eth+'],
  ['-p tcp', UDP, 'protocol is udp, wanted tcp'],
  ['! -p udp', UDP, 'protocol is udp, wanted anything but udp'],
  ['-f', UDP, 'it is not a later fragment'],
  // the network header and what came with the packet
  ['-m length --length 100:200', UDP, 'length is 33, wanted 100:200'],
  ['-m ttl --ttl-lt 10', UDP, 'TTL is 63, wanted less than 10'],
  ['-m hl --hl-eq 5', UDP6, 'hop limit is 63, wanted 5'],
  ['-m dscp --dscp 0x2e', UDP, 'DSCP is 0x00, wanted 0x2e'],
  ['-m tos --tos 0x10', `${UDP} tos 8`, 'TOS is 0x08, wanted 0x10/0xff'],
  ['-p tcp -m ecn --ecn-ip-ect 2', SYN, 'ECN of the IP header is 0, wanted 2'],
  ['-p tcp -m ecn --ecn-tcp-ece', SYN, "the TCP header's ECN bits are not as asked: -m ecn --ecn-tcp-ece"],
  ['-m mark --mark 0x1', UDP, 'mark is 0x0, wanted 0x1'],
  ['-m pkttype --pkt-type broadcast', UDP, 'packet type is unicast, wanted broadcast'],
  ['-m mac --mac-source 00:00:5e:00:53:01', UDP, 'it has no MAC address'],
  ['-m iprange --src-range 10.0.0.3-10.0.0.9', UDP, 'source 10.0.0.2 is not in 10.0.0.3-10.0.0.9'],
  ['-m iprange ! --dst-range 1.1.1.0-1.1.1.9', UDP, 'destination 1.1.1.1 is in 1.1.1.0-1.1.1.9'],
  ['-m addrtype --dst-type LOCAL', UDP, 'type of the destination 1.1.1.1 is UNICAST, wanted LOCAL'],
  ['-m ipv6header --header hop-by-hop', UDP6, 'its headers are prot, wanted hop-by-hop'],
  ['-m frag --fragid 5', UDP6, 'it has no fragment header'],
  ['-m rt --rt-type 0', UDP6, 'it has no routing header'],
  ['-m hbh --hbh-len 8', UDP6, 'it has no hop-by-hop options header'],
  ['-m dst --dst-len 8', UDP6, 'it has no destination options header'],
  ['-m ah --ahspi 5', UDP6, 'it has no authentication header'],
  ['-p ah -m ah --ahspi 5', AH, 'SPI is 9, wanted 5'],
  [
    '-p esp -m esp --espspi 5:6',
    AH.replace('proto ah data 06040000', 'proto esp data '),
    'SPI is 9, wanted 5:6',
  ],
  // transport headers
  ['-p udp -m udp --dport 80', UDP, 'destination port is 53, wanted 80'],
  ['-p udp -m udp ! --sport 1024:65535', UDP, 'source port is 5000, wanted anything but 1024:65535'],
  ['-p tcp -m tcp --tcp-flags SYN,ACK ACK', SYN, 'TCP flag is SYN, wanted ACK of SYN,ACK'],
  ['-p tcp -m tcp ! --syn', SYN, 'TCP flag is SYN, wanted anything but SYN of FIN,SYN,RST,ACK'],
  ['-p tcp -m tcp --tcp-option 8', SYN, 'it has the TCP options 2,4, wanted 8'],
  ['-p icmp -m icmp --icmp-type 0', PING, 'type is 8/0 (echo-request), wanted 0'],
  ['-p icmpv6 -m icmp6 --icmpv6-type 1', PING6, 'type is 128/0 (echo-request), wanted 1'],
  ['-p udp -m multiport --dports 80,443', UDP, 'destination port is 53, wanted one of 80,443'],
  ['-p udp -m multiport ! --ports 53,443', UDP, 'ports are 5000 and 53, wanted none of 53,443'],
  ['-p tcp -m tcpmss --mss 0:1000', SYN, 'MSS is 1460, wanted 0:1000'],
  ['-p tcp -m tcpmss --mss 0:1000', SYN.replace(/ <.*>/, ''), 'it has no MSS option'],
  ['-p sctp -m sctp --dport 81', SCTP, 'destination port is 80, wanted 81'],
  ['-p sctp -m sctp --chunk-types any DATA', SCTP, 'types of its chunks is 1, wanted any DATA'],
  ['-p dccp -m dccp --dccp-types DATA', DCCP, 'DCCP type is REQUEST, wanted DATA'],
  // connections
  ['-m conntrack --ctstate RELATED,ESTABLISHED', UDP, 'ctstate is NEW, wanted RELATED,ESTABLISHED'],
  ['-m conntrack ! --ctstate NEW', UDP, 'ctstate is NEW, wanted anything but NEW'],
  ['-m conntrack --ctstate NEW --ctdir REPLY', UDP, 'direction is ORIGINAL, wanted REPLY'],
  ['-m conntrack --ctorigsrc 10.0.0.3', UDP, 'original source 10.0.0.2 is not 10.0.0.3'],
  ['-m conntrack --ctrepldstport 80', UDP, 'reply destination port is 5000, wanted 80'],
  ['-m conntrack --ctproto 6', UDP, "the connection's protocol is 17, wanted 6"],
  ['-m conntrack --ctstatus ASSURED', UDP, 'ctstatus is NONE, wanted ASSURED'],
  ['-m conntrack --ctexpire 50:60', [UDP, UDP], "the connection's time left is 30, wanted 50:60"],
  ['-m conntrack --ctorigdst 1.1.1.1', 'tcp 10.0.0.2:5000 > 1.1.1.1:80 RST', 'it has no connection'],
  ['-m state --state ESTABLISHED', UDP, 'state is NEW, wanted ESTABLISHED'],
  ['-m connmark --mark 0x5', UDP, 'connection mark is 0x0, wanted 0x5'],
  ['-m connlabel --label 5', UDP, 'the connection has no label 5'],
  [
    '-m connbytes --connbytes 10 --connbytes-mode packets --connbytes-dir both',
    [UDP, UDP],
    'count of packets (both) is 2, wanted 10',
  ],
  ['-m connlimit --connlimit-above 3', UDP, 'the network of 10.0.0.2 has no more than 3 connections'],
  ['-m helper --helper ftp', UDP, 'no helper ftp expected its connection'],
  ['-A PREROUTING -m socket', UDP, 'no local socket would get it'],
  [
    '-A POSTROUTING -m owner --uid-owner 5',
    UDP,
    'packets have no sockets with owners here: -m owner --uid-owner 5',
  ],
  ['-A PREROUTING -m rpfilter --invert', UDP, 'answers to 10.0.0.2 would leave by lan'],
  // history, lots, the clock, sets, payload
  ['-m limit --limit 1/min --limit-burst 1', [UDP, UDP], 'the limit of 1/min (burst 1) is used up'],
  [
    '-m hashlimit --hashlimit-upto 1/min --hashlimit-burst 1 --hashlimit-mode srcip --hashlimit-name h',
    [UDP, UDP],
    'the rate of its entry in h is above the limit',
  ],
  ['-m quota --quota 10', UDP, 'the quota of 10 bytes is used up'],
  ['-m statistic --mode nth --every 3 --packet 1', UDP, 'it is not the packet that is counted of every 3'],
  ['-m statistic --mode random --probability 0', UDP, 'the lot fell otherwise (probability 0.00000000000)'],
  ['-m recent --name l --rcheck --seconds 9', UDP, 'source 10.0.0.2 is not on the list l within 9 s'],
  ['-m recent --name l --set\n-m recent ! --rcheck --name l', UDP, 'source 10.0.0.2 is on the list l'],
  [
    '-m time --timestart 12:00 --timestop 13:00',
    UDP,
    'the time of the packet is outside of --timestart 12:00:00 --timestop 13:00:00',
  ],
  ['-m string --string secret --algo bm', UDP, 'it does not contain "secret"'],
  ['-m u32 --u32 "0&0xff=0x1"', UDP, 'its bytes are not as asked: u32 "0x0&0xff=0x1"'],
  ['-m set --match-set blocked src', UDP, '10.0.0.2:5000 > 1.1.1.1:53 is not in the set blocked by src'],
  ['-m set --match-set pairs src,dst', UDP, '10.0.0.2:5000 > 1.1.1.1:53 is not in the set pairs by src,dst'],
  ['-m set --match-set open dst', PING, '10.0.0.2 > 1.1.1.1 is not in the set open by dst'],
];

describe('the reason why a rule did not match', () => {
  test.each(CASES)('%s', (rules, packets, reason) => {
    expect(reasonOf(rules, ...[packets].flat())).toBe(reason);
  });

  test('is told of every match that there is', () => {
    const told = new Set(
      CASES.flatMap(([rules]) => [...rules.matchAll(/-m (\w+)/g)].map(([, name]) => name)),
    );
    const names = new Set([...matchNames(4), ...matchNames(6)]);
    names.delete('comment');
    expect([...names].filter((name) => !told.has(name))).toEqual([]);
  });
});
