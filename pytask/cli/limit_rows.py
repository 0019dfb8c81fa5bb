"""Limits as rows of the output, and the redis-cli commands for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytask.adapters.keys import Keys
from pytask.cli.printer import Column
from pytask.client.limit_records import LimitInfo
from pytask.domain.limits import check_limit
from pytask.shown.limits import note_of

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.explain_script import Item

LIMITS = (
    Column("entry", "limit of"),
    Column("_limit", "at most"),
    Column("live", "running"),
    Column("waiting", "waiting"),
    Column("_note", "note"),
)


def row(found: LimitInfo) -> dict[str, Any]:
    """The row of a limit."""
    limit = found.in_force
    return {
        "entry": found.entry,
        "kind": str(found.kind),
        "name": found.name,
        "limit": found.limit,
        "default": found.default,
        "invalid": found.invalid or None,
        "live": found.live,
        "waiting": found.waiting,
        "counted": found.counted,
        "_limit": limit if limit is not None else "",
        "_note": note_of(found),
    }


def record(found: LimitInfo) -> dict[str, Any]:
    """The fields of the JSON output."""
    shown = {name: value for name, value in row(found).items() if name[0] != "_"}
    return shown | {"holders": list(found.holders), "waiters": list(found.waiters)}


def lines(found: LimitInfo) -> list[tuple[str, Any]]:
    """The lines of the text output."""
    limit = found.in_force
    more = found.live - len(found.holders)
    left = found.waiting - len(found.waiters)
    return [
        ("limit of", found.entry),
        ("at most", ("as its class says" if found.waiting else "no limit set") if limit is None else limit),
        ("note", note_of(found) or None),
        ("running", found.live),
        ("slots held by", _ids(found.holders, more)),
        ("waiting", found.waiting),
        ("next", _ids(found.waiters, left)),
    ]


def _ids(ids: tuple[str, ...], more: int) -> list[str] | None:
    return [*ids, *([f"and {more} more"] if more > 0 else [])] or None


def list_commands(remote: Remote) -> Iterator[Item]:
    """The redis-cli commands of a list."""
    for space in remote.spaces:
        keys = Keys(space)
        yield ["HGETALL", keys.limits]
        yield ["ZREVRANGE", keys.groups, 0, -1]
        yield "then for each entry SCARD of its slots and ZCARD of its waiting list, for example"
        yield ["SCARD", keys.slots("group:account-17").decode()]
        yield ["ZCARD", keys.line("group:account-17").decode()]


def show_commands(remote: Remote, entry: str) -> Iterator[Item]:
    """The redis-cli commands that show one."""
    for space in remote.spaces:
        keys = Keys(space)
        yield ["HGET", keys.limits, entry]
        yield ["SMEMBERS", keys.slots(entry).decode(errors="replace")]
        yield ["ZRANGE", keys.line(entry).decode(errors="replace"), 0, 19]


def change_commands(remote: Remote, entry: str, limit: int | None) -> Iterator[Item]:
    """The redis-cli commands that change one."""
    if limit is not None:
        check_limit(limit)
    for space in remote.spaces:
        name = Keys(space).limits
        yield ["HDEL", name, entry] if limit is None else ["HSET", name, entry, limit]
    yield "workers notice it within 10 s; the command itself wakes those that wait at once"
