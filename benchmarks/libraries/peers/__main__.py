"""Start the named servers, print their ports as JSON, and exit at the end of standard input."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable

from benchmarks.libraries.peers import binary, bots, full, services, text

KINDS: dict[str, Callable[[], int]] = {
    "http": text.http,
    "tcp": text.tcp,
    "smtp": text.smtp,
    "pop3": text.pop3,
    "imap": text.imap,
    "ftp": text.ftp,
    "irc": text.irc,
    "stomp": text.stomp,
    "memcached": text.memcached,
    "silent": text.silent,
    "mqtt": binary.mqtt,
    "amqp": binary.amqp,
    "mongo": binary.mongo,
    "ldap": binary.ldap,
    "dns": binary.dns,
    "zmq": full.zmq,
    "grpc": full.grpc,
    "ssh": full.ssh,
    "mysql": full.mysql,
    "websocket": full.websocket,
    "nats": services.nats,
    "rabbit": services.rabbit,
    "discord": bots.discord,
}

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # it ends the servers that it started
    print(json.dumps({name: KINDS[name]() for name in sys.argv[1:]}), flush=True)
    sys.stdin.read()
