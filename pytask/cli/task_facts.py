"""Why a task is in its state, and the redis-cli commands that read it."""

from __future__ import annotations

from pytask.cli.connection import Remote
from pytask.client.task_records import TaskInfo
from pytask.domain.reasons import LOOK, Account
from pytask.shown import facts


def account_of(remote: Remote, task: TaskInfo) -> Account:
    """Why the task is in its state."""
    return remote.driver.run(facts.account_of(remote.partitions, task))


def commands(space: str, task_id: str) -> list[tuple[str | int, ...]]:
    """The equivalent redis-cli commands."""
    return [
        ("HGETALL", space + task_id),
        ("HGET", f"{space}pytask:runs", task_id),
        ("ZSCORE", f"{space}pytask:leases", task_id),
        ("LPOS", f"{space}new-task", task_id, "RANK", -1, "MAXLEN", LOOK),
        ("ZSCORE", f"{space}pytask:timers", task_id),
        ("SISMEMBER", f"{space}pytask:paused:functions", "*"),
        ("HVALS", f"{space}pytask:workers:info"),
    ]
