"""The Redis client of a worker's tasks: few connections for all of them, and each is as new when it is taken.

A connection is shared while it carries plain commands: it is taken for one command or pipeline, and given
back.  What keeps it longer makes it part of the run: a blocking call, WATCH, a subscription.  It gives up its
place among the shared ones, is not counted, and ends with the run at the latest.
"""

from __future__ import annotations

import copy
import importlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from pytask.adapters.redis import clients, errors, support, task_connection
from pytask.domain.ports import Borrower
from pytask.logger import get_logger

if TYPE_CHECKING:
    Base = Any
else:
    Base = object

log = get_logger(__name__)

HELD = 1.0  # seconds after which a connection that is in no command is not shared any more
KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}
ORPHAN = 60.0  # seconds that code waits which belongs to no run
Current = Callable[[], Borrower | None]


class SharedPool(Base):  # type: ignore[misc]
    """What a pool of the library does besides, when the tasks of a worker share it."""

    current: Current
    connection_class: Any
    limit: int  # connections that are shared
    package: str
    clustered: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.limit = min(self.limit, kwargs.pop("max_connections", None) or self.limit)
        for name in ("timeout", "queue_class"):
            kwargs.pop(name, None)
        if "path" not in kwargs:
            kwargs["socket_keepalive"] = (
                True  # a blocking call may wait for ever, and is to notice a dead server
            )
            kwargs["socket_keepalive_options"] = kwargs.get("socket_keepalive_options") or KEEPALIVE
        super().__init__(*args, max_connections=2**31, **kwargs)
        self.connection_class = task_connection.tame(self.connection_class)

    def reset(self) -> None:
        """As new; also in a forked child, which leaves its parent's connections alone."""
        self._shared = 0  # those in use that are shared
        self._queue: deque[_Turn] = deque()
        self._thread = threading.get_native_id()
        super().reset()

    def make_connection(self) -> Any:
        """Make one that knows this pool."""
        connection = super().make_connection()
        _inner(connection).task_pool = self
        return connection

    # -- taking and giving back -----------------------------------------------------------------------

    def get_connection(self, *words: Any, **options: Any) -> Any:
        """One that is connected; waits for its turn while too many are in use."""
        self._checkpid()
        borrower, ours = self.current(), threading.get_native_id() == self._thread
        if ours:
            self._wait_turn(borrower)
        try:
            connection = self._get(ours, words, options)
        except BaseException:
            if ours:
                self._next()
            raise
        inner = _inner(connection)
        inner.shared, inner.borrower, inner.taken = ours, borrower, time.monotonic()
        if borrower is not None:
            borrower.held.add(connection)
        return connection

    def _get(self, ours: bool, words: Any, options: Any) -> Any:
        if ours:
            return super().get_connection(*words, **options)
        # A socket belongs to the event loop of its thread.
        connection = self.make_connection()
        connection.connect()
        self._in_use_connections.add(connection)
        return connection

    def release(self, connection: Any) -> None:
        """Back to the others, if there is room for it, and if it is as new."""
        self._checkpid()
        if connection not in self._in_use_connections:
            connection.disconnect()  # its run is over, and somebody opened it again, or it is idle
            return
        inner = _inner(connection)
        if inner.unfinished:
            connection.disconnect()
        if self._has_room(inner):
            super().release(connection)
        else:
            self._forget(connection)
        if inner.borrower is not None:
            inner.borrower.held.discard(connection)
            inner.borrower = None
        self.part(inner)

    def _has_room(self, inner: Any) -> bool:
        if threading.get_native_id() != self._thread:
            return False
        return bool(len(self._available_connections) + self._shared - inner.shared < self.limit)

    def _forget(self, connection: Any) -> None:
        if connection in self._in_use_connections:
            self._in_use_connections.discard(connection)
            self._created_connections -= 1
        connection.disconnect()

    def part(self, inner: Any) -> None:
        """It is not one of the shared ones any more: the next task has its place."""
        if inner.shared:
            inner.shared = False
            self._next()

    def free(self, borrower: Borrower) -> None:
        """A run is over: what it did not give back is closed."""
        while borrower.held:
            connection = borrower.held.pop()
            self._forget(connection)
            self.part(_inner(connection))

    def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT002 - as in the library
        """Close what is idle, and what the run that asks for it has; not what others use."""
        super().disconnect(inuse_connections=False)
        borrower = self.current()
        if inuse_connections and borrower is not None:
            for connection in list(borrower.held):
                connection.disconnect()

    def re_auth_callback(self, token: Any) -> None:
        """Log idle connections in with a new token, which does not make them unlike the others."""
        idle = [_inner(connection) for connection in self._available_connections]
        for inner in idle:
            inner.greeting = True
        try:
            super().re_auth_callback(token)
        finally:
            for inner in idle:
                inner.greeting = False

    # -- places ---------------------------------------------------------------------------------------

    def _wait_turn(self, borrower: Borrower | None) -> None:
        if self._shared < self.limit and not self._queue:
            self._shared += 1
            return
        turn = _Turn()
        self._queue.append(turn)
        began = time.monotonic()
        try:
            while not turn.wait(HELD):
                self._part_with_held()
                if borrower is not None and 0 <= borrower.patience < time.monotonic() - began:
                    raise self._exhausted()  # noqa: TRY301 - it leaves the queue as a killed one does
        except BaseException:
            if turn.came:
                self._next()
            else:
                self._queue.remove(turn)
            raise

    def _exhausted(self) -> Exception:
        error: Exception = importlib.import_module(self.package).ConnectionError(
            f"all {self.limit} connections that tasks share are in use (redis_connections)"
        )
        return error

    def _next(self) -> None:
        """A place is free: the one who waits longest has it."""
        if self._queue:
            self._queue.popleft().come()
        else:
            self._shared -= 1

    def _part_with_held(self) -> None:
        """Those that are kept and carry nothing, such as that of a `client()`, do not count."""
        before = time.monotonic() - HELD
        for connection in list(self._in_use_connections):
            inner = _inner(connection)
            if inner.shared and not inner.pending and not inner.inside and inner.taken < before:
                self.part(inner)

    # -- what a connection asks -----------------------------------------------------------------------

    def may_wait(self, error: Exception, waited: float, attempts: int) -> bool:
        """Whether the task that asks goes on waiting; a cluster's client asks for all nodes at once."""
        return not self.clustered and may_wait(self.current(), error, waited, attempts)

    def reply_limit(self) -> float:
        """Seconds that the reply to a write may take."""
        borrower = self.current()
        return 0.0 if borrower is None else min(borrower.reply, borrower.patience)


def may_wait(borrower: Borrower | None, error: Exception, waited: float, attempts: int) -> bool:
    """Whether to try again; a long wait is logged once."""
    if borrower is None:
        return waited < ORPHAN
    if attempts and waited > task_connection.NOTICE and not borrower.logged:
        borrower.logged = True
        log.warning(
            "[PT147] task %s: self.redis has been waiting for %.0f s: %s",
            borrower.name,
            waited,
            translated(error),
        )
    return waited < borrower.patience


def translated(error: Exception) -> str:
    """The text of our own error for it."""
    return str(errors.translate(error)).partition("] ")[2] or str(error)


class _Turn:
    """A place in the queue: a lock that is held until its turn comes."""

    __slots__ = ("came", "lock")

    def __init__(self) -> None:
        self.came = False
        self.lock = threading.Lock()
        self.lock.acquire()

    def wait(self, seconds: float) -> bool:
        return self.lock.acquire(timeout=seconds)

    def come(self) -> None:
        self.came = True
        self.lock.release()


def _inner(connection: Any) -> Any:
    """The connection itself: one with a cache is wrapped."""
    return getattr(connection, "_conn", connection)


class PatientCluster(Base):  # type: ignore[misc]
    """What a client of a cluster does besides: it waits for the nodes as the others wait for their server."""

    current: Current

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """As the library's, again while the task may wait; what was lost on the way is not repeated."""
        began, attempts = time.monotonic(), 0
        while True:
            try:
                return super().execute_command(*args, **dict(kwargs))
            except Exception as error:
                attempts += 1
                if not _cluster_is_away(error):
                    raise
                if not may_wait(self.current(), error, time.monotonic() - began, attempts):
                    raise
            time.sleep(task_connection.pause(attempts))


def _cluster_is_away(error: Exception) -> bool:
    names = {cls.__name__ for cls in type(error).__mro__}
    down = names & {"ClusterDownError", "MasterDownError", "SlotNotCoveredError"}
    return bool(down or "cannot be connected" in str(error) or task_connection.is_away(error))


class TaskClients:
    """The client that all runs of a worker have."""

    def __init__(self, client: Any, limit: int) -> None:
        self._client = client
        self._limit = limit
        self._own: Any = None

    def client(self, current: Current) -> Any:
        """One for a run; `current` tells which run asks."""
        if self._own is None:
            self._own = self._make(current)
        if support.is_cluster(self._own):
            return self._own  # a copy would close its connections when it is thrown away
        own = copy.copy(self._own)
        own.response_callbacks = type(own.response_callbacks)({})
        dict.update(own.response_callbacks, self._own.response_callbacks)
        return own

    def _make(self, current: Current) -> Any:
        ways = {
            "current": staticmethod(current),
            "limit": self._limit,
            "package": support.package_of(self._client),
            "clustered": support.is_cluster(self._client),
        }
        return clients.clone(
            self._client,
            pools=lambda base: type("SharedPool", (SharedPool, _plain_pool(base)), ways),
            cluster=lambda base: type(
                base.__name__, (PatientCluster, base), {"current": staticmethod(current)}
            ),
        )

    def free(self, borrower: Borrower) -> None:
        """A run is over."""
        for connection in list(borrower.held):
            _inner(connection).task_pool.free(borrower)

    def close(self) -> None:
        """Close what is idle."""
        if self._own is not None:
            clients.disconnect(self._own)


@cache
def _plain_pool(base: type) -> type:
    """The pool that has the books which `SharedPool` keeps: one that blocks keeps others."""
    return next(cls for cls in base.__mro__ if not cls.__name__.startswith("Blocking"))
