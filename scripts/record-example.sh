#!/bin/bash
# Records examples/replay again: real programs through a real Linux router, and what that router said at the end.
#
#   sudo scripts/record-example.sh [FOLDER]          FOLDER defaults to examples/replay; takes about 90 seconds
#
#   client            router                       isp                      server
#   10.0.0.2    lan 10.0.0.1    wan 203.0.113.1    203.0.113.254
#   fd00:a::2       fd00:a::1       2001:db8:1::1  2001:db8:1::fe
#                                                  198.51.100.1             198.51.100.53 (DNS) .80 .81 (web)
#                                                  2001:db8:2::1            2001:db8:2::53 ::80
#
# The router has FOLDER/rules.v4 and rules.v6 loaded. Recorded are the packets that it receives, on both sides, as
# they come from the wire: offloads are off. What it sends can be worked out from these, which is the point.
# Needs root, Linux with iptables-legacy, and the Debian packages: iproute2 iptables conntrack tcpdump ethtool curl
# dnsutils dnsmasq-base iputils-ping traceroute python3.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=$(realpath "${1:-$here/../examples/replay}")
endpoints="$here/record-example/endpoints.py"
work=$(mktemp -d)
prefix=conntide-rec-$$
export LC_ALL=C
export XTABLES_LOCKFILE="$work/xtables.lock" # other namespaces' rules are none of our concern

for program in ip iptables-legacy-restore ip6tables-legacy-restore conntrack tcpdump ethtool curl dig dnsmasq ping \
  traceroute python3; do
  command -v "$program" >/dev/null || { echo "record-example: $program is not installed" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "record-example: needs root" >&2; exit 2; }

clean_up() {
  for name in client router isp server; do
    ip netns pids "$prefix-$name" 2>/dev/null | xargs -r kill 2>/dev/null || true
    ip netns del "$prefix-$name" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap clean_up EXIT

on() { local name=$1; shift; ip netns exec "$prefix-$name" "$@"; }
say() { awk -v began="$began" -v now="$EPOCHREALTIME" -v text="$*" 'BEGIN { printf "%6.1f  %s\n", now - began, text }'; }
# A real program at work: what it says goes to a log, and that it fails is often what we want to record.
try() { say "$*"; timeout 30 ip netns exec "$prefix-$1" "${@:2}" >>"$work/programs.log" 2>&1 || true; }
in_background() { ip netns exec "$prefix-$1" "${@:2}" >>"$work/programs.log" 2>&1 & }

# --- the network ---------------------------------------------------------------------------------------------
for name in client router isp server; do
  ip netns add "$prefix-$name"
  # No duplicate address detection, router solicitations or multicast reports of our own making.
  on "$name" sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.router_solicitations=0 \
    net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0 net.ipv4.conf.all.rp_filter=0 \
    net.ipv4.conf.default.rp_filter=0 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
  on "$name" ip link set lo up
done

# cable NAME DEVICE MAC   NAME DEVICE MAC: a veth pair that behaves like a wire.
cable() {
  ip link add "$2" address "$3" netns "$prefix-$1" type veth peer name "$5" address "$6" netns "$prefix-$4"
  for end in "$1 $2" "$4 $5"; do
    read -r name device <<<"$end"
    on "$name" ethtool -K "$device" tx off rx off sg off tso off gso off gro off >/dev/null
    on "$name" ip link set "$device" up
  done
}
cable client eth0 02:00:00:00:0a:02 router lan 02:00:00:00:0a:01
cable router wan 02:00:00:00:01:01 isp access 02:00:00:00:01:fe
cable isp core 02:00:00:00:02:01 server eth0 02:00:00:00:02:80

address() { on "$1" ip addr add "$3" dev "$2" nodad 2>/dev/null || on "$1" ip addr add "$3" dev "$2"; }
address client eth0 10.0.0.2/24
address client eth0 fd00:a::2/64
address router lan 10.0.0.1/24
address router lan fd00:a::1/64
address router wan 203.0.113.1/24
address router wan 2001:db8:1::1/64
address isp access 203.0.113.254/24
address isp access 2001:db8:1::fe/64
address isp core 198.51.100.1/24
address isp core 2001:db8:2::1/64
address server eth0 198.51.100.80/24
address server eth0 198.51.100.81/24
address server eth0 198.51.100.53/24
address server eth0 2001:db8:2::80/64
address server eth0 2001:db8:2::53/64

on client ip route add default via 10.0.0.1
on client ip -6 route add default via fd00:a::1
on router ip route add default via 203.0.113.254
on router ip -6 route add default via 2001:db8:1::fe
on server ip route add default via 198.51.100.1
on server ip -6 route add default via 2001:db8:2::1
# Somebody on the provider's side who knows our private network and tries to reach it.
on isp ip route add 10.0.0.0/24 via 203.0.113.1
# Where packets vanish without an answer, and a path that is narrower than its links.
on isp ip route add blackhole 198.51.100.99/32
on isp ip -6 route add blackhole 2001:db8:2::99/128
on isp ip route add 198.51.100.81/32 dev core mtu lock 1400

# Neighbours of IPv6 are set by hand, so that the recording has ARP but not its multicast successor.
neighbour() { on "$1" ip -6 neigh replace "$3" lladdr "$4" dev "$2" nud permanent; }
neighbour client eth0 fd00:a::1 02:00:00:00:0a:01
neighbour router lan fd00:a::2 02:00:00:00:0a:02
neighbour router wan 2001:db8:1::fe 02:00:00:00:01:fe
neighbour isp access 2001:db8:1::1 02:00:00:00:01:01
neighbour isp core 2001:db8:2::80 02:00:00:00:02:80
neighbour isp core 2001:db8:2::53 02:00:00:00:02:80
neighbour server eth0 2001:db8:2::1 02:00:00:00:02:01

on isp sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
on router sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.netfilter.nf_conntrack_acct=1 \
  net.netfilter.nf_conntrack_timestamp=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.lan.send_redirects=0 \
  net.ipv4.conf.wan.send_redirects=0
on router iptables-legacy-restore "$folder/rules.v4"
on router ip6tables-legacy-restore "$folder/rules.v6"

# --- the servers ---------------------------------------------------------------------------------------------
mkdir "$work/site"
python3 - "$work/site" <<'PYTHON'
import random, sys
random.seed(7)
words = 'packet tuple chain bucket reply window segment router tide harbour'.split()
for name, size in (('index.html', 1500), ('large.txt', 200_000), ('medium.txt', 90_000), ('upload.txt', 60_000)):
    text = ''
    while len(text) < size:
        text += random.choice(words) + ' '
    with open(f'{sys.argv[1]}/{name}', 'w') as file:
        file.write(text[:size])
PYTHON
cd "$work/site"
in_background server python3 -m http.server --bind 198.51.100.80 80
in_background server python3 "$endpoints" web 198.51.100.81 80 "$work/site"
in_background server python3 "$endpoints" web 2001:db8:2::80 80 "$work/site"
in_background server python3 "$endpoints" abort 198.51.100.80 8001
in_background server python3 "$endpoints" silent 198.51.100.80 8002
in_background server python3 "$endpoints" echo 198.51.100.80 7
in_background server python3 "$endpoints" echo 2001:db8:2::80 7
in_background client python3 -m http.server --bind 10.0.0.2 80
in_background client python3 -m http.server --bind fd00:a::2 80
in_background server dnsmasq --keep-in-foreground --conf-file=/dev/null --no-hosts --no-resolv --pid-file= --user=root \
  --bind-interfaces --listen-address=198.51.100.53,2001:db8:2::53 --port=53 --no-daemon \
  --host-record=www.example.org,198.51.100.80,2001:db8:2::80 --host-record=files.example.org,198.51.100.81 \
  --txt-record=example.org,"v=spf1 -all" --local=/example.org/
sleep 6 # servers start, multicast reports of the new devices die down

# --- the recording -------------------------------------------------------------------------------------------
for side in lan wan; do
  on router tcpdump -i "$side" -Q in -p -s 0 -n -U -B 8192 --time-stamp-precision=nano -w "$work/$side.pcap" \
    2>"$work/tcpdump-$side.log" &
done
for side in lan wan; do
  until grep -q 'listening on' "$work/tcpdump-$side.log"; do sleep 0.1; done
done
on router iptables-legacy-restore "$folder/rules.v4" # again: counters at zero
on router ip6tables-legacy-restore "$folder/rules.v6"
on router conntrack -F 2>/dev/null
for name in client router isp; do on "$name" ip -4 neigh flush all; done # some ARP, as on any Ethernet
began=$(date +%s.%N)
on router conntrack -E -o timestamp >"$work/events" 2>/dev/null &
events=$!
sleep 0.5

dns=198.51.100.53
dns6=2001:db8:2::53
web=198.51.100.80
narrow=198.51.100.81
web6=2001:db8:2::80
nowhere=198.51.100.99
nowhere6=2001:db8:2::99
quick=(curl -sS -o /dev/null --max-time 10)

in_background client python3 "$endpoints" hold $web 8002 # left half open: a handshake, then silence
try client dig +tries=1 @$dns www.example.org A
try client dig +tries=1 @$dns www.example.org AAAA
try client dig +tries=1 @$dns6 files.example.org A
try client "${quick[@]}" http://$web/index.html
try client "${quick[@]}" http://$web/missing.html
try client "${quick[@]}" "http://[$web6]/index.html" -o /dev/null "http://[$web6]/index.html"
try client dig +tcp +tries=1 @$dns example.org TXT
try client "${quick[@]}" http://$web/large.txt
try client "${quick[@]}" "http://[$web6]/medium.txt"
try client "${quick[@]}" -T "$work/site/upload.txt" http://$narrow/upload.txt # too wide: path MTU discovery
try client ping -n -c 3 -i 0.5 $web
try client ping -n -c 3 -i 0.5 $web6
try client ping -n -c 2 -i 0.5 -s 2000 -M dont $web # in fragments, both ways
sleep 1
try client "${quick[@]}" http://$web:8009/ # closed: reset at once
try client "${quick[@]}" "http://[$web6]:8009/"
try client "${quick[@]}" http://$web:8001/ # reset half way
try client dig +tries=1 +time=1 -p 5300 @$dns www.example.org A # closed: port unreachable
try client dig +tries=1 +time=1 -p 5300 @$dns6 www.example.org A
try client dig +tries=1 +time=1 @$nowhere www.example.org A # no answer
try client traceroute -n -q 1 -m 4 $web # time exceeded, then port unreachable
try client traceroute -6 -n -q 1 -m 4 $web6
try client "${quick[@]}" --connect-timeout 2 http://$web:25/ # rejected by the router
try client "${quick[@]}" --connect-timeout 2 "http://[$web6]:25/"
in_background client "${quick[@]}" --connect-timeout 8 http://$nowhere/ # a SYN and its repetitions, no answer
in_background client "${quick[@]}" --connect-timeout 4 "http://[$nowhere6]/"
in_background client python3 "$endpoints" talk $web6 7 4
try client python3 "$endpoints" talk $web 7 6
sleep 1
try server "${quick[@]}" http://203.0.113.1:8080/index.html # the forwarded port, from outside
try server "${quick[@]}" "http://[2001:db8:1::1]:8080/index.html"
try server "${quick[@]}" http://203.0.113.1:8080/medium.txt
try server "${quick[@]}" --connect-timeout 2 http://203.0.113.1:22/ # dropped
try server "${quick[@]}" --connect-timeout 2 http://203.0.113.1:113/ # refused with a reset
try server "${quick[@]}" --connect-timeout 2 "http://[2001:db8:1::1]:22/"
try server dig +tries=1 +time=1 -p 161 @203.0.113.1 probe A
try isp ping -n -c 2 -i 0.3 -W 1 203.0.113.1
try isp ping -n -c 1 -W 1 10.0.0.2
try server python3 "$endpoints" stray $web 203.0.113.1
say 'nothing for 40 seconds: UDP, ping and reset connections run out'
sleep 40
try client dig +tries=1 @$dns www.example.org A
try client "${quick[@]}" http://$web/index.html
try client "${quick[@]}" "http://[$web6]/index.html"
try client ping -n -c 2 -i 0.5 $web
try client ping -n -c 2 -i 0.5 $web6
try client dig +tries=1 +time=1 @$nowhere www.example.org A
try client "${quick[@]}" http://$web:8001/
sleep 5.5 # the last reset connection is still in the table when it is read

# --- what the kernel says ------------------------------------------------------------------------------------
kernel="Linux $(uname -r | cut -d- -f1), $(iptables-legacy --version)"
read_out() { # FILE COMMAND...
  local file=$1; shift
  { echo "# $kernel: $*"; echo "# recording began at $began, read out at $(date +%s.%N)"; } >"$work/$file"
  on router "$@" >>"$work/$file" 2>/dev/null
}
read_out kernel-conntrack.v4.txt conntrack -L -f ipv4 -o extended
read_out kernel-conntrack.v6.txt conntrack -L -f ipv6 -o extended
read_out kernel-save.v4.txt iptables-legacy-save -c
read_out kernel-save.v6.txt ip6tables-legacy-save -c
kill "$events"
{ echo "# $kernel: conntrack -E -o timestamp"; echo "# recording began at $began"; } >"$work/kernel-events.txt"
sed 's/^\[\([0-9.]*\)[[:space:]]*\]/\1/' "$work/events" >>"$work/kernel-events.txt"
sleep 0.5
for side in lan wan; do
  ip netns pids "$prefix-router" | while read -r pid; do
    tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q "$side.pcap" && kill -INT "$pid"
  done || true
done
wait_for_dump() { until grep -q 'packets captured' "$work/tcpdump-$1.log"; do sleep 0.1; done; }
wait_for_dump lan
wait_for_dump wan
if grep -h 'dropped by kernel' "$work"/tcpdump-*.log | grep -qv '^0 '; then
  echo 'record-example: tcpdump lost packets; run again' >&2
  exit 1
fi
# A port that the kernel picked at random could not be picked again: then this recording is of no use.
python3 - "$work/kernel-events.txt" <<'PYTHON'
import re, sys
for line in open(sys.argv[1]):
    ports = re.findall(r'sport=(\d+) dport=(\d+)', line)
    if '[NEW]' in line and len(ports) == 2 and ports[0][0] != ports[1][1]:
        sys.exit(f'record-example: a source port was changed; run again\n{line}')
PYTHON
python3 "$here/record-example/merge.py" "$work/gateway.pcapng" \
  'packets received by a Linux router, recorded by scripts/record-example.sh' lan="$work/lan.pcap" wan="$work/wan.pcap"
if [ -n "${KEEP_LOG:-}" ]; then cp "$work/programs.log" "$KEEP_LOG"; fi
for file in gateway.pcapng kernel-conntrack.v4.txt kernel-conntrack.v6.txt kernel-save.v4.txt kernel-save.v6.txt \
  kernel-events.txt; do
  install -m 644 "$work/$file" "$folder/$file"
done
