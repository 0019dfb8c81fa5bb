"""The methods of both clients that control tasks.

The two classes have the same methods.  Those for asyncio have no documentation of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pytask.client.lazy import control, pausing, reload, requeue, stacks
from pytask.client.records import Outcome, Stacks
from pytask.domain.messages import Command

if TYPE_CHECKING:
    from pytask.client.async_driver import AsyncDriver
    from pytask.client.partitions import Partitions
    from pytask.client.sync_driver import SyncDriver
    from pytask.domain.timing import Timing

Outcomes = list[Outcome]


class ControlMethods:
    """The methods of `pytask.Client` that control tasks."""

    _driver: SyncDriver
    _partitions: Partitions

    def stop(self, id: str, *, wait: float = 0) -> Outcome:  # noqa: A002
        """Stop a task, whether it waits or runs.

        The request is stored in the hash, so it survives restarts, and the worker is notified.

        Args:
            id: The task.
            wait: Seconds to wait until the task has stopped; 0 returns at once.

        Returns:
            What happened; `done` says whether it is at rest already.

        Raises:
            NoSuchTask: There is no such task.
            TimedOut: It has not stopped within `wait` seconds.
            NoListeners: No worker listens that could stop it; only with `wait`.
        """
        return self._steer(Command.STOP, id, wait)

    def start_again(
        self,
        id: str,  # noqa: A002
        data: Any = None,
        *,
        wait: float = 0,
        fresh: bool = False,
    ) -> Outcome:
        """Queue a task at rest (ENDED, STOPPED, ERROR) again, or resume a paused one.

        Any other that waits or runs is left alone.

        Args:
            id: The task.
            data: New data; None keeps the present data.
            wait: Seconds to wait until its run has begun; 0 returns at once.
            fresh: Without what its earlier runs have saved (`self.saved`), also if it waits already.

        Returns:
            What happened.  With `fresh`, a task that runs is `refused`, also a paused one: nothing changes.

        Raises:
            NoSuchTask: There is no such task.
            TimedOut: It has not begun within `wait` seconds.
            TaskNotRunning: It was stopped before it began.
            RunFailed: It began, and failed within the wait.
        """
        return self._steer(Command.START, id, wait, data, fresh=fresh)

    def requeue(
        self,
        id: str,  # noqa: A002
        data: Any = None,
        *,
        wait: float = 0,
        timing: Timing | None = None,
    ) -> Outcome:
        """Queue a task again: as `start_again`, and also one whose worker died while no monitor is running.

        Its lease is watched for 90 s first (`Timing.expiry`), as a monitor does, or longer if the settings of
        the dead worker ask for it.

        Args:
            id: The task.
            data: New data; None keeps the present data.
            wait: Seconds to wait until its run has begun; 0 returns as soon as it is queued.
            timing: The times of the workers; default `Timing()`.

        Returns:
            What happened.

        Raises:
            NoSuchTask: There is no such task.
            TaskRunning: It was renewed meanwhile, so its worker is alive.
        """
        return self._driver.run(requeue.requeue(self._partitions, id, data, wait, timing))

    def requeue_many(self, ids: Iterable[str], *, timing: Timing | None = None) -> Outcomes:
        """As `requeue`, all in one watch; an outcome for each, whose `refused` says why it was left alone."""
        return self._driver.run(requeue.requeue_many(self._partitions, [*ids], timing))

    def reload(
        self,
        id: str,  # noqa: A002
        data: Any = None,
        *,
        wait: float = 0,
        settled: bool = False,
    ) -> Outcome:
        """Give a running task new data: that from its hash, or `data`.

        The worker checks the data first.  Data that does not fit (not JSON, other types, unknown keys, a
        validator or the task's `check` that fails) changes nothing: the run goes on, the hash gets its data
        back, and `refusal` has the path and the reason.  A task with `on_reload` takes the data in place; any
        other is stopped, and a new run starts.  If it fails within 10 s, the reload is rolled back: the task
        runs again with its previous data, and `rolled_back` has the reason.

        Args:
            id: The task.
            data: New data; None keeps the present data.
            wait: Seconds to wait until the new run has lived for a second, the run has taken the data in
                place, or the reload was refused; 0 returns at once.
            settled: Wait longer, until new data has lived for 10 s or was rolled back.

        Returns:
            What happened; `requested` is False if the task was not running.  After a refusal and a rollback
            `done` is False.

        Raises:
            NoSuchTask: There is no such task.
            TimedOut: Nothing of this has happened within `wait` seconds.
            TaskNotRunning: It came to rest before the new run began.
            RunFailed: The new run failed at once, and there was no other data to go back to.
        """
        return self._driver.run(reload.reload(self._partitions, id, data, wait, settled=settled))

    def pause(self, id: str, *, wait: float = 0) -> Outcome:  # noqa: A002
        """Pause a task: one that waits is not started, one that runs stands still at its next gate.

        Nothing is interrupted: gates are `self.gate()` and the rounds of `run_loop`.  `start_again` resumes
        it.

        Args:
            id: The task.
            wait: Seconds to wait until its run has reached a gate; 0 returns at once.

        Returns:
            What happened; `done` is False if it runs and has not reached a gate yet, and if it is at rest, in
            which case nothing was done.

        Raises:
            NoSuchTask: There is no such task.
            TimedOut: No greenlet of it has reached a gate within `wait` seconds; the request remains.
            NoListeners: No worker listens that could pause it; only with `wait`.
            TaskNotRunning: It came to rest before.
        """
        return self._steer(Command.PAUSE, id, wait)

    def pause_many(self, ids: Iterable[str]) -> Outcomes:
        """As `pause`, for many tasks and without waiting; an outcome for each, in order."""
        return self._driver.run(control.steer_many(self._partitions, Command.PAUSE, [*ids]))

    def stacks(self, id: str, *, wait: float = 5.0) -> Stacks:  # noqa: A002
        """Where the code of a running task is: the stacks of its greenlets, threads and coroutines.

        Its worker is asked by a message, and answers by an event; nothing is stored.

        Args:
            id: The task.
            wait: Seconds to wait for the answer.

        Returns:
            At most 50 stacks, that of `start()` first; its `more` tells whether there are more.

        Raises:
            NoSuchTask: There is no such task.
            TaskNotRunning: It does not run.
            TimedOut: No worker has answered within `wait` seconds.
        """
        return self._driver.run(stacks.stacks(self._partitions, id, wait))

    def pause_functions(self, names: Iterable[str]) -> list[str]:
        """Pause functions: no worker starts their tasks, those that run go on.

        Args:
            names: The functions; `"*"` stands for all.

        Returns:
            Those that were not paused before.

        Raises:
            BadData: No name.
        """
        return self._driver.run(pausing.hold_functions(self._partitions, names, resume=False))

    def resume_functions(self, names: Iterable[str]) -> list[str]:
        """Resume functions; their tasks start at once.  Returns those that were paused.

        A function that was paused by its name stays paused when `"*"` is resumed, and the other way round.
        """
        return self._driver.run(pausing.hold_functions(self._partitions, names, resume=True))

    def stop_many(self, ids: Iterable[str]) -> Outcomes:
        """As `stop`, for many tasks and without waiting; an outcome for each, in order."""
        return self._driver.run(control.steer_many(self._partitions, Command.STOP, [*ids]))

    def start_again_many(self, ids: Iterable[str], *, fresh: bool = False) -> Outcomes:
        """As `start_again`, for many tasks and without waiting; an outcome for each, in order."""
        return self._driver.run(control.steer_many(self._partitions, Command.START, [*ids], fresh=fresh))

    def reload_many(self, ids: Iterable[str], *, wait: float = 0, settled: bool = False) -> Outcomes:
        """As `reload`, for many tasks; an outcome for each, in order.  Nothing is raised for a single task.

        Args:
            ids: The tasks.
            wait: Seconds to wait for all of them, as in `reload`; 0 returns at once.
            settled: As in `reload`.

        Returns:
            What happened to each; `refused` says why one is not done, also if its new run failed or it came
            to rest before.
        """
        return self._driver.run(reload.reload_many(self._partitions, [*ids], wait, settled=settled))

    def remove(self, id: str) -> bool:  # noqa: A002
        """Delete a task that is not running, and its queue entry.

        Args:
            id: The task.

        Returns:
            False if there was none.

        Raises:
            TaskRunning: It is running.
        """
        return self._driver.run(control.remove(self._partitions, id))

    def remove_many(self, ids: Iterable[str], *, state: str | Iterable[str] | None = None) -> Outcomes:
        """Delete many tasks that are not running, 256 in two round trips.

        Args:
            ids: The tasks.
            state: Delete only tasks in this state, or one of these; checked in the same step that deletes.

        Returns:
            What happened to each, in order.  `done` is False if there was none, if it was in another state,
            or if it is running (`refused`).
        """
        return self._driver.run(control.remove_many(self._partitions, [*ids], state))

    def _steer(
        self, command: Command, task_id: str, wait: float, data: Any = None, *, fresh: bool = False
    ) -> Outcome:
        return self._driver.run(control.steer(self._partitions, command, task_id, wait, data, fresh=fresh))


class AsyncControlMethods:
    """The same methods for asyncio."""

    _driver: AsyncDriver
    _partitions: Partitions

    async def stop(self, id: str, *, wait: float = 0) -> Outcome:  # noqa: A002
        """As `pytask.Client.stop`."""
        return await self._steer(Command.STOP, id, wait)

    async def start_again(
        self,
        id: str,  # noqa: A002
        data: Any = None,
        *,
        wait: float = 0,
        fresh: bool = False,
    ) -> Outcome:
        """As `pytask.Client.start_again`."""
        return await self._steer(Command.START, id, wait, data, fresh=fresh)

    async def requeue(
        self,
        id: str,  # noqa: A002
        data: Any = None,
        *,
        wait: float = 0,
        timing: Timing | None = None,
    ) -> Outcome:
        """As `pytask.Client.requeue`."""
        return await self._driver.run(requeue.requeue(self._partitions, id, data, wait, timing))

    async def requeue_many(self, ids: Iterable[str], *, timing: Timing | None = None) -> Outcomes:
        """As `pytask.Client.requeue_many`."""
        return await self._driver.run(requeue.requeue_many(self._partitions, [*ids], timing))

    async def reload(
        self,
        id: str,  # noqa: A002
        data: Any = None,
        *,
        wait: float = 0,
        settled: bool = False,
    ) -> Outcome:
        """As `pytask.Client.reload`."""
        return await self._driver.run(reload.reload(self._partitions, id, data, wait, settled=settled))

    async def pause(self, id: str, *, wait: float = 0) -> Outcome:  # noqa: A002
        """As `pytask.Client.pause`."""
        return await self._steer(Command.PAUSE, id, wait)

    async def pause_many(self, ids: Iterable[str]) -> Outcomes:
        """As `pytask.Client.pause_many`."""
        return await self._driver.run(control.steer_many(self._partitions, Command.PAUSE, [*ids]))

    async def stacks(self, id: str, *, wait: float = 5.0) -> Stacks:  # noqa: A002
        """As `pytask.Client.stacks`."""
        return await self._driver.run(stacks.stacks(self._partitions, id, wait))

    async def pause_functions(self, names: Iterable[str]) -> list[str]:
        """As `pytask.Client.pause_functions`."""
        return await self._driver.run(pausing.hold_functions(self._partitions, names, resume=False))

    async def resume_functions(self, names: Iterable[str]) -> list[str]:
        """As `pytask.Client.resume_functions`."""
        return await self._driver.run(pausing.hold_functions(self._partitions, names, resume=True))

    async def stop_many(self, ids: Iterable[str]) -> Outcomes:
        """As `pytask.Client.stop_many`."""
        return await self._driver.run(control.steer_many(self._partitions, Command.STOP, [*ids]))

    async def start_again_many(self, ids: Iterable[str], *, fresh: bool = False) -> Outcomes:
        """As `pytask.Client.start_again_many`."""
        steering = control.steer_many(self._partitions, Command.START, [*ids], fresh=fresh)
        return await self._driver.run(steering)

    async def reload_many(self, ids: Iterable[str], *, wait: float = 0, settled: bool = False) -> Outcomes:
        """As `pytask.Client.reload_many`."""
        return await self._driver.run(reload.reload_many(self._partitions, [*ids], wait, settled=settled))

    async def remove(self, id: str) -> bool:  # noqa: A002
        """As `pytask.Client.remove`."""
        return await self._driver.run(control.remove(self._partitions, id))

    async def remove_many(self, ids: Iterable[str], *, state: str | Iterable[str] | None = None) -> Outcomes:
        """As `pytask.Client.remove_many`."""
        return await self._driver.run(control.remove_many(self._partitions, [*ids], state))

    async def _steer(
        self, command: Command, task_id: str, wait: float, data: Any = None, *, fresh: bool = False
    ) -> Outcome:
        steering = control.steer(self._partitions, command, task_id, wait, data, fresh=fresh)
        return await self._driver.run(steering)
