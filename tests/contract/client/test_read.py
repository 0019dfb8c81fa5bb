"""Reading tasks, lists, counts, workers and functions."""

import attrs
import pytest

from pytask import errors
from pytask.domain import lifecycle as life
from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change
from tests.contract.client.faces import all_pages, populate


def test_in_a_long_queue_a_count_says_that_it_is_not_exact(real):
    real.bench.raw.lpush(real.bench.keys.queue, *range(2001))
    found = real.client.count()
    assert (found[life.WAIT], found.exact) == (2001, False)


@pytest.mark.wire
def test_get_tells_all_there_is(both):
    task_id = both.client.start("f", {"a": 1})
    task = both.client.get(task_id)
    assert (task.id, task.state, task.function, task.data) == (task_id, life.WAIT, "f", {"a": 1})
    ref = both.bench.ref(task_id)
    both.bench.claim(ref)
    task = both.client.get(task_id)
    assert (task.state, task.worker, task.run, task.attempts) == (life.RUNNING, "w", ref.run, 1)
    assert task.session == "session"
    assert task.epoch > 1.7e12
    assert task.last_update > 1.7e9
    assert not task.finished
    both.end(ref, output={"x": [1]})
    task = both.client.get(task_id)
    assert (task.state, task.output, task.last_run, task.run) == (life.ENDED, {"x": [1]}, ref.run, "")
    assert task.finished


@pytest.mark.wire
def test_get_bears_what_others_wrote(both):
    both.bench.write("t", function="f", state="ODD", epoch="inf", attempts="many", later="1", data="no json")
    task = both.client.get("t")
    assert (task.state, task.epoch, task.attempts, task.more) == (life.WAIT, 0, 0, {"later": "1"})
    with pytest.raises(ValueError, match="JSON"):
        _ = task.data
    both.bench.set_string("s")
    with pytest.raises(errors.NoSuchTask):
        both.client.get("s")


@pytest.mark.wire
def test_an_error_is_its_first_line(both):
    ref = both.bench.running("t")
    change = Change(id="t", run=ref.run, event=b"", trigger=Trigger.FAIL, fields={"error": "it broke\ntrace"})
    both.bench.store.commit([change])
    task = both.client.get("t")
    assert (task.state, task.reason, task.error) == (life.ERROR, "it broke", "it broke\ntrace")


@pytest.mark.wire
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_show_every_task_once(both, limit):
    made = populate(both)
    everything = sorted(task_id for ids in made.values() for task_id in ids)
    found, pages = all_pages(both.client, limit)
    assert sorted(task.id for task in found) == everything
    assert pages >= len(everything) / limit
    for state, ids in made.items():
        found, _ = all_pages(both.client, limit, state=state)
        assert sorted(task.id for task in found) == sorted(ids)
        assert {task.state for task in found} == {state}
        assert all(task.raw_data is None for task in found)
    two, _ = all_pages(both.client, limit, state=["ENDED", "ERROR"])
    assert sorted(task.id for task in two) == sorted(made[life.ENDED] + made[life.ERROR])


def test_the_last_that_came_to_rest_is_shown_first(both):
    for number in range(5):
        both.end(both.bench.running(f"t{number}"))
    page = both.client.list(state="ENDED", limit=5)
    assert [task.id for task in page] == ["t4", "t3", "t2", "t1", "t0"]


def test_ties_are_shown_once_each(both):
    for number in range(9):
        both.bench.write(f"t{number}", function="f", state="ENDED")
        both.bench.set_index(life.ENDED, f"t{number}", 1764000000.25)
    found, _ = all_pages(both.client, 2, state="ENDED")
    assert sorted(task.id for task in found) == [f"t{number}" for number in range(9)]
    page = both.client.list(state="ENDED", limit=4)
    both.bench.delete(page.tasks[0].id)
    both.bench.raw.zrem(both.bench.keys.index(life.ENDED), page.tasks[0].id)
    more = both.client.list(state="ENDED", limit=9, cursor=page.cursor)
    assert not {task.id for task in more} & {task.id for task in page}
    assert len(more) == 5


@pytest.mark.wire
def test_a_list_that_workers_take_from_goes_on_where_it_was(both):
    ids = both.client.start_many(["f"] * 20)
    page = both.client.list(state="WAIT", limit=6)
    assert [task.id for task in page] == ids[:6]
    both.bench.claim(*(both.bench.ref(task_id) for task_id in ids[:4]))
    both.client.start("f")  # at the other end
    page = both.client.list(state="WAIT", limit=6, cursor=page.cursor)
    assert [task.id for task in page] == ids[6:12]
    both.bench.claim(*(both.bench.ref(task_id) for task_id in ids[4:14]))
    page = both.client.list(state="WAIT", limit=3, cursor=page.cursor)
    assert [task.id for task in page] == ids[14:17]


@pytest.mark.wire
def test_filters(both):
    made = populate(both)
    found, _ = all_pages(both.client, 2, function="g")
    assert sorted(task.id for task in found) == sorted(made[life.RUNNING])
    found, _ = all_pages(both.client, 100, worker="w", state="RUNNING")
    assert sorted(task.id for task in found) == sorted(made[life.RUNNING])
    assert all_pages(both.client, 100, worker="session", state="RUNNING")[0]
    assert all_pages(both.client, 100, worker="other")[0] == []


def test_a_page_with_a_filter_reads_no_more_than_it_may(both):
    both.client.start_many(["f"] * 2500)
    page = both.client.list(function="rare", limit=10)
    assert (len(page), page.looked) == (0, 1000)
    assert page.cursor is not None
    assert all_pages(both.client, 10, function="rare")[0] == []


@pytest.mark.wire
def test_a_page_skips_what_is_gone(both):
    ids = both.client.start_many(["f"] * 4)
    both.bench.delete(ids[1])
    both.bench.set_string(ids[2])
    both.bench.lpush(b"\xff\xfe")
    found, _ = all_pages(both.client, 2)
    assert [task.id for task in found] == [ids[0], ids[3]]


@pytest.mark.parametrize("cursor", ["", "x", "e30", "WyJYIiwwLG51bGxd", "é", 5])
def test_a_strange_cursor_is_refused(real, cursor):
    with pytest.raises(errors.BadCursor, match="PT087"):
        real.client.list(cursor=cursor)


def test_a_cursor_belongs_to_its_states(real):
    real.client.start_many(["f"] * 3)
    cursor = real.client.list(limit=1).cursor
    with pytest.raises(errors.BadCursor):
        real.client.list(limit=1, state="WAIT", cursor=cursor)


def test_wrong_filters_are_refused(real):
    with pytest.raises(errors.BadData, match="BUSY"):
        real.client.list(state="BUSY")
    for limit in (0, -1, 10_001, 1.5, True):
        with pytest.raises(errors.ConfigError):
            real.client.list(limit=limit)


@pytest.mark.wire
def test_count(both):
    assert both.client.count().total == 0
    made = populate(both)
    counted = both.client.count()
    assert dict(counted.states) == {state: len(ids) for state, ids in made.items()}
    assert (counted["WAIT"], counted.queued, dict(counted.parked)) == (12, 11, {"unknown": 1})
    assert counted.total == sum(map(len, made.values()))
    assert counted.rejected == 0


@pytest.mark.wire
def test_workers_and_functions(both, kind):
    store = both.bench.store
    info = WorkerInfo(
        session="s1", name="larch", host="h", pid=7, running=2, functions=("f", "g"), max_tasks=9
    )
    store.announce(info)
    store.announce(attrs.evolve(info, session="s2", name="yew", functions=("f",)))
    if kind == "memory":  # where every report is one of this release
        assert {worker.session: worker.name for worker in both.client.workers()} == {
            "s1": "larch",
            "s2": "yew",
        }
        assert {one.name: one.workers for one in both.client.functions()} == {"f": 2, "g": 1}
        return
    raw, keys = both.bench.raw, both.bench.keys
    raw.hset(keys.worker_info, "s2", '{"name": "yew", "functions": ["f"], "loop_lag": 0.5, "pid": "x"}')
    raw.zadd(keys.workers, {"s3": 1000.0})
    raw.hset(keys.worker_info, "s3", "not json")
    raw.zadd(keys.workers, {"s4": 999.0})
    found = {worker.session: worker for worker in both.client.workers()}
    first, second = found["s1"], found["s2"]
    assert (first.name, first.host, first.pid, first.running, first.max_tasks) == ("larch", "h", 7, 2, 9)
    assert first.alive
    assert first.functions == ("f", "g")
    assert (second.name, second.pid, second.more) == ("yew", 0, {"loop_lag": 0.5})
    assert not found["s3"].alive
    assert found["s4"].name == ""
    both.bench.push("p", function="unknown")
    store.park("p", "unknown", b"{}")
    by_name = {one.name: (one.workers, one.parked) for one in both.client.functions()}
    assert by_name == {"f": (2, 0), "g": (1, 0), "unknown": (0, 1)}


@pytest.mark.wire
def test_find_by_the_beginning(both):
    both.client.start_many([("f", None, task_id) for task_id in ("abc", "abd", "b*", "b?x")])
    both.bench.set_string("abe")
    assert both.client.find("ab") == (["abc", "abd"], True)
    assert both.client.find("b*") == (["b*"], True)
    assert both.client.find("zz") == ([], True)
    assert both.client.find("pytask") == ([], True)
