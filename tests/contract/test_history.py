"""What became of a task stands in its hash: every move, in the same step, on every backend."""

import re

import pytest

from pytask.adapters.rules import Retention
from pytask.domain import history
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command
from pytask.domain.record import Adoption, Change


@pytest.fixture(autouse=True)
def who(bench):
    bench.store.who = "yew 1"


def story(bench, task_id="a"):
    """(from, to, trigger, who, why) of each move."""
    found = history.read(bench.hash(task_id).get("history", ""))
    times = [one.at for one in found]
    assert times == sorted(times)
    assert all(abs(at - bench.now() / 1e6) < 600 for at in times)
    return [(one.source, one.target, one.trigger, one.who, one.why) for one in found]


def silence(why):
    """The seconds that a history gives for the silence of w, at least: time goes on while it is written."""
    return int(re.fullmatch(r"lease of w silent for (\d+) s", why)[1])


@pytest.mark.wire
def test_a_life(bench):
    ref = bench.running("a")
    bench.store.commit([Change("a", ref.run, b"", Trigger.END, {"output": b"1"}, 60)])
    assert "history" not in bench.hash("a")  # claimed and ended: its other fields say so
    bench.store.control(Command.START, ["a"])
    bench.store.control(Command.STOP, ["a"])
    bench.store.control(Command.START, ["a"])
    again = bench.ref("a")
    bench.claim(again)
    bench.store.control(Command.RELOAD, ["a"])
    new = bench.ref("a")
    bench.store.reload(again, new, "w", 1000)
    bench.store.commit([Change("a", new.run, b"", Trigger.FAIL, {"error": "no 5 % left\nTraceback"}, 60)])
    assert story(bench) == [
        ("ENDED", "WAIT", "start", "yew 1", ""),
        ("WAIT", "STOPPED", "cancel", "yew 1", ""),
        ("STOPPED", "WAIT", "start", "yew 1", ""),
        ("WAIT", "RUNNING", "claim", "w", ""),
        ("RUNNING", "RUNNING", "request", "yew 1", "reload"),
        ("RUNNING", "RUNNING", "reload", "w", ""),
        ("RUNNING", "ERROR", "fail", "yew 1", "no 5 % left"),
    ]


def test_a_silent_lease_tells_whose_it_was_and_for_how_long(bench):
    ref = bench.running("a")
    bench.set_lease("a", bench.now() - 90_000_000)
    bench.store.expire([bench.expiry(ref, crashes=1)])
    ((*move, why),) = story(bench)
    assert move == ["RUNNING", "WAIT", "expire", "yew 1"]
    assert 90 <= silence(why) < 150


@pytest.mark.wire
def test_a_death_that_is_known_tells_whose_it_was(bench):
    refs = [bench.running("a"), bench.running("b")]
    bench.store.expire([bench.expiry(refs[0], proven=True), bench.expiry(refs[1])])
    assert story(bench) == [("RUNNING", "WAIT", "expire", "yew 1", "death of w")]
    assert silence(story(bench, "b")[0][4]) < 60


@pytest.mark.parametrize(
    ("stopped", "poison", "expected"),
    [(True, False, ("STOPPED", "expire_stopped")), (False, True, ("ERROR", "poison"))],
)
def test_a_silent_lease_of_a_run_that_is_not_requeued(bench, stopped, poison, expected):
    ref = bench.running("a")
    if stopped:
        bench.store.control(Command.STOP, ["a"])
        bench.store.control(Command.STOP, ["a"])  # requested again: one request
    bench.store.expire([bench.expiry(ref, poison=poison)])
    requests = [("RUNNING", "RUNNING", "request", "yew 1", "stop")] if stopped else []
    assert story(bench)[:-1] == requests
    *move, why = story(bench)[-1]
    assert move == ["RUNNING", *expected, "yew 1"]
    assert 0 <= silence(why) < 60


@pytest.mark.wire
def test_parked_with_the_near_misses(bench):
    bench.push("a", "watch-ulr")
    event = b'{"event":"parked","data":{"function":"watch-ulr","near":["watch-url"]}}'
    bench.store.park("a", "watch-ulr", event)
    why = "no such task on the worker: `watch-ulr` (did you mean watch-url?)"
    assert story(bench) == [("WAIT", "WAIT", "park", "yew 1", why)]


@pytest.mark.wire
def test_released_adopted_restored_and_repaired(bench):
    ref = bench.running("a")
    bench.store.adopt([Adoption("a", ref.run, int(bench.hash("a")["epoch"]))], "w")
    event = b'{"event":"requeued","data":{"reason":"handed back"}}'
    bench.store.commit([Change("a", ref.run, event, Trigger.RELEASE)])
    assert story(bench) == [
        ("RUNNING", "RUNNING", "adopt", "w", ""),
        ("RUNNING", "WAIT", "release", "yew 1", "handed back"),
    ]
    bench.store.restore("r", "f", b"{}")
    assert story(bench, "r") == [("RUNNING", "WAIT", "release", "yew 1", "restored after a loss of data")]
    bench.write("l", function="f", state="RUNNING", last_update="1")
    cursor = bench.store.repair(0, 10)[0]
    while cursor:
        cursor = bench.store.repair(cursor, 10)[0]
    assert story(bench, "l") == [("RUNNING", "WAIT", "repair", "yew 1", "nobody ran it")]


@pytest.mark.wire
def test_a_pre_started_task_begins_its_story(bench):
    bench.store.open_local(bench.ref("p"), "f", b"{}", "w")
    assert story(bench, "p") == [("WAIT", "RUNNING", "claim", "w", "pre-started")]


@pytest.mark.wire
def test_it_is_capped_and_can_be_off(make):
    for kept in (0, 3):
        bench = make(retention=Retention(history=kept))
        bench.running("a")
        for _ in range(5):
            bench.store.control(Command.STOP, ["a"])
            bench.write("a", control="")
        assert len(story(bench)) == kept


@pytest.mark.parametrize("spoiled", ["x" * 9000, "no line\n\n", "\x1b[31m 1 2 3 4 5\n"])
def test_what_a_client_wrote_there_is_bounded_and_tells_nothing(bench, spoiled):
    bench.write("a", history=spoiled, worker="\x1b[2J%\n" * 400)
    ref = bench.running("a", history=spoiled)
    bench.write("a", worker="\x1b[2J%\n" * 400)
    bench.store.expire([bench.expiry(ref)])
    assert len(bench.hash("a")["history"]) <= history.MOST_BYTES
    last = story(bench)[-1]
    assert last[:3] == ("RUNNING", "WAIT", "expire")
    assert last[4].startswith("lease of \N{REPLACEMENT CHARACTER}[2J%")
    assert last[4].isprintable()
