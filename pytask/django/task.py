"""The one task class that runs all tasks of Django; there is a subclass for each queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from inspect import iscoroutinefunction
from traceback import format_exception
from typing import Any, ClassVar

import attrs
from asgiref.sync import ThreadSensitiveContext
from django.db import connections
from django.tasks import TaskContext, TaskResult, TaskResultStatus
from django.tasks.signals import task_finished, task_started
from django.utils.json import normalize_json

from pytask.django import results
from pytask.django.backend import PytaskBackend
from pytask.django.wire import Call, Failure, Runs, function_of, read_saved
from pytask.domain.errors import BadDjangoTask
from pytask.domain.task import Task


@attrs.frozen
class Place:
    """Where tasks run: for which backend, and the name of the worker."""

    backend: PytaskBackend
    queue: str
    worker: Callable[[], str]


class Greenlets(Executor):
    """Calls functions for the coroutine of a task, each in a greenlet of its own in the thread of greenlets.

    In a thread of the loop Django would see that loop, and refuse queries.
    """

    def __init__(self, task: Task[Any]) -> None:
        self._task = task

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Called in the loop, which is also where the future is done."""
        done: Future[Any] = Future()
        called = asyncio.ensure_future(self._task.in_greenlet(_with_own_connections, fn, *args, **kwargs))
        called.add_done_callback(lambda over: _pass_on(over, done))
        return done


def _pass_on(over: asyncio.Future[Any], done: Future[Any]) -> None:
    if over.cancelled():
        done.cancel()
    elif not done.set_running_or_notify_cancel():
        return  # nobody waits for it
    elif (error := over.exception()) is not None:
        done.set_exception(error)
    else:
        done.set_result(over.result())


class DjangoTask(Task[Call]):
    """Calls the function that its data names, if that is a task of Django."""

    class Config:
        """Its `NAME` is set for each queue."""

        DATA = Call
        UNKNOWN_KEYS = "ignore"  # those of a newer release

    place: ClassVar[Place]

    def start(self) -> Any:
        """Run it, with connections to databases that belong to this greenlet and end with it."""
        try:
            return self._run_task()
        finally:
            connections.close_all()

    def _run_task(self) -> Any:
        place, call = self.place, self.task_data
        try:
            task = place.backend.task_of(call, place.queue)
        except BadDjangoTask as error:
            raise self.Fatal(str(error)) from None
        runs = read_saved(self.saved).begun(self.epoch, place.worker(), results.now())
        if not self.save(runs.plain(), now=True):
            return None  # the task belongs to another run by now
        result = results.result_of(task, self.id, place.backend.alias, call)
        results.fill(result, TaskResultStatus.RUNNING, runs)
        task_started.send_robust(sender=type(place.backend), task_result=result)
        try:
            value = normalize_json(self._call(result))
        except (Exception, SystemExit) as error:
            self._failed(result, runs, error)
            raise
        return self._ended(result, runs.ended(value, results.now())).plain()

    def _call(self, result: TaskResult) -> Any:
        task = result.task
        context = (TaskContext(task_result=result),) if task.takes_context else ()
        args = (*context, *result.args)
        if iscoroutinefunction(task.func):
            return self.aio(self._awaited(task.func, args, result.kwargs))
        return task.func(*args, **result.kwargs)

    async def _awaited(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a coroutine function returns; what it gives to `sync_to_async` is called in greenlets."""
        async with ThreadSensitiveContext(executor=Greenlets(self)):
            return await func(*args, **kwargs)

    def _ended(self, result: TaskResult, runs: Runs) -> Runs:
        results.fill(result, TaskResultStatus.SUCCESSFUL, runs)
        task_finished.send_robust(sender=type(self.place.backend), task_result=result)
        return runs

    def _failed(self, result: TaskResult, runs: Runs, error: BaseException) -> None:
        runs = runs.failed(Failure.of(type(error), "".join(format_exception(error))), results.now())
        self.save(runs.plain())  # goes to Redis with the end of the run
        results.fill(result, TaskResultStatus.FAILED, runs)
        task_finished.send_robust(sender=type(self.place.backend), task_result=result)
        if isinstance(error, SystemExit):
            raise self.Error(f"SystemExit: {error}") from error  # to pytask that is an ordinary end


def _with_own_connections(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call it in a greenlet of which no connection to a database is left."""
    try:
        return call(*args, **kwargs)
    finally:
        connections.close_all()


def task_class(place: Place) -> type[DjangoTask]:
    """The class for a queue."""
    config = type("Config", (DjangoTask.Config,), {"NAME": function_of(place.queue)})
    return type("DjangoTask", (DjangoTask,), {"Config": config, "place": place})
