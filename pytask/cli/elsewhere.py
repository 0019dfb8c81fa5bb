"""Finds pytask data in other dbs of the server and in other namespaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pytask.adapters import decoding
from pytask.adapters.keys import Keys
from pytask.adapters.redis import clients, support
from pytask.adapters.redis.address import in_db
from pytask.cli.connection import Remote

STEPS = 10  # calls of SCAN
STEP = 1000  # keys per call
MOST = 3  # places that are reported


def elsewhere(remote: Remote, dbs: Sequence[int]) -> Iterator[tuple[str, list[str]]]:
    """(description, flags to reach it) of places that have or had workers."""
    if remote.partition_count > 1 or support.is_cluster(remote.client):
        return
    url = remote.setting("redis_url").value
    space = ["--namespace", remote.namespace] if remote.namespace else []
    for number in dbs:
        if _has(remote, number, Keys(remote.namespace)):
            yield f"db {number}", ["--redis", in_db(url, number), *space]
    flags = remote.flags
    if "--namespace" in flags:
        at = flags.index("--namespace")
        del flags[at : at + 2]
    for name in _namespaces(remote):
        yield f"the namespace {name!r}", [*flags, "--namespace", name]


def _has(remote: Remote, number: int, keys: Keys) -> bool:
    timeout, connecting = remote.timeouts
    other: Any = clients.own_client(
        remote.client, timeout=timeout, connect_timeout=connecting, name="pytask-cli", db=number
    )
    try:
        return bool(other.execute_command("EXISTS", keys.workers, keys.runs, keys.queue, *keys.indexes))
    except Exception:  # noqa: BLE001 - one that we may not look into is none that can be named
        return False
    finally:
        clients.disconnect(other)


def _namespaces(remote: Remote) -> list[str]:
    found: set[str] = set()
    cursor = 0
    for _ in range(STEPS):
        cursor, names = remote.ask("SCAN", cursor, "MATCH", "*pytask:workers", "COUNT", STEP)
        found.update(decoding.text(name).removesuffix("pytask:workers") for name in names)
        if not int(cursor):
            break
    return sorted(found - {remote.namespace})[:MOST]
