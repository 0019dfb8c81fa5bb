"""Creates stores, queues and feeds, each with its own connections, from the user's client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from pytask.adapters.keys import Keys
from pytask.adapters.redis import clients, errors, scripts, server_checks, support
from pytask.adapters.redis.connection import Durability
from pytask.adapters.redis.coroutine_client import CoroutineClients
from pytask.adapters.redis.pubsub import RedisFeed
from pytask.adapters.redis.queue import RedisQueue
from pytask.adapters.redis.scope import Scope
from pytask.adapters.redis.slot_client import Topology
from pytask.adapters.redis.store import RedisStore
from pytask.adapters.redis.task_client import TaskClients
from pytask.adapters.rules import Retention
from pytask.domain.partition import namespace_of
from pytask.domain.ports import Borrower
from pytask.domain.record import Risk

# Scripts that a worker needs in its first seconds: their texts take 40 ms to make, while no task can start.
PREPARED = (
    scripts.renew, scripts.claim, scripts.commit, scripts.announce, scripts.due, scripts.suspects,
    scripts.expire, scripts.tidy, scripts.request, scripts.stop, scripts.start, scripts.note,
)  # fmt: skip
WAIT_MARGIN = 1.5  # seconds that a socket waits longer than its blocking call


def prepare_scripts() -> None:
    """Make the texts of the scripts that every worker sends."""
    for one in PREPARED:
        one.prepare()


@attrs.frozen(kw_only=True)
class BackendOptions:
    """The options of a backend besides its client."""

    namespace: str = ""
    call_timeout: float = 3.0  # seconds
    retention: Retention = attrs.Factory(Retention)
    durable_acks: int = 0  # replicas that must acknowledge a claim or a renewal
    redis_connections: int = 64  # shared by all tasks
    origin: str = ""  # the origin of the address, in words


class RedisBackend:
    """Redis, reached by a URL or a client compatible with redis-py."""

    cooperative = True

    def __init__(
        self,
        source: Any,
        options: BackendOptions | None = None,
        *,
        topology: Topology | None = None,
        tasks: TaskClients | None = None,
        coroutines: CoroutineClients | None = None,
    ) -> None:
        self._options = options = options or BackendOptions()
        self._client = clients.open_client(source)
        support.check_client(self._client, options.namespace)
        self._durability = Durability(
            alone=support.stands_alone(self._client),
            replicas=options.durable_acks,
            wait=min(1.0, options.call_timeout / 2),
        )
        self._topology = topology
        if topology is None and support.is_cluster(self._client):
            self._topology = clients.topology_of(self._client)
        self._tasks = tasks or TaskClients(self._client, options.redis_connections)
        self.coroutines = coroutines or CoroutineClients(self._client, options.redis_connections)
        self.keys = Keys(options.namespace)

    def store(self) -> RedisStore:
        """A store with its own connection."""
        own = self._own("store")
        return RedisStore(own, self.keys, self._options.retention, self._durability, tails=self._tails)

    @property
    def _tails(self) -> bool:
        # A script may use only declared keys in a cluster.
        return self._topology is None and not support.is_cluster(self._client)

    def queue(self) -> RedisQueue:
        """A queue waiter; its socket timeout exceeds the blocking call."""
        # Where replicas must acknowledge a claim, it is sent with WAIT, which has its own time.
        claims = self._tails and not self._durability.replicas
        scope = Scope(self.keys, self._options.retention)
        return RedisQueue(self._own("wait", WAIT_MARGIN), scope, claims=claims)

    def feed(self, session: str) -> RedisFeed:
        """A feed with its own subscription."""
        database = None if self._topology is not None else support.database_of(self._client)
        return RedisFeed(
            self._own("feed"), self.keys, session, database=database, timeout=self._options.call_timeout
        )

    def user_client(self, current: Callable[[], Borrower | None]) -> Any:
        """A client for task code: the settings of the user's client, with connections shared by all tasks."""
        return self._tasks.client(current)

    def close_user_client(self, borrower: Borrower) -> None:
        """Drop the connections that a run did not return."""
        self._tasks.free(borrower)

    def close(self) -> None:
        """Drop the shared connections of tasks."""
        self._tasks.close()

    def partitions(self, count: int) -> list[RedisBackend]:
        """A backend for each of `count` partitions of the namespace."""
        return [
            RedisBackend(
                self._client,
                attrs.evolve(self._options, namespace=namespace_of(self._options.namespace, index, count)),
                topology=self._topology,
                tasks=self._tasks,
                coroutines=self.coroutines,
            )
            for index in range(count)
        ]

    def describe(self) -> str:
        """The address without a password, and its origin: `127.0.0.1:6379/0 (from $REDIS_URL)`."""
        origin = self._options.origin
        return f"{self._address()} ({origin})" if origin else self._address()

    def _address(self) -> str:
        if self._topology is not None:
            host, port = self._topology.nodes[0][:2]
            return f"cluster of {host}:{port}, {self._options.namespace}"
        pool = getattr(self._client, "connection_pool", None)
        kwargs = getattr(pool, "connection_kwargs", {})
        if pool is not None and hasattr(pool, "sentinel_manager"):
            return f"sentinel master {pool.service_name!r}"
        if "path" in kwargs:
            return f"unix:{kwargs['path']}"
        host = kwargs.get("host", type(self._client).__name__)
        return f"{host}:{kwargs.get('port', '')}/{kwargs.get('db', 0)}"

    def check(self) -> None:
        """Raise errors that are detectable at start: no reply, a wrong password, an old server.

        Also makes the texts of the scripts, before there is a task that would wait for that.
        """
        prepare_scripts()
        store = self.store()
        try:
            store.renew([])
        finally:
            store.close()
        client = self._own("check")
        try:
            support.check_server(client)
        finally:
            clients.disconnect(client)

    def risks(self, max_data: int) -> list[Risk]:
        """Server settings that weaken the guarantees, each with its fix."""
        client = self._own("check")
        try:
            return server_checks.risks(client, max_data=max_data)
        except Exception as error:
            raise errors.translate(error) from error
        finally:
            clients.disconnect(client)

    def _own(self, role: str, margin: float = 0.0) -> Any:
        timeout, name = self._options.call_timeout + margin, f"pytask-{role}"
        if self._topology is None:
            return clients.own_client(self._client, timeout=timeout, name=name)
        return clients.slot_client(
            self._client, self._options.namespace, self._topology, timeout=timeout, name=name
        )
