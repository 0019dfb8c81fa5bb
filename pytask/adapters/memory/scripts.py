"""The scripts that clients send, carried out by the verbs of the in-memory store.

A client sends a digest, keys and arguments.  The declaration of the script gives them their names again: see
`pytask.adapters.redis.lua`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from pytask.adapters.decoding import text
from pytask.adapters.memory.client_verbs import ClientVerbs
from pytask.adapters.memory.state import MemoryState
from pytask.adapters.memory.store import MemoryStore
from pytask.adapters.redis import scripts
from pytask.adapters.redis.lua import EACH, FIXED, FLAG, NUMBER, ONE, SENT, TABLES, Script
from pytask.adapters.rules import Retention
from pytask.domain.errors import Refused
from pytask.domain.firing import Definition
from pytask.domain.messages import Command
from pytask.domain.record import Expiry
from pytask.domain.schedules import DEFINITION

Given = Mapping[str, Any]
WHO = 3  # the place of the client's name in a line of the history without its time


class Scripts:
    """Executes scripts by their digest."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._known: dict[str, tuple[Script[..., Any], Callable[[Given], Any]]] = {}

    def run(self, digest: str, key_count: int, words: Sequence[Any]) -> Any:
        """The reply of a script."""
        if not self._known:
            for name in vars(type(self)):
                if name.startswith("do_"):
                    one = getattr(scripts, name.removeprefix("do_"))
                    self._known[one.source[1]] = one, getattr(self, name)
        if digest not in self._known:
            raise Refused("the in-memory backend does not know this script: clients do not send it")
        one, run = self._known[digest]
        found = run(given(one, words[:key_count], words[key_count:]))
        return [_word(part) for part in found] if isinstance(found, list) else _word(found)

    def _store(self, asked: Given, line: str = "line", drop: str = "drop") -> MemoryStore:
        kept = Retention(stopped=0 if asked.get(drop) else None, history=int(asked["kept"]))
        store = MemoryStore(self._state, kept)
        who = str(asked[line]).split(" ")[WHO]
        store.who = "" if who == "-" else unquote(who, errors="surrogateescape")
        return store

    def _client(self) -> ClientVerbs:
        return ClientVerbs(self._state, Retention())

    # -- the scripts ----------------------------------------------------------------------------------

    def do_enqueue(self, asked: Given) -> Any:
        """Start tasks."""
        return self._client().enqueue(
            asked["func"],
            [text(raw) for raw in asked["hashes"]],
            [_bytes(raw) for raw in asked["data"]],
            asked["starts"],
            check=asked["check"],
            finished=asked["finished"],
        )

    def do_update(self, asked: Given) -> Any:
        """New data."""
        return self._client().update(text(asked["hash"]), _bytes(asked["data"]))

    def do_functions(self, asked: Given) -> Any:
        """Names of functions."""
        return self._client().functions([text(raw) for raw in asked["hashes"]], int(asked["longest"]))

    def do_remove(self, asked: Given) -> Any:
        """Delete tasks."""
        return self._client().remove(asked["ids"], asked["states"])

    def do_limit(self, asked: Given) -> Any:
        """Set a limit."""
        return self._client().limit(text(asked["entry"]), asked["value"])

    def do_stop(self, asked: Given) -> Any:
        """Stop tasks."""
        return self._store(asked).control(Command.STOP, asked["ids"], asked["ages"])

    def do_start(self, asked: Given) -> Any:
        """Start tasks again."""
        fresh = asked["fresh"]
        return self._store(asked).control(Command.START, asked["ids"], asked["ages"], fresh=fresh)

    def do_pause(self, asked: Given) -> Any:
        """Pause tasks."""
        return self._store(asked).control(Command.PAUSE, asked["ids"], asked["ages"])

    def do_request(self, asked: Given) -> Any:
        """Ask the owners of runs."""
        return self._store(asked).control(Command(asked["request"]), asked["ids"], fresh=asked["fresh"])

    def do_hold_functions(self, asked: Given) -> Any:
        """Pause functions."""
        names = [text(name) for name in asked["functions"]]
        found = MemoryStore(self._state, Retention()).hold_functions(names, resume=asked["resume"])
        return [int(changed) for changed in found]

    def do_expire(self, asked: Given) -> Any:
        """Take dead runs from their workers."""
        store = self._store(asked, "waiting_line", "stopped_drop")
        fields = (asked[name] for name in ("ids", "old_runs", "seen", "crashes", "poison", "proven"))
        found = [
            Expiry(id=i, run=run, seen=int(seen), crashes=int(crashes), poison=poison, proven=proven)
            for i, run, seen, crashes, poison, proven in zip(*fields, strict=True)
        ]
        return store.expire(found, asked["server"])

    def do_define_schedule(self, asked: Given) -> Any:
        """Make a schedule, or change it."""
        timetable = MemoryStore(self._state, Retention()).schedules
        fields = dict(zip(DEFINITION, asked["values"], strict=True))
        name, data = text(asked["name"]), _bytes(asked["data"])
        how = {"origin": asked["origin"], "lost": asked["lost"], "marker": asked["known_marker"]}
        return timetable.define(Definition(name=name, fields=fields, data=data, **how))

    def do_pause_schedule(self, asked: Given) -> Any:
        """Pause a schedule, or resume it."""
        timetable = MemoryStore(self._state, Retention()).schedules
        return timetable.pause(text(asked["name"]), paused=asked["paused"])

    def do_remove_schedule(self, asked: Given) -> Any:
        """Delete a schedule."""
        return MemoryStore(self._state, Retention()).schedules.remove(text(asked["name"]))


def given(one: Script[..., Any], keys: Sequence[Any], args: Sequence[Any]) -> dict[str, Any]:
    """The words of a call by the names of its parameters."""
    found: dict[str, Any] = {}
    lists = one.names("KEYS", EACH)
    each = (len(keys) - one.head("KEYS")) // len(lists) if lists else 0
    for of, words in zip(TABLES, (keys, args), strict=True):
        left = list(words)

        def take(count: int, left: list[Any] = left) -> list[Any]:
            taken, left[:] = left[:count], left[count:]
            return taken

        for name in one.names(of, ONE):
            found[name] = _read(one, name, take(1)[0])
        for name in one.names(of, FIXED):
            found[name] = take(one.kinds[name].fixed)
        sent = one.names(of, SENT)
        counts = {name: int(take(1)[0]) * one.kinds[name].width for name in sent[:-1]}
        for name in one.names(of, EACH):
            found[name] = [_read(one, name, word) for word in take(each)]
        for name in sent:
            found[name] = take(counts.get(name, len(left)))
    return found


def _read(one: Script[..., Any], name: str, word: Any) -> Any:
    how = one.kinds[name].read
    if how == FLAG:
        return word == "1"
    return float(word) if how == NUMBER else word


def _bytes(word: Any) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def _word(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value
