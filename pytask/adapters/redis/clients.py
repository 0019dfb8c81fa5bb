"""Independent connections, cloned from the user's client, which is compatible with redis-py."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from pytask import files
from pytask.adapters.redis import cloned_options, option_checks, tokens
from pytask.adapters.redis.address import hide_password, plain
from pytask.adapters.redis.errors import translate
from pytask.adapters.redis.packing import Packer
from pytask.adapters.redis.sentinels import Sentinels
from pytask.adapters.redis.slot_client import Address, SlotClient, Topology
from pytask.adapters.redis.support import PACKAGES, is_cluster, package_of
from pytask.domain.errors import (
    ConfigError,
    StoreError,
    Unavailable,
)
from pytask.domain.partition import SLOTS, crc16, hash_tag


def open_client(source: Any, **of_cluster: Any) -> Any:
    """`source` itself if it is a client, or a new client for a URL.

    A cluster client connects at once, with the given options.  Raises `ConfigError`, and `Unavailable` or
    `Denied` if no node of the cluster accepts the connection.
    """
    if not isinstance(source, str):
        package_of(source)
        return source
    redis = importlib.import_module("redis")
    url, clustered = plain(source)
    try:
        option_checks.check_url(url)
        if clustered:
            option_checks.check_cluster_url(url)
            return redis.RedisCluster.from_url(url, **of_cluster)
        made = redis.Redis.from_url(url)
        option_checks.check_made(made, source)
    except ConfigError:
        raise
    except TypeError as error:
        raise option_checks.bad_option(source, error) from None
    except ValueError:
        # The text of the library would repeat parts of the URL, possibly of the password.
        raise ConfigError(
            f"cannot use the Redis URL {hide_password(source)!r}: it must be like"
            " redis://user:password@host:6379/0, rediss://... or unix:///path/to/socket, of a cluster"
            " redis+cluster://host:6379; write special characters of a password as %2F (/), %40 (@), %3A (:)"
        ) from None
    except Exception as error:
        raise _no_cluster(error) if clustered else error from error
    return made


def _no_cluster(error: Exception) -> Exception:
    """The error that prevented the library from reaching a cluster."""
    if "not enabled" in str(error):
        return ConfigError("this Redis is not a cluster: write its address with redis://, without +cluster")
    for one in (error.__cause__, error):
        ours = translate(one) if isinstance(one, Exception) else None
        if isinstance(ours, StoreError):
            return ours
    return Unavailable(f"no answer from the cluster: {error}")


def _same(cls: Any) -> Any:
    return cls


def clone(client: Any, pools: Callable[[Any], Any] = _same, cluster: Callable[[Any], Any] = _same) -> Any:
    """A client for task code, with its own pool and the options of `client` (`carried`).

    `pools` and `cluster` return the class to use instead of that of the library.
    """
    if is_cluster(client):
        return _clone_cluster(client, pools, cluster)
    pool = client.connection_pool
    own = _with_pool(client, pools(cloned_options.pool_class(pool)), cloned_options.of_pool(pool))
    dict.update(own.response_callbacks, client.response_callbacks)  # the update method takes 0.3 ms
    return own


def _with_pool(client: Any, pool_class: Any, kwargs: dict[str, Any], walk: float | None = None) -> Any:
    """A plain client on a new pool; `walk` is the time for asking all sentinels, in seconds."""
    package, pool = package_of(client), client.connection_pool
    tokens.share(kwargs, client)
    if hasattr(pool, "sentinel_manager"):
        kwargs["connection_class"] = _safe_class(pool.connection_class)
        manager = Sentinels(pool.sentinel_manager, walk)
        own = pool_class(pool.service_name, manager, **kwargs)
    else:
        own = pool_class(connection_class=pool.connection_class, **kwargs)
    tokens.follow(own)
    library = importlib.import_module(package)
    plain = library.Redis if package == "redis" else library.Valkey
    return plain(connection_pool=own)


def topology_of(client: Any) -> Topology:
    """The known nodes of a cluster client."""
    manager = client.nodes_manager
    known = [*manager.startup_nodes.values(), *manager.nodes_cache.values()]
    remap = getattr(manager, "remap_host_port", lambda host, port: (host, port))
    return Topology(list(dict.fromkeys((node.host, int(node.port)) for node in known)), remap)


def slot_client(  # noqa: PLR0913 - as own_client, and where
    client: Any,
    namespace: str,
    topology: Topology,
    *,
    timeout: float,
    name: str,
    connect_timeout: float | None = None,
) -> SlotClient:
    """The daemon's client for the slot of a hash-tagged namespace in a cluster."""
    # The client of any node has the class, the TLS settings and the password of all.
    package = package_of(client)
    client_of = getattr(client, f"get_{package}_connection")
    sample = client_of(next(iter(client.nodes_manager.nodes_cache.values())))
    hook = {f"{package}_connect_func": _connect_hook(client)}

    def connect(address: Address, limit: float | None) -> Any:
        host, port = address
        longest = timeout if limit is None else limit
        connecting = longest if connect_timeout is None else min(longest, connect_timeout)
        return own_client(
            sample, timeout=longest, name=name, connect_timeout=connecting, host=host, port=port, **hook
        )

    slot = crc16(hash_tag(namespace).encode()) % SLOTS
    return SlotClient(slot, topology, connect, timeout, packs=_may_pack(sample))


def _connect_hook(cluster: Any) -> Callable[[Any], None] | None:
    """The connect hook of a connection to one node: the user's function, after the handshake.

    The hook of the cluster client would also send READONLY, after which a replica serves reads.
    """
    func = cluster.user_on_connect_func
    if func is None:
        return None

    def on_connect(connection: Any) -> None:
        connection.on_connect()
        func(connection)

    return on_connect


def own_client(
    client: Any, *, timeout: float, name: str, connect_timeout: float | None = None, **of_node: Any
) -> Any:
    """A clone for the daemon itself: bytes, hard time limits, no retries by the library.

    A retry inside the library would repeat a claim unnoticed; RESP2 keeps the protection against unread
    replies that redis-py 7 and later disable under RESP3.
    """
    package, pool = package_of(client), client.connection_pool
    retry = importlib.import_module(f"{package}.retry")
    backoff = importlib.import_module(f"{package}.backoff")
    kwargs = cloned_options.for_daemon(cloned_options.of_pool(pool))
    # A unix socket does not have this option and does not need it.
    if not _is_unix(client):
        kwargs["socket_keepalive"] = True
    if _may_pack(client):
        kwargs["command_packer"] = Packer()
    kwargs |= {
        "decode_responses": False,
        "encoding": "utf-8",
        "protocol": 2,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout if connect_timeout is None else connect_timeout,
        "retry": retry.Retry(backoff.NoBackoff(), 0),
        "retry_on_timeout": False,
        "retry_on_error": [],
        "health_check_interval": 0,
        "client_name": name,
        **of_node,
    }
    sentinel = hasattr(pool, "sentinel_manager")
    pool_class = (
        cloned_options.pool_class(pool) if sentinel else importlib.import_module(package).ConnectionPool
    )
    own = _with_pool(client, pool_class, kwargs, kwargs["socket_connect_timeout"])
    if hasattr(own.connection_pool.connection_class, "_connect"):
        own.connection_pool.connection_class = files.reserved(own.connection_pool.connection_class)
    return own


def packs(client: Any) -> bool:
    """Whether a client of the daemon can send prepacked commands (`packing.Packed`)."""
    if isinstance(client, SlotClient):
        return client.packs
    pool = getattr(client, "connection_pool", None)
    return isinstance(getattr(pool, "connection_kwargs", {}).get("command_packer"), Packer)


def _may_pack(client: Any) -> bool:
    # Connections of the library pack commands; a fake or custom one may not.
    cls = getattr(getattr(client, "connection_pool", None), "connection_class", type(None))
    return cls.__module__.partition(".")[0] in PACKAGES


def _is_unix(client: Any) -> bool:
    return "path" in getattr(getattr(client, "connection_pool", None), "connection_kwargs", {})


def _clone_cluster(client: Any, pools: Callable[[Any], Any], cluster: Callable[[Any], Any]) -> Any:
    manager, package = client.nodes_manager, package_of(client)
    kwargs = cloned_options.of_cluster(client)
    # The client stored its own method there, which would repeat the handshake.
    kwargs[f"{package}_connect_func"] = client.user_on_connect_func
    tokens.share(kwargs, client)
    # The connections are those of its nodes.
    nodes = [type(node)(node.host, node.port) for node in manager.startup_nodes.values()]
    if getattr(manager, "from_url", False):
        # Its nodes were created in another way, which requires a URL.
        tls = "SSL" in getattr(kwargs.pop("connection_class", None), "__name__", "")
        scheme = "rediss" if tls else "redis"
        kwargs["url"] = f"{scheme}://{nodes[0].host}:{nodes[0].port}"
    if pools is not _same:
        library = importlib.import_module(package)
        kwargs["connection_pool_class"] = pools(kwargs.get("connection_pool_class", library.ConnectionPool))
    own = cluster(type(client))(startup_nodes=nodes, **kwargs)
    own.read_from_replicas = client.read_from_replicas
    return own


_safe_classes: dict[type, type] = {}


def _safe_class(base: type) -> type:
    """`base` that drops its connection whenever reading a reply is interrupted.

    The Sentinel connections of redis-py keep it, so a greenlet killed during a command leaves its reply to
    the next command (redis-py#4292).
    """
    if base not in _safe_classes:

        def read_response(self: Any, *args: Any, **kwargs: Any) -> Any:
            kwargs["disconnect_on_error"] = True
            return base.read_response(self, *args, **kwargs)  # type: ignore[attr-defined]

        _safe_classes[base] = type(f"Safe{base.__name__}", (base,), {"read_response": read_response})
    return _safe_classes[base]


def disconnect(client: Any) -> None:
    """Drop the connections of a clone."""
    if isinstance(client, SlotClient):
        client.disconnect()
    elif is_cluster(client):
        client.disconnect_connection_pools()
    else:
        client.connection_pool.disconnect()
