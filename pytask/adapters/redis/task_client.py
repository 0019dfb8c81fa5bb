"""The Redis client of a worker's tasks: all tasks share a few connections, each without leftover state.

A connection is shared while it carries plain commands: it is taken for one command or pipeline and returned.
A use that holds it longer (a blocking call, WATCH, a subscription) makes it part of the run: it leaves its
slot in the shared pool, is no longer counted, and is closed when the run ends at the latest.
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

HELD = 1.0  # seconds without a command after which a taken connection is no longer shared
KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}
ORPHAN = 60.0  # seconds that code outside of any run waits
Current = Callable[[], Borrower | None]


class SharedPool(Base):  # type: ignore[misc]
    """A connection pool of the library that the tasks of a worker share."""

    current: Current
    connection_class: Any
    limit: int  # shared connections
    package: str
    clustered: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.limit = min(self.limit, kwargs.pop("max_connections", None) or self.limit)
        for name in ("timeout", "queue_class"):
            kwargs.pop(name, None)
        if "path" not in kwargs:
            kwargs["socket_keepalive"] = (
                True  # a blocking call may wait without a limit, but must detect a dead server
            )
            kwargs["socket_keepalive_options"] = kwargs.get("socket_keepalive_options") or KEEPALIVE
        super().__init__(*args, max_connections=2**31, **kwargs)
        self.connection_class = task_connection.tame(self.connection_class)

    def reset(self) -> None:
        """Start empty; also in a forked child, which must not touch the connections of its parent."""
        self._shared = 0  # shared connections in use
        self._queue: deque[_Turn] = deque()
        self._thread = threading.get_native_id()
        super().reset()

    def make_connection(self) -> Any:
        """Create a connection with a reference to this pool."""
        connection = super().make_connection()
        _inner(connection).task_pool = self
        return connection

    # -- taking and returning -------------------------------------------------------------------------

    def get_connection(self, *words: Any, **options: Any) -> Any:
        """A connected connection; waits for its turn while too many are in use."""
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
        """Return a connection to the pool if it has room and the connection has no leftover state."""
        self._checkpid()
        if connection not in self._in_use_connections:
            connection.disconnect()  # its run has ended and it was opened again, or it is idle
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
        """Remove a connection from the shared ones, so the next task gets its slot."""
        if inner.shared:
            inner.shared = False
            self._next()

    def free(self, borrower: Borrower) -> None:
        """Close the connections that an ended run did not return."""
        while borrower.held:
            connection = borrower.held.pop()
            self._forget(connection)
            self.part(_inner(connection))

    def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT002 - the signature of the library
        """Close idle connections and those of the calling run, but not those of other runs."""
        super().disconnect(inuse_connections=False)
        borrower = self.current()
        if inuse_connections and borrower is not None:
            for connection in list(borrower.held):
                connection.disconnect()

    def re_auth_callback(self, token: Any) -> None:
        """Authenticate idle connections with a new token; they remain shared."""
        idle = [_inner(connection) for connection in self._available_connections]
        for inner in idle:
            inner.greeting = True
        try:
            super().re_auth_callback(token)
        finally:
            for inner in idle:
                inner.greeting = False

    # -- slots ----------------------------------------------------------------------------------------

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
                    raise self._exhausted()  # noqa: TRY301 - it leaves the queue like a killed one
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
        """Give a free slot to the caller that has waited longest."""
        if self._queue:
            self._queue.popleft().come()
        else:
            self._shared -= 1

    def _part_with_held(self) -> None:
        """Connections that are held without a command, such as that of a `client()`, do not count."""
        before = time.monotonic() - HELD
        for connection in list(self._in_use_connections):
            inner = _inner(connection)
            if inner.shared and not inner.pending and not inner.inside and inner.taken < before:
                self.part(inner)

    # -- called by connections ------------------------------------------------------------------------

    def may_wait(self, error: Exception, waited: float, attempts: int) -> bool:
        """Whether the calling task continues to wait; a cluster client asks for all nodes together."""
        return not self.clustered and may_wait(self.current(), error, waited, attempts)

    def reply_limit(self) -> float:
        """The maximum time of the reply to a write, in seconds."""
        borrower = self.current()
        return 0.0 if borrower is None else min(borrower.reply, borrower.patience)


def may_wait(borrower: Borrower | None, error: Exception, waited: float, attempts: int) -> bool:
    """Whether to retry; a long wait is logged once."""
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
    """The text of the pytask error for an error of the library."""
    return str(errors.translate(error)).partition("] ")[2] or str(error)


class _Turn:
    """A position in the queue: a lock that is held until its turn."""

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
    """The connection itself: the library wraps one with a cache."""
    return getattr(connection, "_conn", connection)


class PatientCluster(Base):  # type: ignore[misc]
    """A cluster client of the library that waits for lost nodes as other clients wait for their server."""

    current: Current

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """As in the library, but retried while the task may wait; a lost write is not repeated."""
        began, attempts = time.monotonic(), 0
        while True:
            try:
                return super().execute_command(*args, **dict(kwargs))
            except Exception as error:
                attempts += 1
                if not cluster_is_away(error):
                    raise
                if not may_wait(self.current(), error, time.monotonic() - began, attempts):
                    raise
            time.sleep(task_connection.pause(attempts))


def cluster_is_away(error: Exception) -> bool:
    """Whether no node could answer, or none may at present."""
    names = {cls.__name__ for cls in type(error).__mro__}
    down = names & {"ClusterDownError", "MasterDownError", "SlotNotCoveredError"}
    return bool(down or "cannot be connected" in str(error) or task_connection.is_away(error))


class TaskClients:
    """The client of all runs of a worker."""

    def __init__(self, client: Any, limit: int) -> None:
        self._client = client
        self._limit = limit
        self._own: Any = None

    def client(self, current: Current) -> Any:
        """Create a client; `current` returns the calling run."""
        if self._own is None:
            self._own = self._make(current)
        if support.is_cluster(self._own):
            return self._own  # a copy would close its connections when it is collected
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
        """Release the connections of an ended run."""
        for connection in list(borrower.held):
            _inner(connection).task_pool.free(borrower)

    def close(self) -> None:
        """Close idle connections."""
        if self._own is not None:
            clients.disconnect(self._own)


@cache
def _plain_pool(base: type) -> type:
    """The pool class with the bookkeeping that `SharedPool` needs: a blocking pool keeps other records."""
    return next(cls for cls in base.__mro__ if not cls.__name__.startswith("Blocking"))
