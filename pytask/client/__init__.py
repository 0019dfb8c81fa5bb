"""Starting, controlling and watching tasks from any program.  Does not import gevent.

One implementation: the operations (`enqueue`, `control`, `queries`, `listing`, `watch`, ...) are generators
that yield what to send and get the replies.  Two drivers execute them: `sync_driver` for `pytask.Client`,
and `async_driver` for `pytask.aio.Client`.
"""

from __future__ import annotations

from pytask.client.client import Client
from pytask.client.limit_records import LimitInfo
from pytask.client.records import (
    Count,
    Event,
    Frame,
    FunctionInfo,
    Gap,
    LogLine,
    New,
    Outcome,
    Page,
    Stack,
    Stacks,
    Worker,
)
from pytask.client.schedule_records import ScheduleInfo
from pytask.client.task_records import Progress, Refusal, Rollback, TaskInfo
from pytask.domain.occurrences import Occurrence
from pytask.domain.samples import Sample

__all__ = [
    "Client",
    "Count",
    "Event",
    "Frame",
    "FunctionInfo",
    "Gap",
    "LimitInfo",
    "LogLine",
    "New",
    "Occurrence",
    "Outcome",
    "Page",
    "Progress",
    "Refusal",
    "Rollback",
    "Sample",
    "ScheduleInfo",
    "Stack",
    "Stacks",
    "TaskInfo",
    "Worker",
]
