"""The columns of tasks and workers."""

from __future__ import annotations

from pytask.cli.printer import Column
from pytask.domain.figures import FIGURES

TASKS = (
    Column("id", "id"),
    Column("_state", "state"),
    Column("function", "function"),
    Column("worker", "worker"),
    Column("_since", "updated"),
    Column("_due", "starts in", wide=True),
    Column("_progress", "progress", wide=True),
    Column("attempts", "runs", wide=True),
    Column("crashes", "crashes", wide=True),
    Column("restarts", "restarts", wide=True),
    Column("group", "group", wide=True),
    Column("control", "request", wide=True),
    Column("run", "run", wide=True),
)
WORKERS = (
    Column("name", "name"),
    Column("host", "host"),
    Column("pid", "pid"),
    Column("version", "version"),
    Column("_load", "tasks"),
    Column("_silent", "seen"),
    Column("_up", "up"),
    *(Column(f"_{name}", figure.column) for name, figure in FIGURES.items() if figure.column),
    Column("functions", "functions", wide=True),
    Column("session", "session", wide=True),
)
