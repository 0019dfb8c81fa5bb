"""A function that the user gave to be called on each new connection survives cloning."""

import types

import pytest
import redis
import redis.asyncio
import redis.sentinel
import valkey
import valkey.asyncio

from pytask.adapters.redis import clients, support
from pytask.client import async_driver


def hook(connection):
    """The user's own."""


def sentinel_client():
    return redis.sentinel.Sentinel([("127.0.0.1", 1)]).master_for("m", redis_connect_func=hook)


SYNC = {
    "redis": lambda: redis.Redis(redis_connect_func=hook),
    "unix": lambda: redis.Redis(unix_socket_path="/s", redis_connect_func=hook),
    "tls": lambda: redis.Redis(ssl=True, redis_connect_func=hook),
    "pool": lambda: redis.Redis(connection_pool=redis.BlockingConnectionPool(redis_connect_func=hook)),
    "sentinel": sentinel_client,
    "valkey": lambda: valkey.Valkey(valkey_connect_func=hook),
}
ASYNC = {
    "redis": lambda: redis.asyncio.Redis(redis_connect_func=hook),
    "valkey": lambda: valkey.asyncio.Valkey(valkey_connect_func=hook),
}


def hook_of(client, package):
    return getattr(client.connection_pool.make_connection(), f"{package}_connect_func")


@pytest.mark.parametrize("kind", SYNC)
@pytest.mark.parametrize("make", [clients.clone, lambda c: clients.own_client(c, timeout=1, name="n")])
def test_a_clone_keeps_it(kind, make):
    source = SYNC[kind]()
    assert hook_of(make(source), support.package_of(source)) is hook


@pytest.mark.parametrize("kind", ASYNC)
def test_an_asyncio_clone_keeps_it(kind):
    source = ASYNC[kind]()
    own = async_driver.own_client(source, timeout=1, connect_timeout=1)
    assert hook_of(own, support.package_of(source)) is hook


class Cluster:
    """As much of a cluster's client as the clone for one slot looks at."""

    def __init__(self, package, user_func):
        node = redis.Redis if package == "redis" else valkey.Valkey
        self._node = node(**{f"{package}_connect_func": self.on_connect})
        self.user_on_connect_func = user_func
        self.nodes_manager = types.SimpleNamespace(nodes_cache={"a": None})
        self.__class__ = type("Cluster", (Cluster,), {"__module__": f"{package}.cluster"})
        setattr(self, f"get_{package}_connection", lambda _: self._node)

    def on_connect(self, connection):
        raise AssertionError("READONLY would let a replica answer")


@pytest.mark.parametrize("package", ["redis", "valkey"])
def test_a_node_of_a_cluster_calls_it_after_the_handshake(package):
    done = []
    connection = types.SimpleNamespace(on_connect=lambda: done.append("handshake"))
    for func in (None, lambda _: done.append("user")):
        slot = clients.slot_client(Cluster(package, func), "{t}:", None, timeout=1, name="n")
        slot._go_to(("127.0.0.1", 1))
        used = hook_of(slot._client, package)
        if func is None:
            assert used is None
        else:
            used(connection)
    assert done == ["handshake", "user"]
