"""What came of the last reload of a task, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from pytask.domain.wording import ago


class Answered(Protocol):
    """A reload that was refused or rolled back."""

    @property
    def reason(self) -> str:
        """Why."""

    @property
    def at(self) -> float:
        """Seconds since 1970."""


class Reloaded(Protocol):
    """The part of a task that its last reload left."""

    @property
    def refusal(self) -> Answered | None:
        """The last reload was refused."""

    @property
    def rolled_back(self) -> Answered | None:
        """The last reload was rolled back."""

    @property
    def settling(self) -> bool:
        """The run was started by a reload less than a second ago."""

    @property
    def on_trial(self) -> bool:
        """Its data may be rolled back."""

    @property
    def reloaded_at(self) -> float:
        """Seconds since 1970: when the run last took new data in place; 0: never."""


def of_a_run(task: Reloaded, now: float) -> Iterator[str]:
    """Of a task that runs."""
    if task.refusal is not None:
        when = ago(max(0.0, now - task.refusal.at))
        yield f"its last reload was refused {when} ago, and the run continued: {task.refusal.reason}"
    elif task.reloaded_at:
        yield f"it took its data in place {ago(max(0.0, now - task.reloaded_at))} ago"
    if task.settling:
        yield "this run was started by a reload, and its start() has been running for less than a second"
    elif task.on_trial:
        yield "its new data has lived for less than 10 s: if it fails now, the previous data comes back"
    yield from of_any(task, now)


def of_any(task: Reloaded, now: float) -> Iterator[str]:
    """Of any task: it was rolled back, and no reload was carried out since."""
    if task.rolled_back is not None:
        when = ago(max(0.0, now - task.rolled_back.at))
        yield (
            f"its last reload was rolled back {when} ago to the previous data, because the run with the new"
            f" data failed: {task.rolled_back.reason}"
        )
