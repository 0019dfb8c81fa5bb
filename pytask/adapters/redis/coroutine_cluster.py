"""The cluster client of a worker's coroutines: that of the library, with the rules of `task_client`.

The library keeps the connections of each node.  A call is repeated only if that is safe (`node_connection`).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from pytask.adapters.redis import cloned_options, command_effects, support
from pytask.adapters.redis.clients import topology_of
from pytask.adapters.redis.coroutine_calls import Commands, again_while_safe, no_retries, reply_limit
from pytask.adapters.redis.node_connection import LentConnection, Sent, current_sent
from pytask.adapters.redis.task_client import Current, cluster_is_away
from pytask.adapters.redis.task_connection import unknown
from pytask.domain.errors import NotInLoop
from pytask.domain.ports import Borrower

if TYPE_CHECKING:
    Base = Any
else:
    Base = object

NOT_CARRIED = frozenset(
    {
        "cache_config", "cluster_error_retry_attempts", "connection_error_retry_attempts", "event_dispatcher",
        "maint_notifications_config", "policy_resolver", "response_callbacks", "retry_on_error",
    }
)  # fmt: skip


class PatientCluster(Base):  # type: ignore[misc]
    """A cluster client of the library that waits for lost nodes."""

    package: str
    current: Current
    shares: asyncio.Semaphore
    limit: int  # connections to a node that are kept
    restart: Callable[[], None]  # gives it the nodes with which it began
    _mapping: asyncio.Task[Any] | None = None

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """As in the library."""
        sent = current_sent.get()
        if sent is not None:  # of a pipeline, for a command that another node has
            with sent.single():
                return await super().execute_command(*args, **kwargs)
        do = super().execute_command
        return await self.patiently([args], lambda: do(*args, **kwargs))

    async def patiently(
        self, commands: Commands, do: Callable[[], Awaitable[Any]], *, batch: bool = False
    ) -> Any:
        """The value of `do()`, which sends these commands; again while that is safe."""
        borrower = self.current()
        return await again_while_safe(
            lambda: self._once(commands, do, borrower, batch=batch),
            commands, borrower, self.shares, cluster_is_away,
        )  # fmt: skip

    async def _once(
        self, commands: Commands, do: Callable[[], Awaitable[Any]], borrower: Borrower | None, *, batch: bool
    ) -> Any:
        sent = Sent(lambda limit: reply_limit(limit, commands, self.package, borrower), batch)
        token = current_sent.set(sent)
        try:
            await self.initialize()  # or the library would send the first command to any node
            return await do()
        except Exception as error:
            if not cluster_is_away(error) or not sent.matters:
                raise
            if command_effects.only_reads(commands, self.package):
                raise
            raise unknown(error, commands, importlib.import_module(self.package).RedisError) from error
        finally:
            current_sent.reset(token)
            await self._drop(lost=sent.cut_short)

    async def _drop(self, *, lost: bool) -> None:
        for node in list(self.nodes_manager.nodes_cache.values()):
            for one in [one for one in node._connections if one.cut_short] if lost else ():  # noqa: SLF001
                if one not in node._free:  # noqa: SLF001
                    node._connections.remove(one)  # noqa: SLF001
                    await one.disconnect(nowait=True)
            while len(node._free) > self.limit:  # noqa: SLF001 - the library keeps all that there ever were
                connection = node._free.popleft()  # noqa: SLF001
                with contextlib.suppress(ValueError):
                    node._connections.remove(connection)  # noqa: SLF001
                await connection.disconnect(nowait=True)

    @property
    def cluster_error_retry_attempts(self) -> int:
        """None; but old releases count the only attempt of a pipeline, too."""
        sent = current_sent.get()
        return int(sent is not None and sent.batch)

    @cluster_error_retry_attempts.setter
    def cluster_error_retry_attempts(self, _: int) -> None:
        """Set by the library."""

    # -- nodes ----------------------------------------------------------------------------------------

    async def initialize(self, **words: Any) -> Any:
        """Ask for the nodes, once for all who wait: a run that is cancelled meanwhile disturbs no other."""
        if self._initialize:
            if self._mapping is None or self._mapping.done():
                if not self.nodes_manager.startup_nodes:
                    self.restart()  # some releases forget nodes that were lost
                made = super().initialize(**words)
                self._mapping = asyncio.get_running_loop().create_task(made, context=Context())
                self._mapping.add_done_callback(_look)
            await asyncio.shield(self._mapping)
        return self

    async def aclose(self) -> None:
        """Ask for the nodes before the next call; others use the connections."""
        self._initialize = True

    close = aclose

    async def shut(self) -> None:
        """The loop ends."""
        manager = self.nodes_manager
        for node in [*manager.nodes_cache.values(), *manager.startup_nodes.values()]:
            for connection in list(node._connections):  # noqa: SLF001
                await connection.disconnect(nowait=True)

    def __del__(self, *_: Any) -> None:
        """No warning: the client lives as long as the loop."""

    # -- what holds a connection ----------------------------------------------------------------------

    def pubsub(self, *args: Any, **kwargs: Any) -> Any:
        """As in the library; closed when the run ends."""
        if not hasattr(super(), "pubsub"):
            raise NotInLoop(
                f"this release of {self.package} has no subscriptions of a cluster for coroutines. Fix: use a"
                " newer one, or call a method that uses it by `await self.in_greenlet(self.method)`"
            )
        made = super().pubsub(*args, **kwargs)
        made.__class__ = _with(Subscription, cast("Any", type(made)))
        made.borrower = self.current()
        if made.borrower is not None:
            made.borrower.held.add(made)
        return made

    async def drop(self, held: Any) -> None:
        """A run is over and has not closed it."""
        await held.aclose()

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Any:
        """As in the library, without transactions: it runs them in a loop of their own."""
        if transaction:
            raise NotInLoop(
                "a transaction on a Redis Cluster is not available in a coroutine. Fix: use a script, or a"
                " pipeline without one, or call a method by `await self.in_greenlet(self.method)`"
            )
        made = super().pipeline(transaction, shard_hint)
        made.__class__ = _with(PatientPipeline, cast("Any", type(made)))
        made.patient, made.added = self, []
        return made


def _look(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # all who waited for it may be gone


@cache
def _with(rules: Any, base: Any) -> Any:
    return type(base.__name__, (rules, base), {})


class Subscription(Base):  # type: ignore[misc]
    """A subscription of the library that its run holds."""

    borrower: Borrower | None = None
    cluster: PatientCluster

    async def execute_command(self, *args: Any) -> Any:
        """As in the library, which does not ask for the nodes first."""
        await self.cluster.initialize()
        return await super().execute_command(*args)

    async def aclose(self) -> None:
        """As in the library."""
        if self.borrower is not None:
            self.borrower.held.discard(self)
        await super().aclose()


class PatientPipeline(Base):  # type: ignore[misc]
    """A pipeline of the library that waits for lost nodes."""

    patient: PatientCluster
    added: list[tuple[Any, Any]]  # the commands, with the options of each

    async def initialize(self) -> Any:
        """No call before there are commands."""
        return self

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """As in the library."""
        self.added.append((args, kwargs))
        return super().execute_command(*args, **dict(kwargs))

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> Any:  # noqa: FBT002 - the signature of the library
        """As in the library."""
        added, self.added = self.added, []
        add, run, repeats = super().execute_command, super().execute, len(added) == len(self)

        async def do() -> Any:
            if not len(self) and repeats:  # the library drops them after each attempt
                for args, kwargs in added:
                    add(*args, **dict(kwargs))
            found = await run(raise_on_error, allow_redirections)
            for one in found:
                if isinstance(one, Exception) and cluster_is_away(one):
                    raise one
            return found

        return await self.patient.patiently([args for args, _ in added], do, batch=True)


def make(client: Any, limit: int, current: Current) -> Any:
    """A client like that of the program; called in the thread of the loop."""
    package = support.package_of(client)
    library = importlib.import_module(f"{package}.asyncio.cluster")
    base = library.RedisCluster if package == "redis" else library.ValkeyCluster
    addresses = list(topology_of(client).nodes)
    nodes = [library.ClusterNode(*address) for address in addresses]
    made = _with(PatientCluster, base)(startup_nodes=nodes, **_options(client, package, base))
    made.package, made.current, made.limit = package, current, limit
    made.shares = asyncio.Semaphore(limit)
    manager = made.nodes_manager
    kind = manager.connection_kwargs.get("connection_class", library.Connection)
    manager.connection_kwargs["connection_class"] = _with(LentConnection, kind)

    def restart() -> None:
        known = [library.ClusterNode(*address, **manager.connection_kwargs) for address in addresses]
        manager.startup_nodes = {node.name: node for node in known}

    made.restart = restart
    restart()
    return made


def _options(client: Any, package: str, base: Any) -> dict[str, Any]:
    """Those of the program's client that mean the same for asyncio, without retries by the library."""
    given, known = cloned_options.of_cluster(client), inspect.signature(base.__init__).parameters
    found = {k: v for k, v in given.items() if k in known and k not in NOT_CARRIED}
    found["retry"], found["max_connections"] = no_retries(package), 2**31
    if not hasattr(found["retry"], "get_retries"):  # old releases count apart from it
        found |= {k: 0 for k in known if k.endswith("_error_retry_attempts")}
    if "SSL" in getattr(given.get("connection_class"), "__name__", ""):
        found["ssl"] = True
    return found
