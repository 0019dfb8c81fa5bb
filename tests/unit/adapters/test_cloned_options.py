"""Whatever a client carries survives cloning: each argument of each constructor, by its signature.

An argument of a later release fails here, until it has a sample below, and is carried, or is listed with a
reason in `pytask.adapters.redis.cloned_options`.
"""

import importlib
import inspect
import queue
import re
import ssl
import warnings
from functools import partial

import pytest
import redis
import redis.sentinel
import valkey
import valkey.sentinel
from redis.backoff import NoBackoff
from redis.cache import CacheConfig, CacheFactory, DefaultCache
from redis.credentials import UsernamePasswordCredentialProvider
from redis.driver_info import DriverInfo
from redis.event import EventDispatcher
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from pytask.adapters.redis import clients, cloned_options

CACHE = CacheConfig(max_size=17)
SAMPLES = {
    "host": "h", "port": 1234, "db": 3, "username": "u", "password": "p", "client_name": "mine",
    "credential_provider": UsernamePasswordCredentialProvider("u", "p"),
    "socket_timeout": 7, "socket_connect_timeout": 8, "socket_read_size": 4096, "socket_keepalive": False,
    "socket_keepalive_options": {1: 2}, "socket_type": 5, "health_check_interval": 9,
    "retry": Retry(NoBackoff(), 7), "retry_on_timeout": True, "retry_on_error": [OSError],
    "encoding": "latin-1", "encoding_errors": "ignore", "decode_responses": True,
    "driver_info": DriverInfo("mine"), "lib_name": "mine", "lib_version": "7", "charset": "latin-1",
    "errors": "ignore", "parser_class": redis._parsers._RESP3Parser, "command_packer": object(),
    "redis_connect_func": len, "valkey_connect_func": len,
    "protocol": 3, "legacy_responses": False, "max_connections": 5, "timeout": 6,
    "queue_class": queue.Queue, "connection_class": redis.SSLConnection,
    "ssl": True, "ssl_keyfile": "k", "ssl_certfile": "c", "ssl_cert_reqs": "none", "ssl_ca_certs": "a",
    "ssl_ca_path": "d", "ssl_ca_data": "x", "ssl_check_hostname": False, "ssl_password": "q",
    "ssl_validate_ocsp": True, "ssl_validate_ocsp_stapled": True, "ssl_ocsp_context": object(),
    "ssl_ocsp_expected_cert": "e", "ssl_min_version": ssl.TLSVersion.TLSv1_3, "ssl_ciphers": "ALL",
    "ssl_include_verify_flags": [ssl.VerifyFlags.VERIFY_X509_STRICT],
    "ssl_exclude_verify_flags": [ssl.VerifyFlags.VERIFY_X509_STRICT],
    "unix_socket_path": "/s", "path": "/s", "event_dispatcher": EventDispatcher(),
    "cache": DefaultCache(CACHE), "cache_config": CACHE, "cache_factory": CacheFactory(CACHE),
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    "cache_enabled": True, "client_cache": object(), "cache_max_size": 11, "cache_ttl": 12,
    "cache_policy": "lfu", "cache_deny_list": ["X"], "cache_allow_list": ["Y"],
    "is_master": False, "check_connection": True,
}  # fmt: skip
# Under another name where the library keeps them.
PLACES = {
    "lib_name": "driver_info", "lib_version": "driver_info", "charset": "encoding",
    "errors": "encoding_errors", "unix_socket_path": "path", "retry_on_timeout": "retry_on_error",
}  # fmt: skip
# No setting of a client, or of it alone: nothing can be given, or nothing would be kept.
NO_EFFECT = {(redis.Redis, "retry_on_timeout")}  # since redis-py 6
OFF_IN_BOTH = {"maint_notifications_config"}
NOT_GIVEN = cloned_options.NEVER.keys() - {"event_dispatcher", "cache", "client_cache"}
RESP3 = {"protocol": 3}
WITH = dict.fromkeys(("cache", "cache_config", "cache_factory", "maint_notifications_config"), RESP3)
WITH["cache_factory"] = RESP3 | {"cache_config": CACHE}
WITH["parser_class"] = RESP3


def sentinel_pool(library, **kwargs):
    manager = library.sentinel.Sentinel([("127.0.0.1", 1)], min_other_sentinels=2)
    return library.sentinel.SentinelConnectionPool("m", manager, **kwargs)


def plain(library):
    return library.Redis if library is redis else library.Valkey


def hidden(cls):
    """What a constructor takes out of its **kwargs."""
    return re.findall(r'kwargs\.pop\(\s*"(\w+)"', inspect.getsource(cls.__init__))


def named(*classes):
    """The names of the arguments that may be given to a client."""
    every = [name for cls in classes for name in parameters(cls)]
    left_out = NOT_GIVEN | {name for cls, name in NO_EFFECT if cls in classes}
    return [name for name in dict.fromkeys(every) if name not in left_out]


def parameters(cls):
    """Those of a constructor, and of the ones that its **kwargs go to."""
    found = []
    for base in cls.__mro__[:-1]:
        if "__init__" in vars(base):
            own = inspect.signature(base.__init__).parameters.values()
            found += [p.name for p in own if p.name != "self" and p.kind is not p.VAR_KEYWORD]
            if not any(p.kind is p.VAR_KEYWORD for p in own):
                break
    return found


def makers(library):
    """Each way to a client: the arguments that it takes, and what makes one."""
    client, pool, blocking = plain(library), library.ConnectionPool, library.BlockingConnectionPool
    tcp, tls, unix = library.Connection, library.SSLConnection, library.UnixDomainSocketConnection
    own = library.sentinel.SentinelConnectionPool
    of = lambda cls, **more: lambda **given: client(connection_pool=cls(**{**more, **given}))  # noqa: E731
    return {
        "client": (named(client), lambda **given: client(**ssl_of(given), **given)),
        "pool": (named(pool, tcp), of(pool)),
        "blocking pool": (named(blocking), of(blocking)),
        "tls": (named(tls), of(pool, connection_class=tls)),
        "unix": (["path", "socket_timeout"], of(pool, connection_class=unix, path="/t")),
        "sentinel": (
            [*named(tcp), *hidden(own)],
            lambda **given: client(connection_pool=sentinel_pool(library, **given)),
        ),
    }


def ssl_of(given):
    return {"ssl": True} if any(name.startswith("ssl_") for name in given) else {}


WAYS = [(library, way) for library in (redis, valkey) for way in makers(library)]


@pytest.fixture(autouse=True)
def deprecated_arguments_are_arguments():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def seen(client, name):
    """What the pool of a client says about an argument."""
    pool = client.connection_pool
    if name in ("ssl", "connection_class"):
        return "SSL" in pool.connection_class.__name__
    if name in ("cache", "cache_config"):
        return getattr(pool.cache, "config", None)
    if name == "maint_notifications_config":
        return bool(pool.maint_notifications_enabled())
    at = {name, PLACES.get(name, name)}
    given = [pool.connection_kwargs[one] for one in sorted(at & pool.connection_kwargs.keys())]
    return [given, *(getattr(pool, one) for one in (name, f"_{name}") if hasattr(pool, one))]


def sources(library, way):
    """A client for each argument, which can be seen in it."""
    names, make = makers(library)[way]
    for name in names:
        with_it = {**WITH.get(name, {}), name: SAMPLES[name]}
        if name.startswith("ssl_validate_ocsp"):
            with_it["protocol"] = 2
        source, without = make(**with_it), make(**WITH.get(name, {}))
        if name not in cloned_options.NEVER:
            assert seen(source, name) != seen(without, name), f"{name} cannot be seen: how is it kept?"
        yield name, source


@pytest.mark.parametrize(("library", "way"), WAYS, ids=lambda part: getattr(part, "__name__", part))
def test_a_task_s_client_carries_each_argument(library, way):
    lost = {
        name: (seen(source, name), seen(clone, name))
        for name, source in sources(library, way)
        if name not in cloned_options.NEVER
        for clone in [clients.clone(source)]
        if seen(clone, name) != seen(source, name)
    }
    assert lost == {}


@pytest.mark.parametrize(("library", "way"), WAYS, ids=lambda part: getattr(part, "__name__", part))
def test_the_daemon_s_client_carries_what_is_not_listed(library, way):
    wrong = []
    for name, source in sources(library, way):
        own = clients.own_client(source, timeout=1, name="ours")
        own.connection_pool.make_connection()
        kept = seen(own, name) == seen(source, name)
        listed = name in cloned_options.NEVER or PLACES.get(name, name) in cloned_options.OF_DAEMON
        if kept == listed and name not in OFF_IN_BOTH:
            wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize("name", ["event_dispatcher", "cache", "client_cache"])
def test_what_belongs_to_one_pool_is_not_shared(name):
    library = valkey if name == "client_cache" else redis
    source = plain(library)(protocol=3, **{name: SAMPLES[name]})
    for own in (clients.clone(source), clients.own_client(source, timeout=1, name="n")):
        pool = own.connection_pool
        assert SAMPLES[name] not in (pool.connection_kwargs.get(name), getattr(pool, name, None))


@pytest.mark.parametrize("library", [redis, valkey])
def test_a_kind_of_pool_stays_that_kind(library):
    pool = type("Mine", (library.BlockingConnectionPool,), {})(max_connections=3)
    clone = clients.clone(plain(library)(connection_pool=pool))
    assert type(clone.connection_pool) is library.BlockingConnectionPool
    clone = clients.clone(plain(library)(connection_pool=sentinel_pool(library)))
    assert clone.connection_pool.sentinel_manager._manager.min_other_sentinels == 2


def test_a_callback_that_the_user_set_is_carried():
    source = redis.Redis()
    source.set_response_callback("GET", len)
    assert clients.clone(source).response_callbacks["GET"] is len


def test_an_address_of_the_moment_is_not_carried():
    """While a node moves, redis-py writes where to connect meanwhile into the arguments of the pool."""
    source = redis.Redis("origin", 1, socket_timeout=4, protocol=3)
    source.connection_pool.update_connection_kwargs(
        host="meanwhile", socket_timeout=60, socket_connect_timeout=60, maintenance_notification_hash=5
    )
    kwargs = clients.clone(source).connection_pool.connection_kwargs
    assert (kwargs["host"], kwargs["socket_timeout"]) == ("origin", 4)
    assert kwargs.get("maintenance_notification_hash") is None


def test_settings_for_maintenance_are_carried():
    config = MaintNotificationsConfig(relaxed_timeout=33)
    clone = clients.clone(redis.Redis(protocol=3, maint_notifications_config=config))
    assert clone.connection_pool.connection_kwargs["maint_notifications_config"].relaxed_timeout == 33


@pytest.mark.parametrize("copy", [clients.clone, partial(clients.own_client, timeout=1, name="own")])
def test_a_connection_does_not_read_the_version_of_the_library_from_the_disk(copy, monkeypatch):
    pool = copy(redis.Redis.from_url("redis://127.0.0.1:1/0")).connection_pool
    pool.make_connection()  # of the first, it may be read once a process
    monkeypatch.setattr(redis.utils, "get_lib_version", lambda: pytest.fail("read again"))
    assert pool.make_connection().driver_info.formatted_name == "redis-py"


def test_connections_of_another_kind_are_given_nothing_of_their_own():
    """Their class may take no other arguments than those that the user gives."""

    class Mine(redis.Connection):
        pass

    pool = redis.ConnectionPool.from_url("redis://127.0.0.1:1/0", connection_class=Mine)
    made = clients.clone(redis.Redis(connection_pool=pool)).connection_pool
    assert "driver_info" not in made.connection_kwargs


def test_the_lists_name_arguments_only():
    known = {"is_master"}
    for library in (redis, valkey):
        cluster = importlib.import_module(f"{library.__name__}.cluster")
        classes = [plain(library), library.BlockingConnectionPool, library.SSLConnection]
        classes += [cluster.RedisCluster if library is redis else cluster.ValkeyCluster]
        known |= {name for cls in classes for name in parameters(cls)}
    assert (cloned_options.NEVER | cloned_options.OF_DAEMON).keys() <= known
