#!/usr/bin/env python3
"""The ends of connections that no common program makes on purpose. Python's own library only.

  endpoints.py web ADDRESS PORT FOLDER   HTTP/1.1 with GET and PUT: the client may keep the connection and close it
  endpoints.py abort ADDRESS PORT        sends half of what it promised, then resets the connection
  endpoints.py silent ADDRESS PORT       accepts and never says anything
  endpoints.py echo ADDRESS PORT         UDP echo
  endpoints.py talk ADDRESS PORT COUNT   sends COUNT datagrams to an echo, one a second, from one socket
  endpoints.py hold ADDRESS PORT         connects and stays silent
  endpoints.py stray SOURCE TARGET       sends packets of no connection: a SYN/ACK, a packet with FIN, PSH and URG,
                                         an ICMP error about a packet that TARGET never sent (IPv4)
"""
import http.server
import socket
import struct
import sys
import time


class Web(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        left = int(self.headers["Content-Length"])
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        while left > 0:
            left -= len(self.rfile.read(min(left, 65536)))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listen(address, port):
    server = socket.create_server((address, port), family=family_of(address))
    while True:
        yield server.accept()[0]


def web(address, port, folder):
    class Server(http.server.ThreadingHTTPServer):
        address_family = family_of(address)

    def for_folder(*args):
        return Web(*args, directory=folder)

    Server((address, port), for_folder).serve_forever()


def abort(address, port):
    for connection in listen(address, port):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 20000)
        time.sleep(0.3)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def silent(address, port):
    kept = []
    for connection in listen(address, port):
        kept.append(connection)


def echo(address, port):
    server = socket.socket(family_of(address), socket.SOCK_DGRAM)
    server.bind((address, port))
    while True:
        payload, sender = server.recvfrom(2048)
        server.sendto(payload, sender)


def talk(address, port, count):
    client = socket.socket(family_of(address), socket.SOCK_DGRAM)
    client.connect((address, port))
    client.settimeout(2)
    for number in range(count):
        client.send(b"hello %d" % number)
        client.recv(2048)
        time.sleep(1)


def hold(address, port):
    connection = socket.create_connection((address, port))
    time.sleep(3600)
    connection.close()


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp_segment(source, target, source_port, target_port, flags):
    def build(check):
        return struct.pack("!HHIIBBHHH", source_port, target_port, 0x1000, 0x2000, 5 << 4, flags, 64240, check, 0)

    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 6, 20)
    return build(checksum(pseudo + build(0)))


def icmp_port_unreachable(source, target):
    quoted = struct.pack(
        "!BBHHHBBH4s4sHHHH",
        0x45, 0, 36, 7, 0, 64, 17, 0, socket.inet_aton(target), socket.inet_aton(source), 4000, 4001, 16, 0,
    )
    quoted = quoted[:10] + struct.pack("!H", checksum(quoted[:20])) + quoted[12:]
    message = struct.pack("!BBHI", 3, 3, 0, 0) + quoted
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def stray(source, target):
    def send(protocol, payload):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
        raw.bind((source, 0))
        raw.sendto(payload, (target, 0))
        time.sleep(0.2)

    send(socket.IPPROTO_TCP, tcp_segment(source, target, 443, 50123, 0x12))
    send(socket.IPPROTO_TCP, tcp_segment(source, target, 40000, 80, 0x29))
    send(socket.IPPROTO_ICMP, icmp_port_unreachable(source, target))


COMMANDS = {each.__name__: each for each in (web, abort, silent, echo, talk, hold, stray)}

if __name__ == "__main__":
    name, *words = sys.argv[1:]
    COMMANDS[name](*(int(word) if word.isdigit() else word for word in words))
