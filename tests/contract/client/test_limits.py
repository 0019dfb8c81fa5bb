"""Groups and limits from a client."""

import pytest

from pytask import Task, errors
from pytask.client import New
from pytask.domain.figures import WorkerInfo
from pytask.domain.limits import Rule


class Sync(Task):
    class Config:
        NAME = "f"

    def start(self):
        pass


def claim(both, *ids, rules=None):
    bench = both.bench
    return [one.verdict for one in bench.claim(*map(bench.ref, ids), rules=rules or {})]


@pytest.mark.wire
def test_a_group_and_its_limit(both):
    client, bench = both.client, both.bench
    client.limits.set(1, group="account-17")
    ids = [client.start(Sync, {"n": n}, id=f"t{n}", group="account-17") for n in range(3)]
    assert bench.hash("t0")["group"] == "account-17"
    assert client.get("t1").group == "account-17"
    assert bench.queue() == ["t0"]  # the others follow it
    assert claim(both, "t0") == ["OK"]
    found = client.limits.get(group="account-17")
    assert (found.limit, found.live, found.waiting) == (1, 1, 2)
    assert (found.holders, found.waiters) == (("t0",), ("t1", "t2"))
    (listed,) = client.limits.list()
    assert (listed.entry, listed.limit, listed.live, listed.waiting) == ("group:account-17", 1, 1, 2)
    assert client.count().limited == 2
    assert client.count()["WAIT"] == 2
    assert [task.id for task in client.list(state="WAIT")] == ["t1", "t2"]
    client.limits.set(2, group="account-17")  # who waits gets the slot at once
    assert bench.queue() == ["t1"]
    client.limits.remove(group="account-17")
    assert client.limits.get(group="account-17").limit is None
    assert both.client.stop("t2").done
    assert ids == ["t0", "t1", "t2"]
    assert bench.line("group:account-17") == []


def test_a_limit_of_a_function(both):
    client, bench = both.client, both.bench
    bench.running("a")
    client.limits.set(1, function="f")
    bench.push("b")
    assert claim(both, "b") == ["WAITING"]
    found = client.limits.get(function="f")
    assert (found.limit, found.counted, found.waiters) == (1, False, ("b",))
    bench.store.serve({})
    found = client.limits.get(function="f")
    assert (found.counted, found.live, found.holders) == (True, 1, ("a",))
    client.limits.set(2, function="f")
    assert bench.queue() == ["b"]
    assert claim(both, "b") == ["OK"]
    client.limits.remove(function="f")
    client.limits.remove(function="f")
    assert bench.hash("b")["state"] == "RUNNING"


def test_a_removed_limit_counts_again_when_it_is_set_again(both):
    client, bench = both.client, both.bench
    client.limits.set(5, function="f")
    bench.push("a")
    claim(both, "a")
    bench.store.serve({})
    claim(both, "a")
    client.limits.remove(function="f")
    bench.running("b")  # without a slot
    client.limits.set(2, function="f")
    bench.push("c")
    assert claim(both, "c") == ["WAITING"]
    bench.look_again()
    bench.store.serve({})
    assert bench.slots("function:f") == {"a", "b"}
    assert bench.queue() == []


def test_what_workers_declare_and_what_is_no_number(both):
    rules = {"f": Rule(limit=3, group_limit=2, rate=(5, 60.0), path=("a", "b"))}
    both.bench.store.announce(WorkerInfo(session="s", limits=rules))
    (worker,) = both.client.workers()
    assert worker.limits == rules
    assert rules["f"].words() == "3 at a time, 2 of a group, 5 starts in 60 s, group: data.a.b"
    both.bench.set_limit("function:f", "many")
    (found,) = both.client.limits.list()
    assert (found.limit, found.default, found.in_force, found.invalid) == (None, 3, 3, "many")


def test_many_groups_at_once_take_turns(both):
    both.client.start_many([New("f", {"n": n}, group=f"g{n % 2}") for n in range(6)])
    assert len(both.bench.queue()) == 2
    assert len(both.bench.line("group:g0")) == len(both.bench.line("group:g1")) == 2
    page = both.client.list(state="WAIT", limit=4)
    rest = both.client.list(state="WAIT", limit=4, cursor=page.cursor)
    assert len({task.id for task in (*page, *rest)}) == 6
    assert both.client.count()["WAIT"] == 6


@pytest.mark.parametrize("group", ["", "x" * 257, 17, b"raw", "ü" * 129])
def test_what_cannot_be_a_group_is_refused_where_it_is_written(both, group):
    with pytest.raises(errors.BadData, match="group"):
        both.client.start("f", group=group)
    assert both.bench.queue() == []


@pytest.mark.parametrize(
    "call",
    [
        lambda limits: limits.set(-1, group="g"),
        lambda limits: limits.set(1.5, group="g"),
        lambda limits: limits.set("1", group="g"),
        lambda limits: limits.set(1),
        lambda limits: limits.set(1, group="g", function="f"),
        lambda limits: limits.get(function=""),
        lambda limits: limits.set(True, group="g"),
        lambda limits: limits.set(10**10, group="g"),
        lambda limits: limits.set(1, function="*"),
    ],
)
def test_what_is_no_limit_is_refused(both, call):
    with pytest.raises(errors.BadData):
        call(both.client.limits)


def test_a_producer_without_scripts_may_start_tasks_of_a_group(both):
    """The documented commands: such a task is in the queue, and the claim holds it back."""
    from pytask.client.batches import Start, start_fields

    assert list(start_fields(Start(group="g"))) == ["group", "g"]


def test_a_removed_task_leaves_its_list_and_passes_its_turn_on(both):
    client, bench = both.client, both.bench
    for n in range(3):
        client.start("f", id=f"t{n}", group="g")
    assert client.remove("t0") is True
    assert (bench.queue(), bench.line("group:g")) == (["t1"], ["t2"])
    assert client.remove("t2") is True
    assert bench.line("group:g") == []


def test_an_ended_task_that_is_started_again_obeys_its_new_group(both):
    client, bench = both.client, both.bench
    ref = bench.running("t0")
    both.end(ref)
    client.start("f", {"a": 1}, id="t0", group="g")
    assert bench.hash("t0")["group"] == "g"
    assert bench.queue() == ["t0"]
