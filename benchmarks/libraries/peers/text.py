"""Servers of text protocols."""

from __future__ import annotations

import gzip
import json
import socket
import socketserver
from collections import deque
from http.server import BaseHTTPRequestHandler

from benchmarks.libraries.peers import HOST, Packets, answered, later, serve

_bodies: deque[str] = deque(maxlen=2000)
_kept: list[socket.socket] = []


class Http(BaseHTTPRequestHandler):
    """Replies with text, JSON below /json, a feed below /feed; /saw/WORD reports whether a body had it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        text = body.decode("latin-1")
        _bodies.append(text)
        if self.path.startswith("/saw/"):
            self.answer(str(any(f"seen {self.path[5:]}" in one for one in _bodies)), "text/plain")
        elif self.path.startswith("/json"):
            word = answered(self.path + text)
            message = {"message_id": 1, "date": 0, "chat": {"id": 1, "type": "private"}, "text": word}
            self.answer(json.dumps({"ok": True, "text": word, "result": message}), "application/json")
        elif self.path.startswith("/feed"):
            title = f"<title>{answered(self.path)}</title>"
            self.answer(f'<rss version="2.0"><channel>{title}</channel></rss>', "application/rss+xml")
        else:
            self.answer(answered(self.path) if "wait-" in self.path else "", "text/plain")

    do_POST = do_PUT = do_GET  # noqa: N815 - the names that the library calls

    def answer(self, text: str, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *words: object) -> None:
        """No access log."""


class Lines(socketserver.StreamRequestHandler):
    """A greeting, and a reply to each line."""

    greeting = ""

    def handle(self) -> None:
        if self.greeting:
            self.say(self.greeting)
        for line in self.rfile:
            if (answer := self.answer(line.decode().strip())) is not None:
                self.say(answer)

    def answer(self, line: str) -> str | None:
        raise NotImplementedError

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class Tcp(Lines):
    def answer(self, line: str) -> str:
        return answered(line)


class Smtp(Lines):
    greeting = "220 here"

    def answer(self, line: str) -> str:
        return "221 bye" if line == "QUIT" else f"250 {answered(line) or 'here'}"


class Pop3(Lines):
    greeting = "+OK here"

    def answer(self, line: str) -> str:
        return f"+OK 1 {answered(line)}"


class Ftp(Lines):
    greeting = "220 here"

    def answer(self, line: str) -> str:
        return {"USER": "331 password", "PASS": "230 welcome"}.get(line[:4], f"213 {answered(line)}")


class Imap(Lines):
    greeting = "* OK [CAPABILITY IMAP4rev1 IDLE] here"

    def answer(self, line: str) -> str:
        tag, _, words = line.partition(" ")
        verb = words.split(" ")[0].upper()
        if verb == "IDLE":
            self.tag = tag
            return "+ idling"
        if tag == "DONE":
            return f"{self.tag} OK done"
        data = {
            "CAPABILITY": "* CAPABILITY IMAP4rev1 IDLE\r\n",
            "SELECT": "* 1 EXISTS\r\n",
            "STATUS": "* STATUS {} (MESSAGES 1)\r\n",
        }.get(verb, "")
        return data.format(answered(line)) + f"{tag} OK done"


class Irc(Lines):
    def answer(self, line: str) -> str | None:
        if line.startswith("USER"):
            return ":here 001 someone :welcome"
        if line.startswith("PRIVMSG"):
            return f":other!o@here PRIVMSG someone :{answered(line)}"
        return None


class Stomp(Packets):
    """Receipts are delayed; other frames of the connection are not."""

    def handle(self) -> None:
        while frame := self.frame():
            verb, *rest = frame.strip("\n\r").split("\n")
            headers = dict(line.strip().split(":", 1) for line in rest if ":" in line)
            if verb.strip() in ("CONNECT", "STOMP"):
                self.send(b"CONNECTED\nversion:1.1\n\n\0")
            elif "receipt" in headers:
                receipt = headers["receipt"]
                later(frame, lambda _, r=receipt: self.send(f"RECEIPT\nreceipt-id:{r}\n\n\0".encode()))

    def frame(self) -> str:
        data = b""
        while (byte := self.read(1)) != b"\0":
            data += byte
        return data.decode()


class Memcached(Lines):
    def answer(self, line: str) -> str | None:
        verb, *words = line.split()
        if verb in ("get", "gets"):
            word = answered(line)
            return f"VALUE {words[0]} 0 {len(word)}\r\n{word}\r\nEND"
        return {"version": "VERSION 1.6.0"}.get(verb)


def http() -> int:
    return serve(type("Handler", (Http,), {"disable_nagle_algorithm": True}))


def tcp() -> int:
    return serve(Tcp)


def smtp() -> int:
    return serve(Smtp)


def pop3() -> int:
    return serve(Pop3)


def ftp() -> int:
    return serve(Ftp)


def imap() -> int:
    return serve(Imap)


def irc() -> int:
    return serve(Irc)


def stomp() -> int:
    return serve(Stomp)


def memcached() -> int:
    return serve(Memcached)


def silent() -> int:
    """A port that accepts connections and never replies."""
    server = socket.create_server((HOST, 0), backlog=256)
    _kept.append(server)
    return server.getsockname()[1]
