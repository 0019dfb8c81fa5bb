"""The asyncio tasks of one run, in the thread of the loop: which there are, who created whom, their end.

A stop cancels each of them once: those of the task's methods first, and a task that another one created when
that one is done.  A second cancel would interrupt a `finally` that waits, and a TaskGroup cancels its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from typing import Any, cast
from weakref import WeakSet

from pytask.domain.ports import Borrower
from pytask.runtime import coroutine_owner

Code = Coroutine[Any, Any, Any]


class RunTask(asyncio.Task[Any]):
    """An asyncio task of a run."""

    __slots__ = ("asked", "owner", "parent", "parents")

    owner: Family
    parent: RunTask | None  # that created it and is not done
    parents: bool  # whether it has created others
    asked: bool  # whether it was asked to end


class Rare:
    """What few runs have; made in the thread of the loop."""

    __slots__ = ("borrower", "failed", "reported", "reporting", "saving")

    def __init__(self) -> None:
        self.failed: WeakSet[RunTask] | None = None  # with exceptions that nobody may have looked at
        self.borrower: Borrower | None = None  # of Redis connections
        # The newest progress, and whether it, or the value that was saved last, is on its way.
        # The loop's thread sets that, the other one unsets it and then looks:
        # so the newest always arrives, at worst twice.
        self.reported: dict[str, Any] | None = None
        self.reporting = self.saving = False


class Family:
    """The tasks of one run.  It has slots because there are thousands."""

    __slots__ = ("asked", "got", "others", "rare", "root")

    def __init__(self) -> None:
        self.root: RunTask | None = None  # of start()
        self.others: set[RunTask] | None = None
        self.rare: Rare | None = None
        self.got = 0  # calls from the other thread
        self.asked = False  # all were asked to end

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop in which they run."""
        raise NotImplementedError

    def own(self) -> Rare:
        """What few runs have, to change it."""
        if self.rare is None:
            self.rare = Rare()
        return self.rare

    @property
    def empty(self) -> bool:
        """Whether no task is left."""
        return self.root is None and not self.others

    def tasks(self) -> list[RunTask]:
        """Those that are not done; also for other threads: a copy is made in one step."""
        root, others = self.root, self.others
        return [*([] if root is None else [root]), *([] if others is None else list(others))]

    # -- beginnings -----------------------------------------------------------------------------------

    def start(
        self, code: Code, name: str | None, context: Context, reply: Callable[[RunTask], object] | None = None
    ) -> RunTask:
        """A task of this run for the coroutine, in this context; `reply` is called first when it is done.

        Without a `reply` it is that of `start()`.
        """
        task = RunTask(code, loop=self.loop, name=name, context=context)
        if reply is None:
            self.root = task
            # A library that cancels `asyncio.all_tasks()` would stop the tasks of the whole worker.
            asyncio._unregister_task(task)  # noqa: SLF001 - there is no other way to hide one
        else:
            task.add_done_callback(cast("Callable[[asyncio.Task[Any]], object]", reply), context=context)
            self._add(task)
        self._own(task, None, context)
        return task

    def adopt(self, task: RunTask) -> None:
        """Code of this run has created a task."""
        creator = asyncio.current_task(self.loop)
        parent = creator if isinstance(creator, RunTask) and creator.owner is self else None
        self._add(task)
        self._own(task, parent, None)
        if parent is not None:
            parent.parents = True
        # Without one a callback has created it.  After all were asked to end that is a clean-up, such as the
        # request by which asyncpg cancels a statement: only the end of the grace ends it.

    def _add(self, task: RunTask) -> None:
        if self.others is None:
            self.others = set()  # an empty set has 216 bytes
        self.others.add(task)

    def _own(self, task: RunTask, parent: RunTask | None, context: Context | None) -> None:
        task.owner, task.parent, task.parents, task.asked = self, parent, False, False
        task.add_done_callback(_done, context=context)

    # -- ends -----------------------------------------------------------------------------------------

    def ask_to_end(self, *, again: bool) -> None:
        """Cancel the tasks that no other task of the run will cancel; `again`: all."""
        self.asked = True
        if self.others is None and not again:  # as with most
            if self.root is not None:
                _ask(self.root)
            return
        for task in self.tasks():
            if again:
                task.asked = True
                task.cancel()
            elif task.parent is None:
                _ask(task)

    def over(self, task: RunTask) -> None:
        """A task is done."""
        if task is self.root:
            self.root = None
        elif self.others is not None:
            self.others.discard(task)
            if not task.cancelled() and _unseen(task) is not None:
                own = self.own()
                own.failed = WeakSet() if own.failed is None else own.failed
                own.failed.add(task)
        if task.parents:
            self._orphan(task)
        task.parent = None

    def _orphan(self, parent: RunTask) -> None:
        for task in list(self.others or ()):
            if task.parent is parent:
                task.parent = None
                if self.asked:
                    _ask(task)

    def unseen(self) -> Iterator[tuple[str, BaseException]]:
        """The names and exceptions of tasks that have failed, and that nobody has looked at."""
        rare = self.rare
        if rare is None or rare.failed is None:
            return
        failed, rare.failed = rare.failed, None
        for task in list(failed):
            error = _unseen(task)
            if error is not None:
                task.exception()  # from here on it is seen
                yield task.get_name(), error


def make_task(
    loop: asyncio.AbstractEventLoop, code: Any, *, context: Context | None = None, **how: Any
) -> asyncio.Future[Any]:
    """The task factory of the loop."""
    owner = coroutine_owner.current() if context is None else coroutine_owner.of(context)
    if owner is None:
        return asyncio.Task(code, loop=loop, context=context, **how)
    task = RunTask(code, loop=loop, context=context, **how)
    if not task.done():  # an eager one has no end to wait for
        owner.adopt(task)
    return task


def _done(task: Any) -> None:
    task.owner.over(task)


def _ask(task: RunTask) -> None:
    if not task.asked:
        task.asked = True
        task.cancel()


def _unseen(task: asyncio.Task[Any]) -> BaseException | None:
    """Its exception, if nobody has looked at it: `exception()` itself counts as a look."""
    one = cast("Any", task)
    error: BaseException | None = one._exception if one._log_traceback else None  # noqa: SLF001
    return error
