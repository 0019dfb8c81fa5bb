"""What the chaos run says of delays, restarts and schedules: each rule can fail, on made-up histories."""

import json
from types import SimpleNamespace

import pytest

from tests.chaos import policies
from tests.chaos.invariants import SECOND, Replay
from tests.chaos.policies import LIMIT, Delayed, Segment
from tests.support.evidence import Act


def world(task_id="flap0", course=(), lost=()):
    replay = Replay()
    replay.course[task_id] += course
    replay.ways.update({run: kind for kind, run, _ in course if kind not in ("run", "start")})
    replay.lost |= set(lost)
    return SimpleNamespace(replay=replay, faults=[])


def client(flapping=(), delayed=None, segments=()):
    return SimpleNamespace(flapping=list(flapping), delayed=delayed or {}, segments=list(segments))


def rules(world, client, lines=(), hashes=None):
    broken = []
    policies.judge(world, client, lines, {"hashes": hashes or {}}, broken)
    return [rule for rule, _ in broken]


def course(*words):
    """A run is `rN`; `retry`, `back`, `other` end it."""
    found, run = [], ""
    for at, word in enumerate(words):
        run = word if word[0] == "r" and word[1:].isdigit() else run
        kind = "run" if word == run else word
        found.append((kind, "" if kind == "start" else run, at * SECOND))
    return found


def acts(*words, task_id="flap0"):
    """`rN=K`: attempt K; `rN!`: it fails."""
    lines = []
    for at, word in enumerate(words):
        run, _, attempt = word.partition("=")
        kind = f"attempt:{attempt}" if attempt else "fails"
        lines.append(Act(at * SECOND, task_id, run.rstrip("!"), 1, kind))
    return lines


FAILS = ("r1=1", "r1!", "r2=2", "r2!", "r3=3")


def test_restarts_that_are_counted_break_nothing():
    found = course("r1", "retry", "r2", "back", "r3", "retry", "r4")
    assert (
        rules(world(course=found), client(["flap0"]), acts("r1=1", "r1!", "r2=2", "r3=2", "r3!", "r4=3"))
        == []
    )


def test_a_start_begins_a_new_count():
    found = course("r1", "retry", "r2", "other", "start", "r3")
    assert rules(world(course=found), client(["flap0"]), acts("r1=1", "r1!", "r2=2", "r3=1")) == []


@pytest.mark.parametrize("attempt", [1, 3])
def test_a_wrong_attempt_is_found(attempt):
    found = course("r1", "retry", "r2")
    assert rules(world(course=found), client(["flap0"]), acts("r1=1", "r1!", f"r2={attempt}")) == ["count"]


def test_a_death_that_is_counted_is_found():
    found = course("r1", "retry", "r2")
    assert rules(world(course=found), client(["flap0"]), acts("r1=1")) == ["count"]


@pytest.mark.parametrize(("attempt", "broken"), [(LIMIT, ["limit"]), (LIMIT + 1, [])])
def test_a_task_gives_up_exactly_at_its_limit(attempt, broken):
    runs = [f"r{n}" for n in range(1, attempt + 1)]
    found = course(*[word for run in runs[:-1] for word in (run, "retry")], runs[-1], "other")
    lines = acts(
        *[word for n, run in enumerate(runs, 1) for word in (f"{run}={n}", f"{run}!")], task_id="limited0"
    )
    error = {"limited0": {"state": "ERROR", "error": "[PT163] gave up"}}
    assert rules(world("limited0", found), client(["limited0"]), lines, error) == broken


def test_a_retry_beyond_the_limit_is_found():
    runs = [f"r{n}" for n in range(1, LIMIT + 2)]
    found = course(*[word for run in runs for word in (run, "retry")])
    lines = acts(
        *[word for n, run in enumerate(runs, 1) for word in (f"{run}={n}", f"{run}!")], task_id="limited0"
    )
    assert rules(world("limited0", found), client(["limited0"]), lines) == ["limit"]


@pytest.mark.parametrize(("begins", "broken"), [(9, ["delay"]), (10, [])])
def test_a_task_that_begins_before_its_time_is_found(begins, broken):
    lines = [Act(begins * SECOND, "delayed0", "r1", 1, "act")]
    pushed = {"delayed0": Delayed(0, 10.0)}
    assert rules(world("delayed0", course("r1")), client(delayed=pushed), lines) == broken


def test_a_delayed_task_that_begins_twice_is_found():
    lines = [Act(20 * SECOND, "delayed0", "r1", 1, "act")]
    pushed = {"delayed0": Delayed(0, 10.0)}
    twice = world("delayed0", course("r1", "other", "r2"))
    assert rules(twice, client(delayed=pushed), lines) == ["delay"]
    again = world("delayed0", course("r1", "back", "r2"))
    assert rules(again, client(delayed=pushed), lines) == []


def segment(*lines, **options):
    one = Segment("s", "skip", 1000, **options)
    one.lines = {(line["at"], json.dumps(line)): 0 for line in lines}
    return one


def ticks(*times):
    return [Act(at, "s", f"r{n}", 1, f"sched:s@{at}") for n, at in enumerate(times)]


def fired(at):
    return {"at": at, "id": "s"}


def test_occurrences_that_are_started_or_skipped_once_break_nothing():
    row = {"at": 2000, "until": 4000, "count": 3, "reason": "late"}
    found = segment(fired(1000), row, fired(5000), {"at": 6000, "reason": "overlap"})
    assert rules(world(), client(segments=[found]), ticks(1000, 5000)) == []


@pytest.mark.parametrize(
    ("lines", "times"),
    [
        ([fired(1000), fired(3000)], [1000, 3000]),  # one is missing
        ([fired(1000), {"at": 1000, "reason": "overlap"}], [1000]),  # settled twice
        ([fired(1000), {"at": 2000, "until": 4000, "count": 2, "reason": "late"}], [1000]),  # a wrong count
        ([fired(1000), fired(2000)], [1000]),  # one never ran
        ([fired(1000)], [1000, 2000]),  # one that was not started ran
        ([fired(1000)], [1000, 1000]),  # it ran twice
    ],
)
def test_an_occurrence_that_is_lost_or_doubled_is_found(lines, times):
    assert rules(world(), client(segments=[segment(*lines)]), ticks(*times)) == ["occurrence"]


@pytest.mark.parametrize(
    ("steps", "broken"),
    [
        (["cancel"], []),  # stopped while it waited
        (["r7", "other"], []),  # stopped as its run began
        (["r7", "back"], ["occurrence"]),  # put back, and never seen again
        (["r0", "other"], ["occurrence"]),  # this run wrote its words
    ],
)
def test_an_occurrence_may_be_stopped_before_it_writes_a_word(steps, broken):
    found = segment(fired(1000), fired(2000))
    assert rules(world("s", course(*steps)), client(segments=[found]), ticks(1000)) == broken


def test_each_stop_excuses_one_occurrence():
    found = segment(fired(1000), fired(2000))
    assert rules(world("s", course("cancel")), client(segments=[found])) == ["occurrence"]


def test_what_a_flush_took_is_no_violation():
    lost = segment(fired(1000), lost=True)
    assert rules(world(lost=["s"]), client(segments=[lost]), ticks(2000)) == []
