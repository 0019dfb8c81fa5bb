"""The options that a clone copies from its client, and those that it does not, with reasons.

All other parameters of the constructors are copied: a test reads their signatures.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

# No clone copies these.
NEVER = {
    "connection_pool": "a clone has a pool of its own",
    "single_connection_client": "the greenlets of a run would read each other's replies",
    "event_dispatcher": "its listeners know one pool: that of a clone would take the place of the user's",
    "cache": "it belongs to the connections that fill it: a clone has one of its own, as it is configured",
    "client_cache": "as cache; valkey-py drops all of it whenever one of its connections ends",
    "himport_registry": "what one client has declared, by its own calls",
    "maint_notifications_pool_handler": "made by the library for one pool",
    "oss_cluster_maint_notifications_handler": "made by the library for one cluster client",
    "maintenance_state": "of one pool, at this moment",
    "maintenance_notification_hash": "of one pool, at this moment",
    "orig_host_address": "a clone has it as its host",
    "orig_socket_timeout": "a clone has it as its socket_timeout",
    "orig_socket_connect_timeout": "a clone has it as its socket_connect_timeout",
}
REPEATS = "a retry inside the library would repeat a claim without our knowing"
CACHES = "a worker acts on what is, not on what was; and a cache needs RESP3"
POOLS = "a limit for tasks must not stop a renewal; one greenlet uses the client"
REPLICAS = "what a replica answers may be old: a worker asks primaries only"
# The clients of the daemon do not copy these either: `own_client` sets them, or they stay unset.
OF_DAEMON = {
    "decode_responses": "scripts answer bytes",
    "encoding": "the words of the protocol are UTF-8",
    "protocol": "under RESP3 redis-py 7 and later hand out a connection that has an unread reply",
    "legacy_responses": "replies are read as RESP2 brings them",
    "socket_timeout": "a call has a hard limit",
    "socket_connect_timeout": "a call has a hard limit",
    "socket_keepalive": "a peer that is gone is noticed",
    "retry": REPEATS,
    "retry_on_timeout": REPEATS,
    "retry_on_error": REPEATS,
    "health_check_interval": "its PING doubles the time of a call; a dead connection is opened again anyway",
    "client_name": "CLIENT LIST names our connections",
    "command_packer": "ours sends what was packed before",
    "max_connections": POOLS,
    "timeout": POOLS,
    "queue_class": POOLS,
    "is_master": REPLICAS,
    "cache_config": CACHES,
    "cache_factory": CACHES,
    "cache_enabled": CACHES,
    "cache_max_size": CACHES,
    "cache_ttl": CACHES,
    "cache_policy": CACHES,
    "cache_deny_list": CACHES,
    "cache_allow_list": CACHES,
    "maint_notifications_config": "needs RESP3",
}
# Arguments that do not belong to a connection, and where a pool or a cluster client stores them.
OF_POOL = {
    "max_connections": "max_connections",
    "timeout": "timeout",
    "queue_class": "queue_class",
    "is_master": "is_master",
    "check_connection": "check_connection",
    "cache_factory": "_cache_factory",
}
OF_CLUSTER = {
    "retry": "retry",
    "cluster_error_retry_attempts": "cluster_error_retry_attempts",
    "reinitialize_steps": "reinitialize_steps",
    "load_balancing_strategy": "load_balancing_strategy",
    "policy_resolver": "_policy_resolver",
}
OF_MANAGER = {
    "require_full_coverage": "_require_full_coverage",
    "dynamic_startup_nodes": "_dynamic_startup_nodes",
    "connection_pool_class": "connection_pool_class",
    "address_remap": "address_remap",
    "maint_notifications_config": "maint_notifications_config",
}


def pool_class(pool: Any) -> Any:
    """The class of a clone's pool.

    A custom class of the user may require other arguments, except for Sentinel, where the library creates it.
    """
    if hasattr(pool, "sentinel_manager"):
        return type(pool)
    return next(cls for cls in type(pool).__mro__ if cls.__module__.partition(".")[0] in ("redis", "valkey"))


def of_pool(pool: Any) -> dict[str, Any]:
    """The arguments for a pool like this one, except its class and that of its connections."""
    given = pool.connection_kwargs
    found = {name: value for name, value in given.items() if name not in NEVER}
    # While a node moves, redis-py stores a temporary address and longer timeouts there.
    for name in ("host_address", "socket_timeout", "socket_connect_timeout"):
        if given.get(f"orig_{name}") is not None:
            found[name.removesuffix("_address")] = given[f"orig_{name}"]
    found |= _kept(pool, OF_POOL)
    found |= _cached(getattr(pool, "cache", None))
    if hasattr(pool, "_maint_notifications_pool_handler"):
        found["maint_notifications_config"] = _maintenance(pool._maint_notifications_pool_handler)  # noqa: SLF001
    return _driver(pool) | found


def _driver(pool: Any) -> dict[str, Any]:
    """What redis-py tells the server of itself, unless the user has given it.

    It reads this from its own metadata on the disk for each connection of a pool that was made from a URL,
    which takes thirty times as long as all else of it (redis-py 7.2 to 8.1: findings).
    """
    named = {"driver_info", "lib_name", "lib_version"} & pool.connection_kwargs.keys()
    if named or not pool.connection_class.__module__.startswith("redis."):
        return {}
    info = _driver_info()
    return {} if info is None else {"driver_info": info}


@cache
def _driver_info() -> Any:
    """None: this version does not know it, and keeps its version in memory."""
    try:
        return importlib.import_module("redis.driver_info").DriverInfo()
    except ImportError:
        return None


def for_daemon(arguments: dict[str, Any]) -> dict[str, Any]:
    """The options that a client of the daemon copies as well."""
    return {k: v for k, v in arguments.items() if k not in NEVER and k not in OF_DAEMON}


def of_cluster(client: Any) -> dict[str, Any]:
    """The arguments for a cluster client like this one, except its nodes."""
    manager = client.nodes_manager
    # A URL sets a db, which the constructor refuses.
    found = {k: v for k, v in manager.connection_kwargs.items() if k not in NEVER and k != "db"}
    found |= _kept(client, OF_CLUSTER) | _kept(manager, OF_MANAGER)
    found |= _cached(getattr(manager, "_cache", None))
    if client.read_from_replicas:
        _read_from_replicas(client, found)
    return found


def _kept(thing: Any, places: dict[str, str]) -> dict[str, Any]:
    """The options that are set: None means unset, and an attribute missing in this version is no option."""
    found = {name: getattr(thing, place, None) for name, place in places.items()}
    return {name: value for name, value in found.items() if value is not None}


def _cached(cache: Any) -> dict[str, Any]:
    return {} if cache is None else {"cache_config": cache.config}


def _maintenance(handler: Any) -> Any:
    """The settings of maintenance notifications; without a handler they were turned off."""
    if handler is not None:
        return handler.config
    return importlib.import_module("redis.maint_notifications").MaintNotificationsConfig(enabled=False)


def _read_from_replicas(client: Any, found: dict[str, Any]) -> None:
    """Use the newer of two names of an option if available: the older one warns."""
    if not hasattr(client, "load_balancing_strategy"):
        found["read_from_replicas"] = True
    elif client.load_balancing_strategy is None:
        library = importlib.import_module("redis.cluster")
        found["load_balancing_strategy"] = library.LoadBalancingStrategy.ROUND_ROBIN
