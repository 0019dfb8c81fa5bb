"""The calls of the clients that concern schedules."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, Unpack

from pytask.client.lazy import timetable
from pytask.client.partitions import Partitions
from pytask.client.schedule_records import ScheduleInfo

if TYPE_CHECKING:
    from pytask.client.async_driver import AsyncDriver
    from pytask.client.enqueue import Function
    from pytask.client.sync_driver import SyncDriver
    from pytask.domain.schedules import Definition


class Schedules:
    """`client.schedules`: makes, reads and changes schedules."""

    def __init__(self, driver: SyncDriver, partitions: Partitions) -> None:
        self._driver = driver
        self._partitions = partitions

    def add(
        self, name: str, function: Function, data: Any = None, **definition: Unpack[Definition]
    ) -> ScheduleInfo:
        """Make a schedule, or change it: what it did so far, and whether it is paused, stays.

        May be repeated.  As long as its times stay the same, the next one does, too.

        Args:
            name: Its name, which is also the id of its task (with `overlap` "allow" the ids begin with it).
            function: The name or the class of the task.
            data: The data of the task.
            **definition: `every` (seconds) or `cron` (with `tz`, "UTC" by default), and the options of
                `PyTask.cron`: `jitter`, `overlap`, `missed`, `deadline`.

        Returns:
            The schedule; its next time is known once a worker has seen it.

        Raises:
            BadSchedule: Something of it makes no sense; the message has the fix.
            BadData: Data that does not fit.
        """
        return self._driver.run(
            timetable.add_schedule(self._partitions, name, function, data, {**definition})
        )

    def get(self, name: str) -> ScheduleInfo:
        """A schedule, with its data and what became of its last 100 occurrences.

        Raises:
            NoSuchSchedule: There is none.
        """
        return self._driver.run(timetable.get_schedule(self._partitions, name))

    def list(self, *, limit: int = 1000) -> builtins.list[ScheduleInfo]:
        """Schedules, the next ones first, without their data and their past; at most `limit`."""
        return self._driver.run(timetable.list_schedules(self._partitions, limit))

    def pause(self, name: str) -> bool:
        """Start no more of it; False if it was paused already.  A task that waits or runs goes on.

        Raises:
            NoSuchSchedule: There is none.
        """
        return self._driver.run(timetable.pause_schedule(self._partitions, name, paused=True))

    def resume(self, name: str) -> bool:
        """Go on with the next time; what was due meanwhile is not made up for.  False if it was not paused.

        Raises:
            NoSuchSchedule: There is none.
        """
        return self._driver.run(timetable.pause_schedule(self._partitions, name, paused=False))

    def remove(self, name: str) -> bool:
        """Delete it, and what is known of its occurrences; False if there was none.  Its task stays.

        One that the code of workers defines comes back with the next worker that starts.
        """
        return self._driver.run(timetable.remove_schedule(self._partitions, name))


class AsyncSchedules:
    """The same calls as `Schedules`, awaited."""

    def __init__(self, driver: AsyncDriver, partitions: Partitions) -> None:
        self._driver = driver
        self._partitions = partitions

    async def add(
        self, name: str, function: Function, data: Any = None, **definition: Unpack[Definition]
    ) -> ScheduleInfo:
        """As `Schedules.add`."""
        return await self._driver.run(
            timetable.add_schedule(self._partitions, name, function, data, {**definition})
        )

    async def get(self, name: str) -> ScheduleInfo:
        """As `Schedules.get`."""
        return await self._driver.run(timetable.get_schedule(self._partitions, name))

    async def list(self, *, limit: int = 1000) -> builtins.list[ScheduleInfo]:
        """As `Schedules.list`."""
        return await self._driver.run(timetable.list_schedules(self._partitions, limit))

    async def pause(self, name: str) -> bool:
        """As `Schedules.pause`."""
        return await self._driver.run(timetable.pause_schedule(self._partitions, name, paused=True))

    async def resume(self, name: str) -> bool:
        """As `Schedules.resume`."""
        return await self._driver.run(timetable.pause_schedule(self._partitions, name, paused=False))

    async def remove(self, name: str) -> bool:
        """As `Schedules.remove`."""
        return await self._driver.run(timetable.remove_schedule(self._partitions, name))
