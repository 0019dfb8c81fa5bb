"""Checks the settings of a server for those that may lose acknowledged writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytask.adapters import decoding
from pytask.adapters.redis import errors, support
from pytask.domain.errors import Refused, StoreError
from pytask.domain.record import Risk

MAX_LAG = 10  # seconds for which an isolated primary accepts writes
IDLE = 60  # seconds for which a connection of pytask may be idle
NAMES = (
    "min-replicas-to-write",
    "min-replicas-max-lag",
    "maxmemory-policy",
    "appendonly",
    "timeout",
    "proto-max-bulk-len",
)
Words = Mapping[str, str]


def risks(client: Any, *, max_data: int = 0) -> list[Risk]:
    """The risky settings of the server of `client`; in a cluster, of any primary."""
    if not support.is_cluster(client):
        risks = _risks_of(client, max_data, alone=support.stands_alone(client))
        return [*risks, *_of_channels(client)]
    found: dict[str, Risk] = {}
    for node in client.get_primaries():
        for risk in _risks_of(client.get_redis_connection(node), max_data, alone=False):
            found.setdefault(risk.code, risk)
    return list(found.values())


def _risks_of(client: Any, max_data: int, *, alone: bool) -> list[Risk]:
    try:
        info = decoding.info(client.execute_command("INFO", "replication"))
    except Exception as error:  # noqa: BLE001 - sorted out there
        return _unseen(
            error, "PT071", "INFO", "a failover cannot be detected, so claims are not paused after it"
        )
    try:
        settings = {name: _setting(client, name) for name in NAMES}
    except Exception as error:  # noqa: BLE001 - sorted out there
        return _unseen(error, "PT070", "CONFIG GET", "the settings of the server cannot be checked")
    has_replicas = info.get("connected_slaves", "0") != "0"
    return [
        *_of_role(info),
        *_of_replication(settings, replicated=has_replicas or not alone),
        *_of_memory_and_disk(settings),
        *_of_fullness(decoding.info(client.execute_command("INFO", "memory"))),
        *_of_connections(settings, max_data),
    ]


def _of_channels(client: Any) -> list[Risk]:
    try:
        client.execute_command("PUBSUB", "CHANNELS", "pytask:none")
    except Exception as error:  # noqa: BLE001 - sorted out there
        so = "it cannot be checked whether workers with another db number receive the same control messages"
        return _unseen(error, "PT139", "PUBSUB CHANNELS", so)
    return []


def _unseen(error: Exception, code: str, command: str, so: str) -> list[Risk]:
    ours = errors.translate(error)
    if not isinstance(ours, StoreError):
        raise error
    if not isinstance(ours, Refused) and "NOPERM" not in str(error) and "permission" not in str(error):
        raise ours from error
    word = command.lower().replace(" ", "|")
    return [Risk(code=code, what=f"{command} is not allowed here: {so}", fix=f"ACL SETUSER <user> +{word}")]


def _of_role(info: Words) -> Iterator[Risk]:
    if info.get("role") in ("slave", "replica"):
        yield Risk(
            code="PT072",
            what="this server is a read-only replica: nothing can be claimed or renewed here",
            fix=f"connect to its primary {info.get('master_host', '?')}:{info.get('master_port', '?')},"
            " or through Sentinel",
        )


def _of_replication(settings: Words, *, replicated: bool) -> Iterator[Risk]:
    wanted = _number(settings.get("min-replicas-to-write"))
    if replicated and wanted == 0:
        yield Risk(
            code="PT073",
            what="a failover can lose acknowledged writes (min-replicas-to-write is 0): after each failover"
            " no tasks are claimed for the whole embargo, and an isolated primary keeps accepting claims",
            fix="CONFIG SET min-replicas-to-write 1",
        )
    lag = _number(settings.get("min-replicas-max-lag"))
    if wanted and (lag is None or lag > MAX_LAG or lag == 0):
        yield Risk(
            code="PT074",
            what="an isolated primary keeps accepting writes for"
            f" {lag or 'any number of'} s (min-replicas-max-lag)",
            fix=f"CONFIG SET min-replicas-max-lag {MAX_LAG}",
        )


def _of_memory_and_disk(settings: Words) -> Iterator[Risk]:
    policy = settings.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        yield Risk(
            code="PT075",
            what=f"a full server silently deletes tasks (maxmemory-policy is {policy})",
            fix="CONFIG SET maxmemory-policy noeviction",
        )
    if settings.get("appendonly") == "no":
        yield Risk(
            code="PT076",
            what="a restart of the server loses tasks or restores old ones (appendonly is no)",
            fix="CONFIG SET appendonly yes",
        )


def _of_fullness(info: Words) -> Iterator[Risk]:
    limit, used = _number(info.get("maxmemory")), _number(info.get("used_memory")) or 0
    used -= _number(info.get("mem_not_counted_for_evict")) or 0
    if limit and used >= limit and info.get("maxmemory_policy") == "noeviction":
        yield Risk(
            code="PT052",
            what=f"the server is full: {used:,} of {limit:,} bytes are used (maxmemory). Starts and claims"
            " are refused; running tasks continue, and can be stopped",
            fix=f"CONFIG SET maxmemory {2 * used}",
        )


def _of_connections(settings: Words, max_data: int) -> Iterator[Risk]:
    idle = _number(settings.get("timeout"))
    if idle is not None and 0 < idle < IDLE:
        yield Risk(
            code="PT077",
            what=f"the server closes connections that are idle for {idle} s (timeout); pytask's are idle for"
            " longer",
            fix="CONFIG SET timeout 0",
        )
    bulk = _number(settings.get("proto-max-bulk-len"))
    if bulk is not None and bulk < max_data:
        yield Risk(
            code="PT078",
            what=f"the server accepts at most {bulk} bytes (proto-max-bulk-len), but max_data is {max_data}",
            fix=f"CONFIG SET proto-max-bulk-len {max_data}",
        )


def _setting(client: Any, name: str) -> str:
    reply = client.execute_command("CONFIG GET", name)
    values = reply.values() if isinstance(reply, Mapping) else reply[1::2]
    return "".join(decoding.shown(value) for value in values)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
