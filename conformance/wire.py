"""What the client sent, as Redis saw it, and whether docs/protocol.md lets it."""

import re
import threading
import time

import redis

from conformance.program import Failed

WORDS = {"stop", "start", "reload", "pause", "started"}
FIELDS = {"function", "data", "control"}
WRITES = {"HSET", "HMSET"}
OF_ONE_KEY = {
    "HSET",
    "HMSET",
    "HGET",
    "HMGET",
    "HGETALL",
    "HEXISTS",
    "HDEL",
    "EXPIRE",
    "EXISTS",
    "DEL",
    "UNLINK",
}
PUSHES = {"LPUSH", "RPUSH"}
LINE = re.compile(r"^[0-9.]+ \[\d+ (\S+)\] (.*)$", re.DOTALL)
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}
NAME = "conformance-kit"


class EventStream:
    """MONITOR: every command, from the time it is opened."""

    def __init__(self, url):
        self._client = redis.Redis.from_url(url, client_name=NAME)
        self._connection = self._client.connection_pool.get_connection()
        self._connection.send_command("MONITOR")
        self._connection.read_response()
        self._lines = []  # (address, words)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            while True:
                line = self._connection.read_response(timeout=None, disable_decoding=True)
                found = LINE.match(line.decode(errors="surrogateescape"))
                if found:
                    self._lines.append((found[1], [plain(word) for word in WORD.findall(found[2])]))
        except (redis.RedisError, OSError, ValueError, AttributeError):
            return  # closed

    def up_to_now(self, client):
        """All lines, once a mark that `client` leaves now has come."""
        mark = f"conformance {time.monotonic_ns()}"
        client.echo(mark)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            lines = list(self._lines)
            if any(words[-1:] == [mark] for _, words in reversed(lines)):
                return lines
            time.sleep(0.005)
        raise Failed("MONITOR shows nothing: does the user have that right?")

    def close(self):
        self._connection.disconnect()
        self._client.close()


def plain(word):
    """A word of MONITOR's output as it was sent."""

    def byte(found):
        code = found[1]
        if code[:1] == b"x" and len(code) == 3:
            return bytes([int(code[1:], 16)])
        return ESCAPES.get(code, code)

    raw = ESCAPE.sub(byte, word.encode(errors="surrogateescape"))
    return raw.decode(errors="surrogateescape")


def others(client):
    """The addresses of connections that are not the client's: the workers' and the kit's own."""
    return {one["addr"] for one in client.client_list() if is_ours(one["name"])} | {"lua"}


def is_ours(name):
    """Whether a connection of that name is a worker's, or the kit's own; pytask's client is under test."""
    return name == NAME or (name.startswith("pytask") and name != "pytask-client")


def check(lines, ids, space):
    """Judge the commands that name one of `ids`, whose keys begin with `space(id)`; raises Failed."""
    described = set()
    for words in lines:
        name = words[0].upper()
        if name in OF_ONE_KEY:
            for task_id in ids:
                if words[1].endswith(task_id) and words[1] != space(task_id) + task_id:
                    raise Failed(f"{show(words)}: the key of {task_id} is {space(task_id) + task_id!r}")
            if name in WRITES:
                described |= _check_write(words, ids, space)
        elif name in PUSHES:
            _check_push(words, ids, space, described)
        elif name == "PUBLISH":
            _check_publish(words, ids, space)


def _check_write(words, ids, space):
    written = {task_id for task_id in ids if words[1] == space(task_id) + task_id}
    if written and (foreign := set(words[2::2]) - FIELDS):
        raise Failed(f"{show(words)}: the fields {sorted(foreign)} are the workers' to write")
    return written if "function" in words[2::2] else set()


def _check_push(words, ids, space, described):
    for task_id in set(words[2:]) & set(ids):
        queue = f"{space(task_id)}new-task"
        if words[1] != queue:
            raise Failed(f"{show(words)}: the queue of {task_id} is {queue!r}")
        if words[0].upper() != "LPUSH":
            raise Failed(f"{show(words)}: producers use LPUSH; workers take from the other end")
        if task_id not in described:
            raise Failed(
                f"{show(words)} came before the hash: a worker that is quick finds none, and rejects it"
            )


def _check_publish(words, ids, space):
    for task_id in ids:
        if f"task-{task_id}-control" in words[1]:
            channel = f"{space(task_id)}task-{task_id}-control"
            if words[1] != channel:
                raise Failed(f"{show(words)}: the control channel is {channel!r}")
            if words[2] not in WORDS:
                raise Failed(
                    f"{show(words)}: there are {', '.join(sorted(WORDS))}, and nothing else is heard"
                )


def show(words):
    """A command for people."""
    return " ".join(word if len(word) < 60 else f"{word[:57]}..." for word in words)
