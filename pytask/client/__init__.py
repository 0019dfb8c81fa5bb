"""Starting, controlling and watching tasks from any program.  Does not import gevent.

One implementation: the operations (`produce`, `steer`, `look`, `pages`, `follow`) are generators that
yield what to send and get the replies.  Two shells drive them: `blocking` here, and `pytask.aio`.
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
    "ScheduleInfo",
    "Stack",
    "Stacks",
    "TaskInfo",
    "Worker",
]
