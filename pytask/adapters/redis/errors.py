"""Translates errors of the client libraries and of Redis into those of pytask, in this one place."""

from __future__ import annotations

import re

from pytask.adapters.redis.acl import missing
from pytask.domain.errors import (
    Denied,
    FailoverSuspected,
    Refused,
    StoreError,
    Unavailable,
    WrongKeyType,
)

OF_CLASSES = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "MovedError": "MOVED",  # before its base class
    "AskError": "ASK",
    "TryAgainError": "TRYAGAIN",
    "MasterDownError": "MASTERDOWN",  # before its base class
    "ClusterDownError": "CLUSTERDOWN",
}
REMEDIES = {
    "OOM": "Raise maxmemory of the server, or delete finished tasks",
    "READONLY": "This is a replica: connect to its primary (`pytask doctor` names it), or through Sentinel",
    "MISCONF": "The server cannot save its data: free disk space, and check its log",
    "NOREPLICAS": "Too few replicas are connected for min-replicas-to-write: restore them",
    "BUSY": "A script blocks the server: SCRIPT KILL ends it, if it has written nothing",
    "MOVED": "This is a node of a cluster: use redis+cluster:// and a hash-tagged namespace like {pytask}:",
    "MASTERDOWN": "This is a replica that has lost its primary: connect to the primary, or through Sentinel",
    "CLUSTERDOWN": "A hash slot of the cluster has no node: check CLUSTER INFO",
}
REFUSALS = (
    "OOM",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    "BUSY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "MOVED",
    "ASK",
    "TRYAGAIN",
)
ANSWER_SHOWN = 60  # characters shown of a reply that is not from Redis
LOADING = (
    "Redis has started and is still loading its data from disk (LOADING). Nothing is lost: wait until"
    " `redis-cli INFO persistence` says loading:0, and retry; a worker waits by itself"
)
# What surrounds the error of a command in a script: before it in 6.2, behind it in 7 and newer.
IN_SCRIPT = re.compile(
    r"^Error running script \(call to \S+\): @user_script:\s?\d+: (@user_script: \d+: )?-?"
    r"| script:( \w+,)? on @user_script:\d+\.?$"
)
# A right that the caller of a script lacks: the texts of 6.2, then of 7 and newer.
SCRIPT_DENIALS = ("The user executing the script can't", "ACL failure in script")


def translate(error: Exception, script: tuple[str, str] = ("", "")) -> Exception:  # noqa: PLR0911 - one a kind of error
    """The pytask error for an error of the client library; other errors are returned unchanged.

    `script` is the name and the text of the failed script: Redis 6.2 reports a line, but no command.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    text = str(error)
    no_right = "NoPermissionError" in names or _says(text, "NOPERM", *SCRIPT_DENIALS)
    if (
        no_right
        or names & {"AuthenticationError", "AuthorizationError"}
        or _says(text, "NOAUTH", "WRONGPASS")
    ):
        fix = missing(text, *_place(text, script)) if no_right else ""
        return Denied(f"Redis denies {'a right' if no_right else 'access'}: {text}{fix}")
    if _says(text, "OTHERSERVER"):
        return FailoverSuspected(f"a different server answered: {text}")
    if "WRONGTYPE" in text:
        return WrongKeyType(f"one of pytask's own keys has another type: {text}")
    if "InvalidResponse" in names:
        return Unavailable(_no_redis(text))
    if isinstance(error, RecursionError):
        return Unavailable(_no_redis("b'replies within replies, too deep to be read'"))
    if "BusyLoadingError" in names or _says(text, "LOADING"):
        return Unavailable(LOADING)
    word = _word(names, text)
    if word:
        return Refused(_refusal(word, text), word)
    if names & {"ConnectionError", "TimeoutError", "OSError"}:
        return Unavailable(f"no answer from Redis: {text or type(error).__name__}")
    if names & {"RedisError", "ValkeyError"}:
        return Refused(f"Redis refuses: {text}")
    return error


def _no_redis(text: str) -> str:
    """The error for a server that is not Redis, with the beginning of its reply as reported by redis-py."""
    found = re.search(r"b'(.*)'|b\"(.*)\"|got (\".*?\")", text)
    said = next((part for part in found.groups() if part), "") if found else ""
    cut = said if len(said) <= ANSWER_SHOWN else f"{said[:ANSWER_SHOWN]}…"
    return (
        f"the server at this address is not Redis: it answers {cut or 'something else'!r}. Correct the"
        " address: the default port of Redis is 6379"
    )


def _word(names: set[str], text: str) -> str:
    """The error code of the server, which the libraries remove; "" if it is unknown."""
    word = next((word for name, word in OF_CLASSES.items() if name in names), "")
    return word or next((word for word in REFUSALS if _says(text, word)), "")


def _refusal(word: str, text: str) -> str:
    """The text of a refusal, with the error code of the server first, and the remedy."""
    remedy = f". {REMEDIES[word]}" if word in REMEDIES else ""
    said = IN_SCRIPT.sub("", text).rstrip(".")
    return f"Redis refuses: {said if _says(said, word) else f'{word} {said}'}{remedy}"


def _place(text: str, script: tuple[str, str]) -> tuple[str, str]:
    name, source = script
    found = re.search(r"user_script:\s?(\d+)", text)
    lines = source.splitlines()
    return (name, lines[int(found[1]) - 1]) if found and 0 < int(found[1]) <= len(lines) else ("", "")


def _says(text: str, *words: str) -> bool:
    # Anywhere in the text: Redis 6.2 wraps the error of a script in another one.
    return any(re.search(rf"\b{word}\b", text) for word in words)


def is_store_error(error: Exception) -> bool:
    """Whether an error is, or was caused by, one of Redis."""
    return isinstance(translate(error), StoreError)
