"""Whatever a cluster's client carries survives cloning: each argument of its constructor."""

import importlib
import inspect
import warnings

import pytest
import redis
import redis.cluster
import valkey
import valkey.cluster
from redis.backoff import NoBackoff
from redis.commands.policies import StaticPolicyResolver
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from pytask.adapters.redis import clients, cloned_options, support
from pytask.domain.partition import SLOTS
from tests.support.servers import is_available, start_server

pytestmark = pytest.mark.skipif(not is_available("redis"), reason="a client's cache needs Redis 7.4")

RETRY = Retry(NoBackoff(), 2)
SAMPLES = {
    "cluster_error_retry_attempts": 4, "retry": RETRY, "require_full_coverage": False,
    "reinitialize_steps": 9, "read_from_replicas": True, "dynamic_startup_nodes": False,
    "load_balancing_strategy": redis.cluster.LoadBalancingStrategy.RANDOM_REPLICA,
    "address_remap": lambda address: address, "policy_resolver": StaticPolicyResolver(),
    "cache_config": redis.cache.CacheConfig(max_size=17),
    "maint_notifications_config": MaintNotificationsConfig(relaxed_timeout=33),
    # Of its **kwargs:
    "decode_responses": True, "client_name": "mine", "max_connections": 5, "socket_timeout": 7,
    "connection_pool_class": type("Mine", (redis.ConnectionPool,), {}), "protocol": 3,
}  # fmt: skip
NODES = {"host", "port", "startup_nodes", "url"}
NO_EFFECT = {(redis, "cluster_error_retry_attempts")}  # where there is a retry
LIBRARIES = {redis: redis.RedisCluster, valkey: valkey.ValkeyCluster}


@pytest.fixture(scope="module")
def node():
    with (
        start_server("redis", "--cluster-enabled", "yes") as server,
        redis.Redis(server.host, server.port) as client,
    ):
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        yield server


@pytest.fixture(autouse=True)
def deprecated_arguments_are_arguments():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def names(library):
    cluster = importlib.import_module(f"{library.__name__}.cluster")
    own = set(inspect.signature(LIBRARIES[library].__init__).parameters) - {"self", "kwargs"}
    allowed = {"decode_responses", "client_name", "max_connections", "socket_timeout", "protocol"}
    if library is redis:
        allowed.add("connection_pool_class")
    assert allowed <= set(getattr(cluster, f"{library.__name__.upper()}_ALLOWED_KEYS"))
    left_out = NODES | cloned_options.NEVER.keys() | {name for of, name in NO_EFFECT if of is library}
    return sorted((own | allowed) - left_out)


def seen(client, name):
    """What a client or its manager says about an argument."""
    manager = client.nodes_manager
    if name == "cache_config":
        return manager._cache.config
    if name in manager.connection_kwargs:
        return manager.connection_kwargs[name]
    return [getattr(at, n) for at in (client, manager) for n in (name, f"_{name}") if hasattr(at, n)]


def pools(client):
    connection_of = getattr(client, f"get_{support.package_of(client)}_connection")
    nodes = [*client.get_nodes(), *client.nodes_manager.startup_nodes.values()]
    return {connection_of(node).connection_pool for node in nodes}


@pytest.mark.parametrize("by_url", [False, True])
@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)
def test_a_clone_carries_each_argument(node, library, by_url):
    given = {name: SAMPLES[name] for name in names(library)}
    way = {"url": node.url} if by_url else {"host": node.host, "port": node.port}
    source = LIBRARIES[library](**way, **given)
    clone = clients.clone(source)
    assert {name for name in given if seen(source, name) in ([], None)} == set()
    assert {name for name in given if seen(clone, name) != seen(source, name)} == set()
    assert clone.ping()
    assert not pools(clone) & pools(source)
    for client in (source, clone):
        client.close()


def test_a_client_that_reads_from_replicas_by_the_old_word_is_cloned_without_a_warning(node):
    source = redis.RedisCluster(node.host, node.port, read_from_replicas=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone = clients.clone(source)
    assert clone.read_from_replicas
    for client in (source, clone):
        client.close()
