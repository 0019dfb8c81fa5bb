"""A producer, controller and watcher on plain sockets: Python 3.8 or newer, no library.

    python client.py URL NAMESPACE PARTITIONS

It speaks the kit's line protocol (conformance/README.md) on standard input and output.
"""

import json
import socket
import sys
import threading
import time
from urllib.parse import unquote, urlsplit

WORDS = ("stop", "start", "reload", "pause")


# -- Redis, as little of it as is needed --------------------------------------------------------------------


class Connection:
    """RESP2 over one socket."""

    def __init__(self, url):
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port or 6379))
        self._file = self._socket.makefile("rb")
        if parts.password:
            self.call(*filter(None, ("AUTH", parts.username, unquote(parts.password))))

    def send(self, *words):
        raw = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        head = b"*%d\r\n" % len(raw)
        self._socket.sendall(head + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in raw))

    def read(self):
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        return [self.read() for _ in range(int(rest))]

    def call(self, *words):
        self.send(*words)
        return self.read()

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


# -- names --------------------------------------------------------------------------------------------------


def crc16(data):
    """CRC-16/XMODEM."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def namespace_of(namespace, partition, partitions):
    if partitions == 1:
        return namespace
    before, opened, rest = namespace.partition("{")
    tag, closed, after = rest.partition("}")
    if opened and closed and tag:
        return f"{before}{{{tag}:{partition}}}{after}"
    return f"{namespace}{{{partition}}}:"


class Names:
    """Keys and channels of a namespace with its partitions."""

    def __init__(self, namespace, partitions):
        self.spaces = [namespace_of(namespace, number, partitions) for number in range(partitions)]

    def space(self, task_id):
        return self.spaces[crc16(task_id.encode()) % len(self.spaces)]

    def task_of(self, channel):
        for space in self.spaces:
            if channel.startswith(space + "task-"):
                return channel[len(space + "task-") :]
        return None


# -- the client ---------------------------------------------------------------------------------------------


class Client:
    """The verbs; one connection for commands, and one for each watch."""

    def __init__(self, url, names, say):
        self._url = url
        self._names = names
        self._say = say
        self._redis = Connection(url)
        self._watches = []

    def where(self, task_id):
        return [self._names.space(task_id)]

    def start(self, task_id, function, *data):
        """The hash first, the push last: a worker may take the id at once."""
        space = self._names.space(task_id)
        fields = ["function", function, *(("data", data[0]) if data else ())]
        self._redis.call("HSET", space + task_id, *fields)
        self._redis.call("LPUSH", space + "new-task", task_id)
        return []

    def update(self, task_id, data):
        self._redis.call("HSET", self._names.space(task_id) + task_id, "data", data)
        return []

    def control(self, task_id, word):
        if word not in WORDS:
            raise ValueError("there are " + ", ".join(WORDS))
        channel = f"{self._names.space(task_id)}task-{task_id}-control"
        self._redis.call("PUBLISH", channel, word)
        return []

    def get(self, task_id, field):
        value = self._redis.call("HGET", self._names.space(task_id) + task_id, field)
        return [] if value is None else [value.decode()]

    def remove(self, task_id):
        self._redis.call("DEL", self._names.space(task_id) + task_id)
        return []

    def watch(self, task_id):
        """The events of a task, or of all for `*`."""
        if task_id == "*":
            words = ["PSUBSCRIBE", *(pattern(space) + "task-*" for space in self._names.spaces)]
        else:
            words = ["SUBSCRIBE", f"{self._names.space(task_id)}task-{task_id}"]
        self._watches.append(Watch(self._url, words, self._on_message, lambda: self._say("gap")))
        return []

    def unwatch(self):
        for watch in self._watches:
            watch.close()
        self._watches = []
        return []

    def _on_message(self, channel, payload):
        task_id = self._names.task_of(channel.decode())
        try:
            event = json.loads(payload)
        except ValueError:
            return  # a control message: `task-*` matches those channels, too
        if task_id is not None and isinstance(event, dict) and "event" in event:
            self._say("event", task_id, payload.decode())


def pattern(text):
    """`text` as a glob that matches nothing else."""
    return "".join("\\" + char if char in "\\*?[]" else char for char in text)


class Watch:
    """A subscription that is made anew when its connection is lost; what came meanwhile is not known."""

    def __init__(self, url, words, on_message, on_gap):
        self._url = url
        self._words = words
        self._on_message = on_message
        self._on_gap = on_gap
        self._closed = False
        self._subscribe()
        threading.Thread(target=self._run, daemon=True).start()

    def _subscribe(self):
        self._connection = Connection(self._url)
        self._connection.send(*self._words)
        for _ in self._words[1:]:
            self._connection.read()

    def _run(self):
        while True:
            try:
                while True:
                    *_, channel, payload = self._connection.read()
                    self._on_message(channel, payload)
            except (OSError, ValueError):
                if self._closed:
                    return
            while True:
                try:
                    self._subscribe()
                    break
                except OSError:
                    time.sleep(0.1)
            self._on_gap()

    def close(self):
        self._closed = True
        self._connection.close()


# -- the kit's line protocol --------------------------------------------------------------------------------


def escaped(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def main(url, namespace, partitions):
    lock = threading.Lock()

    def say(*words):
        with lock:
            sys.stdout.write("\t".join(words) + "\n")
            sys.stdout.flush()

    client = Client(url, Names(namespace, int(partitions)), say)
    for line in sys.stdin:
        verb, *words = line.rstrip("\n").split("\t")
        try:
            answer = getattr(client, verb)(*words)
        except Exception as error:
            say("error", escaped(f"{type(error).__name__}: {error}"))
        else:
            say("ok", *map(escaped, answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
