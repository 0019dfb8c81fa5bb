"""The inner class `Config` of a task class, and how it is read and checked."""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import Any

from pytask.domain.errors import BadTaskClass
from pytask.domain.limits import MOST, WHOLE, Rule
from pytask.domain.restarts import LONGEST, Restart


class TaskConfig:
    """The configuration of a task class, in its inner class `Config`.

    Attributes:
        NAME: Required: the name of the task on the wire, 1 to 512 bytes.
        DATA: An attrs class, dataclass or TypedDict that the data must fit; by default any JSON object.
        UNKNOWN_KEYS: "refuse" (default) or "ignore": keys of the data for which `DATA` has no field.
        REDIS_WAIT: How long `self.redis` waits for an unreachable Redis: True (default) as long as the run
            lives, False not at all, or seconds.
        START_RATE: Tasks of this class that one worker may start per second; the others wait.  No limit by
            default.
        SECRET: Fields of the data that the command line masks, and errors and log lines hide, such as
            `("password", "api.token")`.  A name without a dot is a key at any depth, a path starts at the
            top.  Users with access to Redis can still read them.
        RESTART: A `pytask.Restart`: when the task runs again after a run has failed or ended.  Never by
            default: a failure makes it ERROR.
        TIMEOUT: Seconds of one run, after which it is stopped and counts as failed.  No limit by default.
        LIMIT: How many runs of this class all workers together may have at a time; the others wait.
        GROUP: Where in the data the group of a task is, as "tenant" or "api.tenant": a text or a whole
            number.  The field `group` of its hash comes before it.
        GROUP_LIMIT: How many runs of one group all workers together may have at a time.
        RATE: `(n, seconds)`: all workers together start at most n tasks of this class in that time.
    """


FASTEST = 100_000  # starts a second: a rate counts in microseconds
OPTIONS = (
    "NAME", "DATA", "UNKNOWN_KEYS", "REDIS_WAIT", "START_RATE", "SECRET", "RESTART", "TIMEOUT",
    "LIMIT", "GROUP", "GROUP_LIMIT", "RATE",
)  # fmt: skip


def check_config(cls: type[Any]) -> None:
    """Raise :class:`BadTaskClass`, with the fix, for an invalid value and for a misspelled option."""
    name = cls.__qualname__
    _check_spelling(cls)
    how = getattr(cls.Config, "UNKNOWN_KEYS", "refuse")
    if how not in ("refuse", "ignore"):
        raise BadTaskClass(f"Config.UNKNOWN_KEYS of {name} must be 'refuse' or 'ignore', not {how!r}")
    wait = getattr(cls.Config, "REDIS_WAIT", True)
    if not isinstance(wait, int | float) or wait < 0:
        raise BadTaskClass(f"Config.REDIS_WAIT of {name} must be True, False or seconds, not {wait!r}")
    start_rate(cls)
    secret_fields(cls)
    restart_policy(cls)
    run_timeout(cls)
    limits_of(cls)


def _check_spelling(cls: type[Any]) -> None:
    """Refuse a name like `TIMOUT`, unless the option that it resembles is set, too."""
    names = {name for name in dir(cls.Config) if name[0] != "_"}
    for name in sorted(names.difference(OPTIONS)):
        near = get_close_matches(name.upper(), OPTIONS, n=1, cutoff=0.8)
        if near and near[0] not in names:
            raise BadTaskClass(
                f"Config.{name} of {cls.__qualname__} is not an option of pytask; did you mean {near[0]}?"
                " An attribute of your own needs a less similar name"
            )


def ignores_unknown(cls: type[Any]) -> bool:
    """Whether keys of the data without a field in `Config.DATA` are ignored instead of refused."""
    return bool(getattr(cls.Config, "UNKNOWN_KEYS", "refuse") == "ignore")


def redis_wait(cls: type[Any]) -> float:
    """Seconds that `self.redis` waits for an unreachable Redis."""
    given = getattr(cls.Config, "REDIS_WAIT", True)
    return (math.inf if given else 0.0) if isinstance(given, bool) else float(given)


def secret_fields(cls: object) -> tuple[str, ...]:
    """The names and paths in `Config.SECRET`; raises :class:`BadTaskClass` if it is invalid."""
    given = getattr(getattr(cls, "Config", None), "SECRET", ())
    fields = (given,) if isinstance(given, str) else given
    usable = isinstance(fields, tuple | list) and all(isinstance(one, str) for one in fields)
    if not usable or not all(all(one.split(".")) for one in fields):
        raise BadTaskClass(
            f"Config.SECRET of {getattr(cls, '__qualname__', cls)} must name fields of the data, as in"
            f" ('password', 'api.token'), not {given!r}"
        )
    return tuple(fields)


def start_rate(cls: type[Any]) -> float | None:
    """`Config.START_RATE`, starts per second on one worker; raises :class:`BadTaskClass` if it is invalid."""
    rate = getattr(cls.Config, "START_RATE", None)
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not (rate > 0 and math.isfinite(rate)):
        raise BadTaskClass(
            f"Config.START_RATE of {cls.__qualname__} must be a number of starts per second above 0, not"
            f" {rate!r}"
        )
    return float(rate)


def data_class(cls: type[Any]) -> Any:
    """The class to which the data is converted: `Config.DATA`, or None."""
    return getattr(cls.Config, "DATA", None)


def restart_policy(cls: type[Any]) -> Restart | None:
    """`Config.RESTART`; raises :class:`BadTaskClass` if it is invalid."""
    given = getattr(cls.Config, "RESTART", None)
    if given is None or isinstance(given, Restart):
        return given
    raise BadTaskClass(
        f"Config.RESTART of {cls.__qualname__} must be a pytask.Restart, not {given!r}: write"
        " RESTART = Restart('failure') or Restart('always'), with the import `from pytask import Restart`"
    )


def run_timeout(cls: type[Any]) -> float | None:
    """`Config.TIMEOUT`, seconds of one run; raises :class:`BadTaskClass` if it is invalid."""
    given = getattr(cls.Config, "TIMEOUT", None)
    if given is None:
        return None
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not 0 < given <= LONGEST:  # a NaN is neither
        raise BadTaskClass(
            f"Config.TIMEOUT of {cls.__qualname__} must be seconds above 0, at most {LONGEST:.0f} (366 days),"
            f" or None for no limit, not {given!r}"
        )
    return float(given)


def limits_of(cls: type[Any]) -> Rule:
    """`Config.LIMIT`, `GROUP`, `GROUP_LIMIT` and `RATE`; raises :class:`BadTaskClass` if one is invalid."""
    return Rule(
        limit=_limit(cls, "LIMIT"), group_limit=_limit(cls, "GROUP_LIMIT"), rate=_rate(cls), path=_path(cls)
    )


def _limit(cls: type[Any], option: str) -> int | None:
    given = getattr(cls.Config, option, None)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not 0 < given <= MOST:
        raise BadTaskClass(
            f"Config.{option} of {cls.__qualname__} must be {WHOLE}, from 1 to {MOST}, or None for no limit,"
            f" not {given!r}"
        )
    return given


def _rate(cls: type[Any]) -> tuple[int, float] | None:
    given = getattr(cls.Config, "RATE", None)
    if given is None:
        return None
    pair = given if isinstance(given, tuple | list) and len(given) == len(("n", "seconds")) else (None, None)
    count, seconds = pair
    whole = isinstance(count, int) and not isinstance(count, bool) and 0 < count <= MOST
    timed = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= LONGEST
    if not whole or not timed or count / seconds > FASTEST:
        raise BadTaskClass(
            f"Config.RATE of {cls.__qualname__} must be (starts, seconds), two numbers above 0, as in"
            f" (100, 60), at most {FASTEST:,} a second, or None for no limit, not {given!r}"
        )
    return count, float(seconds)


def _path(cls: type[Any]) -> tuple[str, ...]:
    given = getattr(cls.Config, "GROUP", None)
    if given is None:
        return ()
    if not isinstance(given, str) or not all(given.split(".")):
        raise BadTaskClass(
            f"Config.GROUP of {cls.__qualname__} must name a field of the data, as in 'tenant' or"
            f" 'api.tenant', not {given!r}. The group of one task is given by its start: start(group=...)"
        )
    return tuple(given.split("."))
