"""Schedules as rows and records of the output, and as redis-cli commands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import attrs

from pytask.adapters.keys import Keys
from pytask.cli.connection import Remote
from pytask.cli.data import Data
from pytask.cli.explain_script import ID, Each, Item
from pytask.cli.printer import Column
from pytask.client.schedule_records import ScheduleInfo
from pytask.domain.cron import local_time
from pytask.domain.schedules import DEFINITION, KEPT, Schedule
from pytask.domain.wording import ago
from pytask.shown.schedules import NEXT, moment_text, result_text, state_of
from pytask.terminal import say

SCHEDULES = (
    Column("name", "name"),
    Column("function", "function"),
    Column("when", "when"),
    Column("_next", "next"),
    Column("_last", "last"),
    Column("fires", "fires"),
    Column("_state", "state"),
    Column("overlap", "overlap", wide=True),
    Column("missed", "missed", wide=True),
    Column("origin", "origin", wide=True),
)


def redis_time(remote: Remote) -> float:
    """The clock of Redis, in seconds since 1970."""
    seconds, micros = remote.ask("TIME")
    return int(seconds) + int(micros) / 1e6


def row(found: ScheduleInfo) -> dict[str, Any]:
    """The row of a list."""
    now = time.time()
    return {
        **_plain(found),
        "when": found.words,
        "_next": "" if found.next is None else f"in {ago(max(0.0, found.next - now))}",
        "_last": "" if found.last is None else f"{ago(now - found.last)} ago",
        "_state": state_of(found),
    }


def record(found: ScheduleInfo, now: float) -> dict[str, Any]:
    """The JSON of one schedule."""
    data = None if found.raw_data is None else found.raw_data.decode(errors="replace")
    return {
        **_plain(found),
        "when": found.words,
        "upcoming": found.upcoming(NEXT, now),
        "data": data,
        "occurrences": [attrs.asdict(one) for one in found.occurrences],
    }


def _plain(found: ScheduleInfo) -> dict[str, Any]:
    return attrs.asdict(
        found,
        filter=attrs.filters.exclude(
            attrs.fields(ScheduleInfo).raw_data, attrs.fields(ScheduleInfo).occurrences
        ),
    )


def lines(found: ScheduleInfo, now: float, number: int) -> list[tuple[str, str]]:
    """The text of one schedule."""
    shown = [("name", found.name), ("function", found.function), ("when", found.words)]
    if found.error:
        shown.append(("error", f"{found.error}; it starts nothing until it is corrected"))
    elif found.paused:
        shown.append(("paused", "yes: its occurrences are skipped"))
    seconds = {"jitter": found.jitter, "deadline": found.deadline}
    shown += [(name, f"{value} s") for name, value in seconds.items() if value]
    shown += [("overlap", found.overlap), ("missed", found.missed), ("origin", found.origin or "by hand")]
    shown.append(("fires", str(found.fires)))
    if found.behind is not None:
        waits = f"{local_time(found.behind, found.tz)} waits until the last run has ended"
        shown.append(("behind", waits))
    coming = found.upcoming(NEXT, now)
    for at, moment in enumerate(coming):
        shown.append(("" if at else "next", moment_text(moment, found.tz, now)))
    for at, one in enumerate(found.occurrences[:number]):
        shown.append(("" if at else "past", result_text(one, found.tz)))
    return shown


def say_next(made: Schedule, now: float) -> None:
    """Say when a schedule is due, so that a mistake is seen at once."""
    times = islice(made.times(round(now * 1000)), NEXT)
    say(
        "\n".join(
            [
                f"{made.words()}; the next times:",
                *(f"  {moment_text(at / 1000, made.tz, now)}" for at in times),
            ]
        )
    )


# -- --explain ----------------------------------------------------------------------------------------------


def list_commands(remote: Remote, limit: int) -> Iterator[Item]:
    """Names by their next time, then the hash of each."""
    for space in remote.spaces:
        keys = Keys(space)
        yield "names with their next time, in ms since 1970"
        yield ["ZRANGE", keys.schedules, 0, limit - 1, "WITHSCORES"]
        yield Each([["ZRANGE", keys.schedules, 0, limit - 1]], [["HGETALL", keys.schedule(ID)]])


def show_commands(remote: Remote, name: str) -> Iterator[Item]:
    """Its time, its hash, its past."""
    keys = Keys(remote.space_of(name))
    yield "the next time, in ms since 1970"
    yield ["ZSCORE", keys.schedules, name]
    yield ["HGETALL", keys.schedule(name)]
    yield "what became of the last occurrences, newest first"
    yield ["LRANGE", keys.occurrences(name), 0, KEPT - 1]


def add_commands(remote: Remote, made: Schedule, data: Data) -> Iterator[Item]:
    """The hash, and 0 in place of a time: a worker computes that."""
    keys = Keys(remote.space_of(made.name))
    words = [word for pair in made.fields().items() for word in pair]
    if data.value is not None:
        words += ["data", data.text]
    yield ["HDEL", keys.schedule(made.name), *DEFINITION, "data"]
    yield ["HSET", keys.schedule(made.name), *words]
    yield "a worker computes the first time, and starts nothing yet"
    yield ["ZADD", keys.schedules, 0, made.name]


def change_commands(remote: Remote, name: str, word: str) -> Iterator[Item]:
    """Pause, resume, remove."""
    keys = Keys(remote.space_of(name))
    if word == "paused":
        yield ["HSET", keys.schedule(name), "paused", 1]
    elif word == "resumed":
        yield ["HDEL", keys.schedule(name), "paused", "error"]
        yield "a worker computes the next time"
        yield ["ZADD", keys.schedules, 0, name]
    else:
        yield ["ZREM", keys.schedules, name]
        yield ["DEL", keys.schedule(name), keys.occurrences(name)]
