import json

import attrs
import pytest

from pytask.adapters.redis.replies import read_info
from pytask.cli.rows import WORKERS
from pytask.client.records import Worker
from pytask.domain import figures
from pytask.domain.figures import FIGURES, Busy, WorkerInfo
from pytask.domain.limits import Rule
from pytask.domain.metrics import Histogram
from pytask.shown.rows import worker_row

FULL = WorkerInfo(
    session="s1", name="n", host="h", pid=7, version="0.1.0", functions=("a", "b"), running=3, tasks=2,
    secret={"a": ("password", "api.token")}, protocol="1.1", schemas={"a": {"type": "object"}},
    restarts={"a": "again after 1 s"},
    max_tasks=9, started=1.5, lag=0.002, round_trip=0.25, cpu=0.5, monitor=True, expiry=90.0, dropped=1,
    schedules=("nightly",), definitions={"nightly": "0a1b2c3d"}, zones="2026a",
    task_logs=0, files=1024, held=1.0, embargo=2.0, refused=4, kept_by={"id": "thread"}, stuck=("x",),
    pausing={"id": "greenlet"},
    busiest=(Busy("i", "f", 0.9, 3),), lock="boot 1 2 token", unlocked="no space left",
    limits={"a": Rule(limit=3, group_limit=1, rate=(5, 60.0), path=("api", "tenant"))},
    runs={"a": 3}, lease_age=1.5, takeovers=Histogram((0, 2, 1), 95.0), restarted={"a": {"failure": 2}},
    backing_off=1, round_age={"a": 0.5}, rounds=Histogram((4,), 0.1), starts=Histogram((3, 0), 0.2),
    timers_late=Histogram((1, 1), 0.3), fires={"started": 2},
)  # fmt: skip


def entry(**changes):
    return json.dumps(attrs.asdict(FULL) | changes)


def test_every_figure_is_set_here_and_comes_back_from_its_json():
    fresh = WorkerInfo(session="")
    assert not [name for name in FIGURES if getattr(FULL, name) == getattr(fresh, name)]
    assert read_info(entry()) == FULL


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "session"])
@pytest.mark.parametrize("value", [None, -1, True, "x", [1], {"a": 1}, 1e300, [[]]])
def test_what_cannot_be_understood_counts_as_not_shown(name, value):
    default = getattr(WorkerInfo(session="s1"), name)
    read = getattr(read_info(entry(**{name: value})), name)
    assert read == default or type(read) is type(getattr(FULL, name))


def test_an_entry_without_a_session_is_none():
    assert [read_info(text) for text in ("", "[]", "{", '{"session": 3}', b"\xff")] == [None] * 5


def test_a_client_reads_the_same_figures_and_a_row_shows_all_of_them():
    worker = Worker(**figures.read(json.loads(entry())), silent=1.0, more={"heat": 3})
    row = worker_row(worker)
    assert {name: row[name] for name in FIGURES} == attrs.asdict(FULL)
    cells = {column.title: row[column.field] for column in WORKERS}
    assert (cells["lag"], cells["redis"], cells["cpu"], cells["monitor"]) == ("2.0ms", "250.0ms", "50%", True)
    assert (cells["tasks"], row["more"], row["alive"]) == ("3/9", {"heat": 3}, True)
