#!/bin/busybox sh
# The guest's only program. The kernel's command line says what to do, as variables:
#
#   server4, server6   HTTP servers to ask
#   bytes              how many bytes to fetch
#
# Each finding is a line `guest: NAME VALUE` on the console; `guest: done` is the last. From then on a web server has
# `fetched`, what was fetched last.
busybox=/bin/busybox
$busybox mkdir -p /proc /sys /dev /tmp /bin /www
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev
$busybox --install -s /bin
export PATH=/bin

for module in failover net_failover virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_net; do
  insmod /modules/$module.ko
done

tell() {
  echo "guest: $*"
}

ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -s /udhcpc.sh -n -q -t 10 -T 1 >/dev/null 2>&1
tell address4 "$(ip -4 -o addr show dev eth0 | sed 's/.*inet \([^ ]*\).*/\1/')"
tell route4 "$(ip route show default | head -n 1)"
tell ping4 "$(ping -c 3 -W 2 "$server4" | grep received)"

# VERSION HOST-AS-IN-URL; no -T, of which Debian's static busybox dies
ask() {
  tell "who$1" "$(timeout 20 wget -qO - "http://$2/who")"
  timeout 60 wget -S -O /www/fetched "http://$2/bytes/$bytes" 2>/tmp/headers
  tell "sent$1" "$(sed -n 's/.*x-sha256: //p' /tmp/headers)"
  tell "fetched$1" "$(sha256sum </www/fetched | cut -d ' ' -f 1)"
}

ask 4 "$server4"
if [ -n "$server6" ]; then
  # Until an address made of the router's prefix is no longer tentative.
  for try in 1 2 3 4 5 6 7 8 9 10; do
    ip -6 addr show dev eth0 scope global | grep -v tentative | grep -q inet6 && break
    sleep 1
  done
  ask 6 "[$server6]"
fi
httpd -p 80 -h /www
tell done
while true; do sleep 60; done
