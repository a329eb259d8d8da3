/** Each match against packets: rules in iptables' words, packets in the scenario notation. */
import { describe, expect, test } from 'vitest';
import { judge, view } from './acl.js';

type Answer = 'match' | 'miss' | 'hotdrop';
type Row = readonly [rule: string, packet: string, answer: Answer];

function table(name: string, rows: readonly Row[]): void {
  describe(name, () => {
    test.each(rows)('%s | %s | %s', (rule, packet, answer) => {
      expect(judge(rule, view(packet))).toBe(answer);
    });
  });
}

const UDP = 'udp 10.0.0.2:4000 > 198.51.100.7:53';
const UDP6 = 'udp [fd00:a::2]:4000 > [2001:db8:2::7]:53';
const TCP = 'tcp 10.0.0.2:4000 > 198.51.100.7:80';
const PING = 'icmp 10.0.0.2 > 198.51.100.7 echo-request id 7 seq 1';
const PING6 = 'icmpv6 fd00:a::2 > 2001:db8:2::7 echo-request id 7 seq 1';

table('base conditions', [
  ['', UDP, 'match'],
  ['-s 10.0.0.2', UDP, 'match'],
  ['-s 10.0.0.3', UDP, 'miss'],
  ['! -s 10.0.0.3', UDP, 'match'],
  ['-s 10.0.0.0/24', UDP, 'match'],
  ['-s 10.0.1.0/24', UDP, 'miss'],
  ['-d 0.0.0.7/0.0.0.255', UDP, 'match'],
  ['-d 0.0.0.8/0.0.0.255', UDP, 'miss'],
  ['! -s 0.0.0.0/0', UDP, 'miss'],
  ['-s 10.0.0.2 ! -d 198.51.100.0/24', UDP, 'miss'],
  ['-i lan0', UDP, 'match'],
  ['-i lan', UDP, 'miss'],
  ['-i la+', UDP, 'match'],
  ['-i +', UDP, 'match'],
  ['! -i la+', UDP, 'miss'],
  ['! -o lan0', UDP, 'match'],
  ['-i lan0 -o wan0', UDP, 'match'],
  ['-p udp', UDP, 'match'],
  ['-p tcp', UDP, 'miss'],
  ['! -p tcp', UDP, 'match'],
  ['-p 17', UDP, 'match'],
  ['-f', UDP, 'miss'],
  ['-f', `${UDP} mf len 40`, 'miss'],
  ['-f', `${UDP} frag 16 len 40`, 'match'],
  ['! -f', `${UDP} frag 16 len 40`, 'miss'],
  ['! -f', UDP, 'match'],
  ['-s fd00:a::2', UDP6, 'match'],
  ['-s fd00:a::/32 -d 2001:db8:2::/48', UDP6, 'match'],
  ['! -d 2001:db8:2::7', UDP6, 'miss'],
  ['-s fd00:b::/32', UDP6, 'miss'],
  ['-p udp', UDP6, 'match'],
  ['-p udp', `${UDP6} ext 60:00010400000000`, 'match'],
  ['-p ipv6-icmp', UDP6, 'miss'],
]);

table('IPv6 headers that cannot be walked', [
  ['-p udp', `ip fd00:a::2 > 2001:db8:2::7 proto 60 data 11`, 'hotdrop'],
  ['-p tcp', `ip fd00:a::2 > 2001:db8:2::7 proto 60`, 'hotdrop'],
  ['-s fd00:b::/64 -p udp', `ip fd00:a::2 > 2001:db8:2::7 proto 60`, 'miss'],
  ['-s fd00:a::2', `ip fd00:a::2 > 2001:db8:2::7 proto 60`, 'match'],
  // the length leads out of the packet, but what is said to follow is believed
  ['-p udp', `ip fd00:a::2 > 2001:db8:2::7 proto 60 data 1109000000000000`, 'match'],
  ['-p udp -m udp --dport 53', `ip fd00:a::2 > 2001:db8:2::7 proto 60 data 1109000000000000`, 'hotdrop'],
  // no next header is a protocol like others
  ['-p 59', `ip fd00:a::2 > 2001:db8:2::7 proto 59 len 4`, 'match'],
  ['-p udp', `ip fd00:a::2 > 2001:db8:2::7 proto 59 len 4`, 'miss'],
  // later fragments: the protocol is known, the ports are not
  ['-p udp', `${UDP6} frag 16 len 40`, 'match'],
  ['-p udp -m udp --dport 53', `${UDP6} frag 16 len 40`, 'miss'],
  ['-p udp', `${UDP6} mf len 40`, 'match'],
  ['-p udp -m udp --dport 53', `${UDP6} mf len 40`, 'match'],
  ['-p 60', `ip fd00:a::2 > 2001:db8:2::7 proto 60 frag 16 data 1100000000000000`, 'hotdrop'],
]);

table('tcp', [
  ['-p tcp --dport 80', `${TCP} SYN`, 'match'],
  ['-p tcp --dport 81', `${TCP} SYN`, 'miss'],
  ['-p tcp ! --dport 81', `${TCP} SYN`, 'match'],
  ['-p tcp --dport 1:1023 --sport 4000:', `${TCP} SYN`, 'match'],
  ['-p tcp --dport 80', UDP, 'miss'],
  ['-p tcp --syn', `${TCP} SYN`, 'match'],
  ['-p tcp --syn', `${TCP} SYN,ACK`, 'miss'],
  ['-p tcp ! --syn', `${TCP} SYN,ACK`, 'match'],
  ['-p tcp --tcp-flags SYN,FIN SYN,FIN', `${TCP} SYN,FIN,PSH`, 'match'],
  ['-p tcp --tcp-flags ALL NONE', `${TCP} NONE`, 'match'],
  ['-p tcp --tcp-flags ALL NONE', `${TCP} ECE`, 'match'],
  ['-p tcp --tcp-option 2', `${TCP} SYN <mss 1460>`, 'match'],
  ['-p tcp --tcp-option 8', `${TCP} SYN <nop,nop,mss 1460>`, 'miss'],
  ['-p tcp ! --tcp-option 8', `${TCP} SYN <mss 1460,nop,wscale 7>`, 'match'],
  ['-p tcp --tcp-option 3', `${TCP} SYN <mss 1460,nop,wscale 7>`, 'match'],
  ['-p tcp --dport 80', `${TCP} SYN iplen 39`, 'hotdrop'],
  ['-p tcp', `ip 10.0.0.2 > 198.51.100.7 proto tcp len 19`, 'match'],
  ['-p tcp --dport 80', `ip 10.0.0.2 > 198.51.100.7 proto tcp len 19`, 'hotdrop'],
  [
    '-p tcp --tcp-option 2',
    `ip 10.0.0.2 > 198.51.100.7 proto tcp data 0fa000500000000000000000400000000000000000`,
    'hotdrop',
  ],
  ['-p tcp --dport 80', `ip 10.0.0.2 > 198.51.100.7 proto tcp frag 8 len 24`, 'hotdrop'],
  ['-p tcp ! --dport 80', `ip 10.0.0.2 > 198.51.100.7 proto tcp frag 16 len 24`, 'miss'],
  [
    '-p tcp --tcp-option 2',
    'ip 10.0.0.2 > 1.1.1.1 proto tcp data 0fa0005000000000000000006000000000000000',
    'hotdrop',
  ],
  ['-p tcp --dport 80', `ip fd00:a::2 > 2001:db8:2::7 proto tcp frag 8 len 24`, 'miss'],
]);

table('udp, icmp, multiport', [
  ['-p udp --sport 4000 --dport 53', UDP, 'match'],
  ['-p udp --dport :52', UDP, 'miss'],
  ['-p udp --dport 53', `ip 10.0.0.2 > 198.51.100.7 proto udp len 7`, 'hotdrop'],
  ['-p udp --dport 53', `ip 10.0.0.2 > 198.51.100.7 proto udp frag 8 len 8`, 'miss'],
  ['-p icmp --icmp-type 8', PING, 'match'],
  ['-p icmp --icmp-type echo-reply', PING, 'miss'],
  ['-p icmp ! --icmp-type echo-reply', PING, 'match'],
  ['-p icmp --icmp-type any', PING, 'match'],
  ['-p icmp --icmp-type 3/1', `icmp 10.0.0.2 > 198.51.100.7 3/1 len 28`, 'match'],
  ['-p icmp --icmp-type 3/3', `icmp 10.0.0.2 > 198.51.100.7 3/1 len 28`, 'miss'],
  ['-p icmp --icmp-type 3', `icmp 10.0.0.2 > 198.51.100.7 3/1 len 28`, 'match'],
  ['-p icmp --icmp-type any', `ip 10.0.0.2 > 198.51.100.7 proto icmp len 7`, 'hotdrop'],
  ['-p ipv6-icmp --icmpv6-type echo-request', PING6, 'match'],
  ['-p ipv6-icmp --icmpv6-type 135', PING6, 'miss'],
  ['-p udp -m multiport --dports 22,53', UDP, 'match'],
  ['-p udp -m multiport --dports 22,80:90', UDP, 'miss'],
  ['-p udp -m multiport ! --dports 22,80:90', UDP, 'match'],
  ['-p udp -m multiport --sports 53', UDP, 'miss'],
  ['-p udp -m multiport --ports 4000', UDP, 'match'],
  ['-p udp -m multiport --ports 53', `ip 10.0.0.2 > 198.51.100.7 proto udp len 3`, 'hotdrop'],
  ['-p tcp -m tcpmss --mss 1000:1460', `${TCP} SYN <mss 1460>`, 'match'],
  ['-p tcp -m tcpmss --mss 1461', `${TCP} SYN <mss 1460>`, 'miss'],
  ['-p tcp -m tcpmss --mss 1461', `${TCP} SYN`, 'miss'],
  ['-p tcp -m tcpmss ! --mss 1461', `${TCP} SYN`, 'match'],
]);

table('network header', [
  ['-m length --length 28', UDP, 'match'],
  ['-m length --length 29:100', UDP, 'miss'],
  ['-m length ! --length 29:100', UDP, 'match'],
  ['-m length --length 53', `${UDP6} len 5`, 'match'],
  ['-m ttl --ttl-eq 64', UDP, 'match'],
  ['-m ttl ! --ttl-eq 64', UDP, 'miss'],
  ['-m ttl --ttl-lt 64', `${UDP} ttl 63`, 'match'],
  ['-m ttl --ttl-gt 64', UDP, 'miss'],
  ['-m hl --hl-eq 64', UDP6, 'match'],
  ['-m hl --hl-lt 64', `${UDP6} ttl 3`, 'match'],
  ['-m dscp --dscp 0x2e', `${UDP} tos 0xb8`, 'match'],
  ['-m dscp --dscp-class EF', `${UDP} tos 0xbb`, 'match'],
  ['-m dscp ! --dscp 0', `${UDP6} tos 0xb8`, 'match'],
  ['-m tos --tos 0x10/0x3f', `${UDP} tos 0xd0`, 'match'],
  ['-m tos --tos 0x10', `${UDP} tos 0x11`, 'miss'],
  ['-m ecn --ecn-ip-ect 2', `${UDP} tos 2`, 'match'],
  ['-m ecn ! --ecn-ip-ect 2', `${UDP} tos 2`, 'miss'],
  ['-p tcp -m ecn --ecn-tcp-ece', `${TCP} SYN,ECE`, 'match'],
  ['-p tcp -m ecn --ecn-tcp-cwr', `${TCP} SYN,ECE`, 'miss'],
  ['-p tcp -m ecn ! --ecn-tcp-cwr', `${TCP} SYN,ECE`, 'match'],
  ['-m iprange --src-range 10.0.0.1-10.0.0.2', UDP, 'match'],
  ['-m iprange --src-range 10.0.0.3-10.0.0.9', UDP, 'miss'],
  ['-m iprange ! --dst-range 198.51.100.7-198.51.100.9', UDP, 'miss'],
  ['-m iprange --dst-range 128.0.0.0-255.0.0.0', UDP, 'match'],
  ['-m iprange --src-range fd00:a::-fd00:a::2', UDP6, 'match'],
  ['-m iprange --src-range fd00:a::3-fd00:b::', UDP6, 'miss'],
  ['-m addrtype --dst-type LOCAL', 'udp 10.0.0.2:1 > 10.0.0.1:2', 'match'],
  ['-m addrtype --dst-type UNICAST', 'udp 10.0.0.2:1 > 10.0.0.1:2', 'miss'],
  ['-m addrtype --dst-type UNICAST,LOCAL', 'udp 10.0.0.2:1 > 10.0.0.1:2', 'match'],
  ['-m addrtype ! --dst-type LOCAL --src-type UNICAST', UDP, 'match'],
  ['-m addrtype --dst-type MULTICAST', 'udp 10.0.0.2:1 > 224.0.0.251:2', 'match'],
  ['-m addrtype --dst-type LOCAL --limit-iface-in', 'udp 10.0.0.2:1 > 10.0.0.1:2', 'match'],
  ['-m addrtype --dst-type LOCAL --limit-iface-out', 'udp 10.0.0.2:1 > 10.0.0.1:2', 'miss'],
  // of IPv6 a local address is unicast as well, and every asked form must hold
  ['-m addrtype --dst-type UNICAST', 'udp [fd00:a::2]:1 > [fd00:a::1]:2', 'match'],
  ['-m addrtype --dst-type LOCAL', 'udp [fd00:a::2]:1 > [fd00:a::1]:2', 'match'],
  ['-m addrtype --dst-type LOCAL', UDP6, 'miss'],
  ['-m addrtype --dst-type UNICAST,MULTICAST', UDP6, 'miss'],
  ['-m addrtype --dst-type MULTICAST', 'udp [fd00:a::2]:1 > [ff02::1]:2', 'match'],
  ['-m mac --mac-source 02:00:00:00:00:01', UDP, 'miss'],
  ['-m mac ! --mac-source 02:00:00:00:00:01', UDP, 'miss'],
  ['-m pkttype --pkt-type unicast', UDP, 'match'],
  ['-m pkttype ! --pkt-type unicast', UDP, 'miss'],
  ['-m comment --comment "nothing to see"', UDP, 'match'],
  ['-p esp -m esp --espspi 256:300', 'ip 10.0.0.2 > 1.1.1.1 proto esp data 0000010100000001', 'match'],
  ['-p esp -m esp ! --espspi 257', 'ip 10.0.0.2 > 1.1.1.1 proto esp data 0000010100000001', 'miss'],
  ['-p esp -m esp --espspi 257', 'ip 10.0.0.2 > 1.1.1.1 proto esp data 00000101000000', 'hotdrop'],
  ['-p ah -m ah --ahspi 257', 'ip 10.0.0.2 > 1.1.1.1 proto ah data 110100000000010100000001', 'match'],
]);

const HBH = '0:00050200000000'; // router alert and padding
const RT0 = '43:00000000000000';

table('IPv6 extension headers', [
  ['-m ipv6header --header hop-by-hop --soft', `${UDP6} ext ${HBH}`, 'match'],
  ['-m ipv6header --header hop-by-hop', `${UDP6} ext ${HBH}`, 'miss'],
  ['-m ipv6header --header hop-by-hop,prot', `${UDP6} ext ${HBH}`, 'match'],
  ['-m ipv6header ! --header hop-by-hop --soft', `${UDP6} ext ${HBH}`, 'miss'],
  ['-m ipv6header ! --header hop-by-hop --soft', UDP6, 'match'],
  ['-m ipv6header --header none', 'ip fd00:a::2 > 2001:db8:2::7 proto 59', 'match'],
  ['-m ipv6header --header dst --soft', `${UDP6} ext ${HBH} ext 60:00000000000000`, 'match'],
  ['-m frag --fragfirst', `${UDP6} mf len 16`, 'match'],
  ['-m frag --fragfirst', `${UDP6} frag 8 len 16`, 'miss'],
  ['-m frag --fraglast', `${UDP6} frag 8 len 16`, 'match'],
  ['-m frag --fragmore', `${UDP6} frag 8 len 16`, 'miss'],
  ['-m frag --fragid 5:7', `${UDP6} mf fragid 6 len 16`, 'match'],
  ['-m frag --fragid 5:7', UDP6, 'miss'],
  ['-m frag --fragfirst', 'ip fd00:a::2 > 2001:db8:2::7 proto 44 data 11', 'hotdrop'],
  ['-m rt --rt-type 0', `${UDP6} ext ${RT0}`, 'match'],
  ['-m rt --rt-type 2', `${UDP6} ext ${RT0}`, 'miss'],
  ['-m rt --rt-segsleft 0 --rt-len 8', `${UDP6} ext ${RT0}`, 'match'],
  ['-m rt ! --rt-segsleft 0', `${UDP6} ext ${RT0}`, 'miss'],
  ['-m rt --rt-type 0', UDP6, 'miss'],
  ['-m hbh --hbh-len 8', `${UDP6} ext ${HBH}`, 'match'],
  ['-m hbh --hbh-opts 5:2', `${UDP6} ext ${HBH}`, 'match'],
  ['-m hbh --hbh-opts 5,0', `${UDP6} ext ${HBH}`, 'match'],
  ['-m hbh --hbh-opts 6', `${UDP6} ext ${HBH}`, 'miss'],
  ['-m dst --dst-len 8', `${UDP6} ext ${HBH}`, 'miss'],
]);
