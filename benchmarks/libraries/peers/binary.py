"""Servers of binary protocols: the part that a client needs for one waiting call."""

from __future__ import annotations

import datetime as dt
import socket
import struct
import threading

from benchmarks.libraries.peers import HOST, Packets, answered, later, serve


class Mqtt(Packets):
    """MQTT 3.1.1: a message of QoS 1 is acknowledged after the delay."""

    def handle(self) -> None:
        while True:
            kind = self.read(1)[0] >> 4
            body = self.read(self.length())
            if kind == 1:
                self.send(b"\x20\x02\0\0")
            elif kind == 3:
                end = 2 + int.from_bytes(body[:2])
                ack = b"\x40\x02" + body[end : end + 2]
                later(body[2:end].decode(), lambda _, ack=ack: self.send(ack))
            elif kind == 12:
                self.send(b"\xd0\0")

    def length(self) -> int:
        number, shift = 0, 0
        while True:
            byte = self.read(1)[0]
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number


class Amqp(Packets):
    """AMQP 0-9-1: a declared queue is confirmed after the delay."""

    def handle(self) -> None:
        from pika import frame, spec

        self.read(8)
        properties = {"capabilities": {}, "product": "bench", "version": "1"}
        self.method(0, spec.Connection.Start(server_properties=properties))
        data = b""
        while chunk := self.request.recv(65536):
            data += chunk
            while (found := frame.decode_frame(data))[1] is not None:
                data = data[found[0] :]
                if isinstance(found[1], frame.Method):
                    self.answer(found[1].channel_number, found[1].method, spec)

    def answer(self, channel: int, method: object, spec: object) -> None:
        simple = {
            "Connection.StartOk": lambda: spec.Connection.Tune(100, 131072, 0),
            "Connection.Open": spec.Connection.OpenOk,
            "Connection.Close": spec.Connection.CloseOk,
            "Channel.Open": spec.Channel.OpenOk,
            "Channel.Close": spec.Channel.CloseOk,
        }
        if method.NAME in simple:
            self.method(channel, simple[method.NAME]())
        elif method.NAME == "Queue.Declare":
            name = method.queue
            later(name, lambda word: self.method(channel, spec.Queue.DeclareOk(name, 0, 0)))

    def method(self, channel: int, method: object) -> None:
        from pika import frame

        self.send(frame.Method(channel, method).marshal())


class Mongo(Packets):
    """MongoDB's OP_MSG: a command may set its delay in `comment`."""

    def handle(self) -> None:
        import bson

        while True:
            size, request, _, _ = struct.unpack("<iiii", self.read(16))
            command = bson.decode(self.read(size - 16)[5:])
            word = answered(str(command.get("comment", "")))
            now = dt.datetime.now(dt.UTC)
            reply = {"ok": 1.0, "word": word, "isWritablePrimary": True, "helloOk": True, "localTime": now}
            reply |= {"minWireVersion": 0, "maxWireVersion": 25, "readOnly": False, "maxWriteBatchSize": 1000}
            reply |= {"maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48 << 20}
            body = struct.pack("<i", 0) + b"\0" + bson.encode(reply)
            self.send(struct.pack("<iiii", 16 + len(body), 1, request, 2013) + body)


class Ldap(Packets):
    """LDAP: a bind, and empty searches with the word as message."""

    def handle(self) -> None:
        while True:
            self.read(1)
            body = self.read(self.length())
            end = 2 + body[1]
            number, verb = body[:end], body[end]
            if verb == 0x60:
                self.send(self.packed(0x30, number + self.packed(0x61, b"\n\1\0\4\0\4\0")))
            elif verb == 0x63:
                later(body.decode("latin-1"), lambda word, number=number: self.done(number, word))

    def done(self, number: bytes, word: str) -> None:
        result = b"\n\1\0\4\0" + self.packed(4, word.encode())
        self.send(self.packed(0x30, number + self.packed(0x65, result)))

    def packed(self, tag: int, data: bytes) -> bytes:
        return bytes([tag, len(data)]) + data

    def length(self) -> int:
        first = self.read(1)[0]
        return first if first < 128 else int.from_bytes(self.read(first - 128))


def mqtt() -> int:
    return serve(Mqtt)


def amqp() -> int:
    return serve(Amqp)


def mongo() -> int:
    return serve(Mongo)


def ldap() -> int:
    return serve(Ldap)


def dns() -> int:
    """Text records over UDP."""
    import dns.message
    import dns.rrset

    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((HOST, 0))

    def answer(data: bytes, address: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name

        def send(word: str) -> None:
            reply = dns.message.make_response(query)
            reply.answer.append(dns.rrset.from_text(name, 0, "IN", "TXT", f'"{word}"'))
            server.sendto(reply.to_wire(), address)

        later(str(name), send)

    def listen() -> None:
        while True:
            answer(*server.recvfrom(4096))

    threading.Thread(target=listen, daemon=True).start()
    return server.getsockname()[1]
