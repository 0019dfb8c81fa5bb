"""A reload in place: `on_reload()` of a task, in a greenlet of its run, which goes on meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import attrs
from gevent import GreenletExit

from pytask.domain.errors import BadData
from pytask.domain.record import Claim
from pytask.domain.secrets import hide
from pytask.domain.task import Task
from pytask.logger import get_logger
from pytask.runtime.runs.fitting import Fault, secrets_of
from pytask.runtime.runs.in_force import in_force
from pytask.runtime.runs.run import Run
from pytask.runtime.tree import RunGreenlet

log = get_logger(__name__)


def takes(run: Run, claim: Claim) -> bool:
    """Whether the run takes new data in place."""
    task = run.task
    return (
        task is not None
        and claim.function == run.claim.function
        and type(task).on_reload is not Task.on_reload
    )


class ReloadGreenlet(RunGreenlet):
    """The greenlet of a task's `on_reload()`; its value is why the task did not take the data, or None."""

    def __init__(self, run: Run, data: Any, taken: Callable[[], None]) -> None:
        super().__init__(run)
        self._data = data
        self._taken = taken
        self._task = run.task

    def _run(self) -> Fault | None:
        run, task, data = cast("Run | None", self.pytask_run), self._task, self._data
        self._task = self._data = None
        if run is None or task is None:
            return None
        before = task.task_data
        try:
            run.call(task.on_reload, data)
        except GreenletExit:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever the task raises, its run goes on
            task.task_data = before
            return _fault(error, run.hidden)
        task.task_data = data
        self._taken()  # in the same step: a failure from here on is one of the new data
        return None


def _fault(error: BaseException, hidden: tuple[str, ...]) -> Fault:
    text = str(error.args[0]) if error.args else ""
    if isinstance(error, BadData):
        return error.path, hide(text, hidden)
    if isinstance(error, ValueError):
        return "$", hide(text, hidden)
    return "$", hide(f"on_reload() raised {type(error).__name__}: {text}", hidden)


def take(run: Run, claim: Claim, data: Any, taken: Callable[[], None]) -> Fault | None:
    """Call `on_reload()`, and `taken` once it has taken the data; why the task did not take it, or None.

    Also None if the run was stopped meanwhile: then nothing came of it.
    """
    # The data that is replaced may still be in use.
    before = attrs.evolve(run.claim, data=in_force(run).data)
    run.hidden = (*secrets_of(claim, run.cls), *secrets_of(before, run.cls))
    greenlet = ReloadGreenlet(run, data, taken)
    greenlet.name = f"on_reload of task {run.id}"
    run.adopt(greenlet)
    greenlet.start()
    greenlet.join()
    found = greenlet.value
    return found if isinstance(found, tuple) else None
