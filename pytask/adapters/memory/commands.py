"""The commands with which clients read Redis, on the data of the in-memory store.

Only those that clients send, in the form in which they send them; the replies are those of Redis, as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, TypeVar, cast

from pytask.adapters.decoding import raw_of, text
from pytask.adapters.memory.backend import MemoryFeed
from pytask.adapters.memory.keyspace import Hash, Keyspace, Scores
from pytask.adapters.memory.state import MemoryState, encoded
from pytask.domain.errors import Refused, WrongKeyType

T = TypeVar("T")
Words = Sequence[Any]


class Commands:
    """Executes a command; raises `Refused` for one that it does not know."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._keys = Keyspace(state)

    def run(self, words: Words) -> Any:
        """The reply of a command: its name, then the arguments."""
        known = getattr(self, f"do_{str(words[0]).lower()}", None)
        if known is None:
            raise Refused(f"the in-memory backend has no command {words[0]!r}: use a server for it")
        return known(*words[1:])

    def _of(self, kind: type[T], key: Any) -> T:
        found = self._keys.value(text(key))
        if found is None:
            return kind()
        if not isinstance(found, kind):
            raise WrongKeyType(f"the key {text(key)!r} has another type")
        return found

    def _hash(self, key: Any) -> Hash:
        return cast("Hash", self._of(dict, key))

    def _scores(self, key: Any) -> Scores:
        return cast("Scores", self._of(dict, key))

    def _list(self, key: Any) -> list[bytes]:
        return self._of(list, key)

    def _set(self, key: Any) -> set[str]:
        return self._of(set, key)

    # -- hashes ---------------------------------------------------------------------------------------

    def do_hget(self, key: Any, field: Any) -> bytes | None:
        """A field."""
        return self._hash(key).get(text(field))

    def do_hmget(self, key: Any, *fields: Any) -> list[bytes | None]:
        """Some fields."""
        found = self._hash(key)
        return [found.get(text(field)) for field in fields]

    def do_hgetall(self, key: Any) -> list[bytes]:
        """All fields."""
        return [word for name, value in self._hash(key).items() for word in (raw_of(name), value)]

    def do_hlen(self, key: Any) -> int:
        """How many fields."""
        return len(self._hash(key))

    # -- lists ----------------------------------------------------------------------------------------

    def do_llen(self, key: Any) -> int:
        """How many entries."""
        return len(self._list(key))

    def do_lrange(self, key: Any, first: Any, last: Any) -> list[bytes]:
        """The entries of a range."""
        return _range(self._list(key), int(first), int(last))

    def do_lindex(self, key: Any, at: Any) -> bytes | None:
        """One entry."""
        return next(iter(_range(self._list(key), int(at), int(at))), None)

    def do_lpos(self, key: Any, entry: Any, *options: Any) -> int | None:
        """Where an entry is."""
        given = dict(zip(options[::2], options[1::2], strict=True))
        ids = self._list(key)
        places = range(len(ids)) if given.get("RANK", 1) > 0 else range(len(ids) - 1, -1, -1)
        most = int(given.get("MAXLEN", 0)) or len(ids)
        return next((at for at in places[:most] if ids[at] == _raw(entry)), None)

    # -- sorted sets ----------------------------------------------------------------------------------

    def do_zcard(self, key: Any) -> int:
        """How many members."""
        return len(self._scores(key))

    def do_zscore(self, key: Any, member: Any) -> bytes | None:
        """The score of a member."""
        return _score(self._scores(key).get(text(member)))

    def do_zmscore(self, key: Any, *members: Any) -> list[bytes | None]:
        """The scores of some members."""
        found = self._scores(key)
        return [_score(found.get(text(member))) for member in members]

    def do_zcount(self, key: Any, low: Any, high: Any) -> int:
        """How many members have a score in a range."""
        return sum(_within(score, low, high) for score in self._scores(key).values())

    def do_zrevrange(self, key: Any, first: Any, last: Any, *options: Any) -> list[bytes]:
        """The members of a range, the one with the highest score first."""
        return _members(_range(_falling(self._scores(key)), int(first), int(last)), options)

    def do_zrevrangebyscore(self, key: Any, high: Any, low: Any, *options: Any) -> list[bytes]:
        """The members with a score in a range."""
        found = [entry for entry in _falling(self._scores(key)) if _within(entry[1], low, high)]
        if "LIMIT" in options:
            at = options.index("LIMIT")
            first, most = map(int, options[at + 1 : at + 3])
            found = found[first : first + most]
        return _members(found, options)

    def do_zscan(self, key: Any, _cursor: Any, *_options: Any) -> list[Any]:
        """All members, in one step."""
        return [b"0", _members(_falling(self._scores(key)), ("WITHSCORES",))]

    # -- sets -----------------------------------------------------------------------------------------

    def do_scard(self, key: Any) -> int:
        """How many members."""
        return len(self._set(key))

    def do_sismember(self, key: Any, member: Any) -> int:
        """Whether it is one of them."""
        return int(text(member) in self._set(key))

    def do_srandmember(self, key: Any, count: Any) -> list[bytes]:
        """Some members."""
        return [raw_of(name) for name in sorted(self._set(key))[: int(count)]]

    def do_sscan(self, key: Any, _cursor: Any, *_options: Any) -> list[Any]:
        """All members, in one step."""
        return [b"0", [raw_of(name) for name in sorted(self._set(key))]]

    # -- the server -----------------------------------------------------------------------------------

    def do_scan(self, _cursor: Any, *options: Any) -> list[Any]:
        """The keys of all hashes that begin as the pattern does, in one step."""
        given = dict(zip(options[::2], options[1::2], strict=True))
        fits = matcher(given["MATCH"])
        return [b"0", [raw_of(key) for key in self._keys.hashes() if fits(key)]]

    def do_time(self) -> list[bytes]:
        """Its clock."""
        seconds, micros = divmod(self._state.micros(), 1_000_000)
        return [encoded(seconds), encoded(micros)]

    def do_info(self, *_sections: Any) -> bytes:
        """What it says of itself."""
        return b"redis_version:7.4.0\r\nredis_mode:memory\r\nmaster_replid:%b\r\n" % encoded(
            self._state.server
        )

    def do_ping(self) -> bytes:
        """That it is there."""
        return b"PONG"

    def do_publish(self, channel: Any, payload: Any) -> int:
        """Tell whoever listens."""
        self._state.publish(text(channel), _raw(payload))
        return len(self._state.listeners)

    def do_pubsub(self, _what: Any, channel: Any) -> list[Any]:
        """How many workers listen: each subscribes to all that workers are told."""
        feeds = [
            one for one in self._state.listeners if isinstance(getattr(one, "__self__", None), MemoryFeed)
        ]
        return [_raw(channel), len(feeds)]


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name fits a pattern of pytask: literal text, then perhaps a star."""
    literal = pattern.removesuffix("*").replace("\\", "")
    if pattern.endswith("*"):
        return lambda name: name.startswith(literal)
    return lambda name: name == literal


def _raw(word: Any) -> bytes:
    return raw_of(word) if isinstance(word, str) else encoded(word)


def _score(score: float | None) -> bytes | None:
    if score is None:
        return None
    return b"%d" % score if score.is_integer() else repr(score).encode()


def _range(found: list[T], first: int, last: int) -> list[T]:
    count = len(found)
    begin, end = (at + count if at < 0 else at for at in (first, last))
    return found[max(0, begin) : max(0, end + 1)]


def _falling(scores: Scores) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda entry: (entry[1], raw_of(entry[0])), reverse=True)


def _members(found: Sequence[tuple[str, float]], options: Sequence[Any]) -> list[bytes]:
    if "WITHSCORES" in options:
        return list(chain.from_iterable((raw_of(name), _score(score) or b"0") for name, score in found))
    return [raw_of(name) for name, _ in found]


def _within(score: float, low: Any, high: Any) -> bool:
    above = score > float(low[1:]) if _open(low) else score >= float(low)
    return above and (score < float(high[1:]) if _open(high) else score <= float(high))


def _open(bound: Any) -> bool:
    return isinstance(bound, str) and bound.startswith("(")
