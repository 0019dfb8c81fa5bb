"""A name server that knows one name: `python tests/support/dns.py ADDRESS NAME IP`, port 53."""

import socket
import struct
import sys

A, FOUND, NO_SUCH_NAME = 1, 0x8180, 0x8183


def question(packet):
    """(name, type, where it ends) of the first question."""
    labels, at = [], 12
    while size := packet[at]:
        labels.append(packet[at + 1 : at + 1 + size].decode())
        at += size + 1
    return ".".join(labels), struct.unpack(">H", packet[at + 1 : at + 3])[0], at + 5


def answer(packet, known, ip):
    """The known name has one IPv4 address, and no others; any other name does not exist."""
    name, kind, end = question(packet)
    found = name.lower() == known and kind == A
    head = struct.pack(">HHHHH", FOUND if name.lower() == known else NO_SUCH_NAME, 1, int(found), 0, 0)
    record = b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 1, 4) + socket.inet_aton(ip) if found else b""
    return packet[:2] + head + packet[12:end] + record


def main(address, known, ip):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        while True:
            packet, peer = server.recvfrom(4096)
            server.sendto(answer(packet, known, ip), peer)


if __name__ == "__main__":
    main(*sys.argv[1:])
