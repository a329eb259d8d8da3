#!/usr/bin/env bash
# Fetches what a guest boots from, out of Debian's packages, without installing them:
#
#   fetch.sh ARCHITECTURE FOLDER     ARCHITECTURE: amd64 or i386
#
# Makes FOLDER/vmlinuz, FOLDER/busybox and FOLDER/modules/*.ko. apt gets lists of its own: the machine's architectures
# and package lists stay as they are. Does nothing if all is there.
set -euo pipefail
architecture=$1
folder=$(realpath -m "$2")
modules=(failover net_failover virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_net)
case $architecture in
  amd64) kernel=linux-image-cloud-amd64 ;;
  i386) kernel=linux-image-686 ;;
  *) echo "no kernel for $architecture" >&2; exit 2 ;;
esac

if [ -e "$folder/complete" ]; then
  exit 0
fi
rm -rf "$folder"
mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$folder/modules" "$folder/packages"
cd "$folder/packages"
options=(-o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" -o APT::Sandbox::User=root
  -o "Dir::State::lists=$folder/apt/lists" -o "Dir::Cache=$folder/apt" -o Dir::State::status=/dev/null)
apt-get "${options[@]}" -qq update || echo 'some lists are missing' >&2
image=$(apt-cache "${options[@]}" depends "$kernel" | sed -n 's/.*Depends: \(linux-image-[0-9][^ :]*\).*/\1/p' | head -n 1)
apt-get "${options[@]}" -qq download "$image" busybox-static

for package in *.deb; do
  dpkg-deb -x "$package" unpacked
done
cp unpacked/boot/vmlinuz-* "$folder/vmlinuz"
cp unpacked/bin/busybox "$folder/busybox"
for module in "${modules[@]}"; do
  found=$(find unpacked/lib/modules -name "$module.ko*" | head -n 1)
  case $found in
    *.xz) xz -dc "$found" >"$folder/modules/$module.ko" ;;
    *) cp "$found" "$folder/modules/$module.ko" ;;
  esac
done
cd "$folder"
rm -rf packages apt
touch complete
