"""The backend that the setting TASKS names: it queues tasks, and reads their results."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import Any

import attrs
from django.core import checks
from django.tasks import Task, TaskResult
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import DEFAULT_TASK_PRIORITY
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.tasks.signals import task_enqueued
from django.utils import timezone
from django.utils.json import normalize_json

from pytask.client import Client
from pytask.django import results
from pytask.django.found import task_named
from pytask.django.options import Options, read
from pytask.django.wire import Call, function_of, queue_of, read_call
from pytask.domain.errors import (
    BadData,
    BadDjangoTask,
    ConfigError,
    Denied,
    NoSuchTask,
    StoreError,
)

CHECK_ID = "pytask.PT250"


class RefusedTask(BadDjangoTask, InvalidTask):
    """A task that this backend does not queue."""


class UnknownResult(BadDjangoTask, TaskResultDoesNotExist):
    """A result whose task this program does not know."""


class PytaskBackend(BaseTaskBackend):
    """Runs the tasks of Django in workers of pytask: see docs/django.md."""

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = False

    @cached_property
    def pytask_options(self) -> Options:
        """`OPTIONS`.  Raises :class:`BadDjangoSettings`."""
        return read(self.alias, self.options)

    @property
    def client(self) -> Client:
        """The client of this backend, for all that Django has no word for: stop, pause, logs, limits.

        Raises:
            ConfigError: An option that is invalid.
        """
        return self.pytask_options.client

    def validate_task(self, task: Task) -> None:
        """Raise `InvalidTask` for a task that cannot be queued."""
        if task.priority != DEFAULT_TASK_PRIORITY:
            raise RefusedTask(
                "Backend does not support setting priority of tasks. pytask starts tasks in the order in"
                f" which they are queued, so priority={task.priority!r} would mean nothing: give urgent tasks"
                " a queue of their own (queue_name), and it a worker of its own"
            )
        super().validate_task(task)

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Queue a task, in one round trip.

        Raises:
            InvalidTask: Such a task cannot be queued.
            TypeError: Arguments that JSON cannot represent.
            StoreError: Redis did not take it, or did not answer; then it may be queued.
        """
        self.validate_task(task)
        self._check_name(task)
        call = Call(
            task=task.module_path,
            args=normalize_json(list(args)),
            kwargs=normalize_json(dict(kwargs)),
            enqueued_at=results.now(),
            run_after=None if task.run_after is None else task.run_after.isoformat(),
        )
        task_id = self.client.start(
            function_of(task.queue_name), attrs.asdict(call, recurse=False), at=_start_time(task.run_after)
        )
        result = results.result_of(task, task_id, self.alias, call)
        task_enqueued.send(type(self), task_result=result)
        return result

    def _check_name(self, task: Task) -> None:
        """Refuse a task that a worker would not find, or would refuse to run."""
        path = task.module_path
        try:
            found = task_named(path, self.pytask_options.modules)
        except BadDjangoTask as error:
            raise RefusedTask(error.args[0]) from None
        if found.func is not task.func:
            raise RefusedTask(f"{path!r} is another task: a worker finds a task by the name of its function")

    def get_result(self, result_id: str) -> TaskResult:
        """The result of a task as it is now, in one round trip.

        Raises:
            TaskResultDoesNotExist: There is no such task; results are deleted after a while.
            StoreError: Redis did not answer.
        """
        try:
            info = self.client.get(result_id)
        except (NoSuchTask, BadData) as error:
            raise TaskResultDoesNotExist(str(error)) from None
        queue, call = queue_of(info.function), read_call(info.raw_data)
        if queue is None or call is None:
            raise TaskResultDoesNotExist(f"{result_id!r} is not a task of Django, but runs {info.function!r}")
        result = results.result_of(self.task_of(call, queue), result_id, self.alias, call)
        results.fill_from(result, info)
        return result

    def task_of(self, call: Call, queue: str) -> Task:
        """The task of a call.  Raises :class:`UnknownResult`."""
        try:
            found = task_named(call.task, self.pytask_options.modules)
            return found.using(
                queue_name=queue, run_after=results.time_of(call.run_after), backend=self.alias
            )
        except (BadDjangoTask, InvalidTask) as error:
            raise UnknownResult(str(error.args[0])) from None

    def check(self, **kwargs: Any) -> Iterator[checks.CheckMessage]:
        """What is wrong with the settings, and whether Redis answers: for `manage.py check`."""
        yield from super().check(**kwargs)
        where = f'TASKS["{self.alias}"]'
        if not self.queues:
            yield checks.Warning(
                f"{where} has no QUEUES, so its workers do not know for which queues to work.",
                hint='Name them: "QUEUES": ["default"].',
                id=CHECK_ID,
            )
        try:
            self.client.workers()
        except (ConfigError, Denied) as error:
            yield checks.Error(f"{where} cannot be used: {error}", id=CHECK_ID)
        except StoreError as error:
            yield checks.Warning(
                f"{where}: Redis does not answer now: {error}",
                hint='Check "url" in OPTIONS, and whether the server runs.',
                id=CHECK_ID,
            )


def _start_time(run_after: datetime | None) -> datetime | None:
    """With a time zone: without USE_TZ, that of the settings is meant."""
    return (
        timezone.make_aware(run_after)
        if run_after is not None and timezone.is_naive(run_after)
        else run_after
    )
