"""One total order of everything that changed a task, written by Redis itself to the stream `pytask:audit`.

The shim is wrapped around the scripts of the workers and around the few scripts by which the test itself
writes, so nothing changes a task beside the record; `Replay` would see the gap if something did.
"""

import hashlib
import threading
import time
from pathlib import Path
from typing import NamedTuple

from pytask.adapters.redis import lua, scripts

STREAM = "pytask:audit"
HEAD = Path(__file__).with_name("shim.lua").read_text()
TAIL = Path(__file__).with_name("shim_end.lua").read_text()
UNIT, LINE = "\x1f", "\x1e"


class View(NamedTuple):
    """What Redis says of a task at one moment; empty strings stand for what is not there."""

    state: str = ""
    run: str = ""
    epoch: str = ""
    crashes: str = ""
    control: str = ""
    registered: str = ""  # its run in pytask:runs
    lease: str = ""  # its score in pytask:leases


class Change(NamedTuple):
    """What one script did to one id."""

    id: str
    named: bool  # the arguments named the run that was registered
    before: View | None  # None: a plain renewal, in which only the lease moved
    after: View


class Entry(NamedTuple):
    """What one script did."""

    at: int  # CLOCK_MONOTONIC, ns, when the test read it: at or after the moment it happened
    source: str  # "worker", "test" (zombies made by the test) or "client"
    verb: str
    changes: tuple[Change, ...] = ()
    verdicts: tuple[str, ...] = ()
    queued: tuple[str, ...] = ()  # ids that were put into the queue
    notes: tuple[str, ...] = ()


def wrapped(text, verb, source):
    """The text of a script with the shim around it."""
    tail = TAIL.replace("@RENEW@", scripts.renew.locals)
    return HEAD.replace("@SOURCE@", source).replace("@VERB@", verb) + text + tail


def wrap_store(source):
    """From now on every script of this process's stores writes its audit."""
    plain = lua.load

    def load(script):
        text = wrapped(plain(script)[0], script.name, source)
        return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    lua.load = load
    for script in lua.declared(scripts):
        script.__dict__.pop("source", None)


def read_change(line):
    words = line.split(UNIT)
    if len(words) == 4:
        return Change(words[0], words[1] == "1", None, View(run=words[2], registered=words[3]))
    return Change(words[0], words[1] == "1", View(*words[2:9]), View(*words[9:16]))


def read_entry(fields, at):
    """The entry of a stream's fields (text)."""
    return Entry(
        at,
        fields["s"],
        fields["v"],
        tuple(read_change(line) for line in fields["c"].split(LINE) if line),
        tuple(fields["r"].split()),
        tuple(word for word in fields["q"].split(LINE) if word),
        tuple(fields["n"].split()),
    )


class Recorder:
    """Reads the stream as it grows, keeps every entry, and shortens the stream behind itself."""

    def __init__(self, connect, on_entry=lambda _entry: None):
        self._client = connect(socket_timeout=3)
        self._last = "0"
        self._lock = threading.Lock()
        self.on_entry = on_entry
        self.entries = []

    def drain(self):
        """Read what is there; the number of entries.  Raises what the client raises."""
        with self._lock:
            reply = self._client.xread({STREAM: self._last}, count=2000)
            found = (
                (reply.get(STREAM) or [[]])[0] if isinstance(reply, dict) else reply[0][1] if reply else []
            )
            self._take(found)
            if found:
                self._client.xtrim(STREAM, minid=self._last, approximate=True)
            return len(found)

    def _take(self, found):
        now = time.monotonic_ns()
        for name, fields in found:
            entry = read_entry(fields, now)
            self._last = name
            self.entries.append(entry)
            self.on_entry(entry)

    def flush_all(self, client):
        """FLUSHALL, with the rest of the stream saved in the same atomic step."""
        script = (
            f"local rest = redis.call('XRANGE', '{STREAM}', ARGV[1], '+') redis.call('FLUSHALL')"
            f" redis.call('XADD', '{STREAM}', '1-1', 's', 'client', 'v', 'flush', 'c', '', 'r', '', 'q', '',"
            " 'n', 'flush') return rest"
        )
        with self._lock:
            first = f"({self._last}" if self._last != "0" else "-"
            rest = client.eval(script, 0, first)
            pairs = [(name, dict(zip(flat[::2], flat[1::2], strict=True))) for name, flat in rest]
            self._take(pairs)
            self._last = "0"
