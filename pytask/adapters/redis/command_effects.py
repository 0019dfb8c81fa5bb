"""The effects of a command on its connection."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

# These block at the server; their timeout in seconds is the last argument, or the first one.
LAST = frozenset({"BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX"})
FIRST = frozenset({"BLMPOP", "BZMPOP"})
ACKNOWLEDGED = re.compile("WAIT(AOF)?")  # the last one, in milliseconds
STREAMS = frozenset({"XREAD", "XREADGROUP"})  # BLOCK, in milliseconds, before STREAMS

LISTENS = frozenset({"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR"})
# These change the state of a connection.
STATEFUL = frozenset({"SELECT", "AUTH", "HELLO", "RESET", "QUIT", "MULTI", "PSYNC", "SYNC"})
OF_CLIENT = frozenset({"REPLY", "TRACKING", "SETNAME", "SETINFO", "CACHING", "NO-EVICT", "NO-TOUCH"})
UNWATCHES = frozenset({"EXEC", "DISCARD", "UNWATCH"})

SPECIAL = LAST | FIRST | STREAMS | LISTENS | STATEFUL | UNWATCHES | {"WATCH", "CLIENT"}

# These change nothing beyond the connection, in addition to the read-only commands of the libraries.
SAFE = frozenset(
    {
        "ASKING", "AUTH", "COMMAND", "DISCARD", "ECHO", "HELLO", "INFO", "LASTSAVE", "PFCOUNT", "PING",
        "PSUBSCRIBE", "PUBSUB", "PUNSUBSCRIBE", "READONLY", "READWRITE", "ROLE", "SELECT", "SORT_RO",
        "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE", "TIME", "UNSUBSCRIBE", "UNWATCH", "WATCH", "XINFO",
        "CLIENT GETNAME", "CLIENT ID", "CLIENT INFO", "CLIENT LIST", "CONFIG GET", "MEMORY USAGE",
        "OBJECT ENCODING", "OBJECT FREQ", "OBJECT IDLETIME", "OBJECT REFCOUNT", "SCRIPT EXISTS",
        "SCRIPT LOAD",
    }
)  # fmt: skip


def name_of(words: Sequence[Any]) -> str:
    """The command in capitals; its second word is the next of `words` or in the same string."""
    return _text(words[0]).upper()


def _text(word: Any) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)


def waits(words: Sequence[Any]) -> float:
    """Seconds that the server may block: 0 if it does not, `inf` without a limit."""
    name = name_of(words)
    try:
        if name in LAST:
            return float(words[-1]) or math.inf
        if name in FIRST:
            return float(words[1]) or math.inf
        if ACKNOWLEDGED.fullmatch(name):
            return float(words[-1]) / 1000 or math.inf
        if name in STREAMS:
            return _block_of(words)
    except (ValueError, TypeError, IndexError):
        pass  # the server refuses it
    return 0.0


def _block_of(words: Sequence[Any]) -> float:
    at = _place_of_block(words)
    return float(words[at]) / 1000 or math.inf if at else 0.0


def _place_of_block(words: Sequence[Any]) -> int:
    options = [_text(word).upper() if isinstance(word, str | bytes) else word for word in words[:8]]
    head = options[: options.index("STREAMS")] if "STREAMS" in options else options
    return head.index("BLOCK") + 1 if "BLOCK" in head else 0


def shortened(words: Sequence[Any], seconds: float) -> Sequence[Any]:
    """A command repeated after some seconds, with its timeout reduced accordingly."""
    waits = _block_of(words) if name_of(words) == "XREAD" else 0.0
    if not 0 < waits < math.inf:
        return words
    at = _place_of_block(words)
    return (*words[:at], max(1, int((waits - seconds) * 1000)), *words[at + 1 :])


def sets_state(words: Sequence[Any]) -> bool:
    """Whether the connection is then reserved for this purpose."""
    name, _, second = name_of(words).partition(" ")
    if name == "CLIENT":
        return (second or _text(words[1]).upper() if len(words) > 1 else second) in OF_CLIENT
    return name in STATEFUL


@cache
def _reads(package: str) -> frozenset[str]:
    listed: frozenset[str] = importlib.import_module(f"{package}.commands").READ_COMMANDS
    return listed | SAFE


@lru_cache(maxsize=1024)
def plain(word: Any, package: str) -> bool | None:
    """Whether a command with these first words only reads; None if later words decide."""
    name = name_of([word])
    known = _reads(package)
    if name in SPECIAL or any(one.startswith(f"{name} ") for one in known) or ACKNOWLEDGED.fullmatch(name):
        return None
    return name in known


def only_reads(commands: Sequence[Sequence[Any]], package: str) -> bool:
    """Whether all commands can be repeated without an effect."""
    known = _reads(package)
    names = [name_of(words) for words in commands]
    if len(names) > 1 and (names[0], names[-1]) == ("MULTI", "EXEC"):
        commands, names = commands[1:-1], names[1:-1]
    return all(_is_read(name, words, known) for name, words in zip(names, commands, strict=True))


def _is_read(name: str, words: Sequence[Any], known: frozenset[str]) -> bool:
    if name == "XREAD":
        return not any(
            _text(word) in "$+" for word in words[-8:]
        )  # relative to now, which differs in a repetition
    return name in known or (len(words) > 1 and f"{name} {_text(words[1]).upper()}" in known)


def is_one_step(commands: Sequence[Sequence[Any]]) -> bool:
    """Whether the server executes all or nothing: one command, or a transaction."""
    return len(commands) == 1 or (name_of(commands[0]), name_of(commands[-1])) == ("MULTI", "EXEC")
