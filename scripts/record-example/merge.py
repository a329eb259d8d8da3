#!/usr/bin/env python3
"""Puts classic pcap files of one interface each into one pcapng file, in the order of time.

  merge.py OUT.pcapng COMMENT NAME=IN.pcap...

Every packet is marked as received (epb_flags). The input is what `tcpdump --time-stamp-precision=nano` writes on a
little-endian machine. Written apart from the project's own capture code so that this checks that.
"""
import struct
import sys


def option(code, value):
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind, body):
    body += bytes(-len(body) % 4)
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def read(path):
    with open(path, "rb") as file:
        content = file.read()
    magic, _, _, _, _, snap_length, link_type = struct.unpack_from("<IHHiIII", content)
    if magic != 0xA1B23C4D:
        sys.exit(f"{path}: not a nanosecond pcap file")
    packets = []
    offset = 24
    while offset < len(content):
        seconds, nanos, kept, original = struct.unpack_from("<IIII", content, offset)
        packets.append((seconds * 10**9 + nanos, content[offset + 16 : offset + 16 + kept], original))
        offset += 16 + kept
    return link_type, snap_length, packets


def main():
    out, comment, *inputs = sys.argv[1:]
    blocks = [block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + option(1, comment.encode()) + bytes(4))]
    everything = []
    for number, each in enumerate(inputs):
        name, path = each.split("=", 1)
        link_type, snap_length, packets = read(path)
        body = struct.pack("<HHI", link_type, 0, snap_length)
        blocks.append(block(1, body + option(2, name.encode()) + option(9, b"\x09") + bytes(4)))
        everything += [(time, number, kept, original) for time, kept, original in packets]
    everything.sort(key=lambda packet: packet[0])
    received = option(2, struct.pack("<I", 1)) + bytes(4)
    for time, number, kept, original in everything:
        body = struct.pack("<IIIII", number, time >> 32, time & 0xFFFFFFFF, len(kept), original)
        blocks.append(block(6, body + kept + bytes(-len(kept) % 4) + received))
    with open(out, "wb") as file:
        file.write(b"".join(blocks))
    print(f"{out}: {len(everything)} packets over {(everything[-1][0] - everything[0][0]) / 1e9:.1f} s")


main()
