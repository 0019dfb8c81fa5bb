"""Why a task is where it is, in one sentence and what else there is to know."""

import pytest

from pytask.domain import history
from pytask.domain.facts import Crew, Facts, Known
from pytask.domain.lifecycle import State, Trigger
from pytask.domain.limit_reasons import Line
from pytask.domain.limits import Kind
from pytask.domain.reasons import account
from pytask.domain.transition_text import PHRASES

LEASE = "lease of larch silent for 90 s"
MEANT = "`watch-ulr` (did you mean watch-url?)"
PARKED = f"no such task on the worker: {MEANT}"
NOW = Facts(now=1700000100.0)


def moves(*lines):
    """(from, to, trigger, who, why) each, a second apart from 22:13:20 on."""
    text = "".join(f"{1700000000000 + 1000 * at} {history.tail(*line)}\n" for at, line in enumerate(lines))
    return history.read(text)


def task_of(state, *lines, **fields):
    known = {"function": "watch-ulr", "history": moves(*lines)} | fields
    return Known(id="a", state=State(state), **known)


def story(task, facts=NOW):
    return account(task, facts).story


QUEUED = Facts(
    now=1700000100.0,
    workers=[Crew(session="s", functions=("watch-ulr",), tasks=0, max_tasks=9)],
    place=0,
    queued=1,
)
NEXT = "; it is next in the queue"


def test_the_story_of_the_issue():
    """A worker died, another requeued its task, and nobody knows the name of it."""
    task = task_of(
        "WAIT",
        ("RUNNING", "WAIT", "expire", "yew-01cc", "lease of larch-4f2a silent for 90 s"),
        ("WAIT", "WAIT", "park", "yew-01cc", PARKED),
        crashes=1,
        last_update=1700000001.0,
    )
    facts = Facts(
        now=1700000050.0,
        workers=[
            Crew(session="s", functions=("watch-url",)),
            Crew(session="d", alive=False, functions=("watch-ulr",)),
        ],
        parked=True,
    )
    found = account(task, facts)
    assert found.story == (
        "WAIT since 2023-11-14 22:13:20Z: requeued by yew-01cc because the lease of larch-4f2a was not"
        " renewed for 90 s; no live worker knows `watch-ulr` (did you mean watch-url?), so it is parked"
    )
    assert found.since == 1700000000.0
    assert found.notes == (
        "start a worker that has a class with NAME = 'watch-ulr', or delete the task: pytask rm a",
        (
            "1 worker died while running it: retries become less frequent, and after a few more crashes it is"
            " marked as poison"
        ),
    )
    assert found.moves == (
        "2023-11-14 22:13:20Z requeued by yew-01cc: the lease of larch-4f2a was not renewed for 90 s",
        "2023-11-14 22:13:21Z parked by yew-01cc: it knows no task named " + MEANT,
    )
    assert found.lines == [found.story, *found.notes, *found.moves]


SINCE = "since 2023-11-14 22:13:20Z: "
WAITS = [
    (("expire", "yew", LEASE), "requeued by yew because the lease of larch was not renewed for 90 s"),
    (("expire", "yew", "lease of larch silent for ? s"), "requeued by yew because larch had no lease"),
    (("expire", "yew", "death of larch"), "requeued by yew because larch had died"),
    (("expire", "", "a newer text"), "requeued: a newer text"),
    (("release", "larch", "handed back"), "requeued by larch because it was shutting down or had lost Redis"),
    (("release", "larch", "rebalanced"), "requeued by larch because other workers had more room"),
    (
        ("release", "larch", "restored after a loss of data"),
        "requeued by larch because Redis had lost its data",
    ),
    (("release", "larch", ""), "requeued by larch"),
    (("repair", "yew", "nobody ran it"), "requeued by yew because it had no registered run"),
    (("newer", "yew", "of its own"), "newer by yew, from RUNNING to WAIT: of its own"),
]


@pytest.mark.parametrize(("move", "cause"), WAITS, ids=[f"{m[0]} {m[2]}" for m, _ in WAITS])
def test_what_brought_it_back_into_the_queue(move, cause):
    assert story(task_of("WAIT", ("RUNNING", "WAIT", *move)), QUEUED) == f"WAIT {SINCE}{cause}{NEXT}"


def test_started_again_by_whom():
    task = task_of("WAIT", ("STOPPED", "WAIT", "start", "anna@box", ""))
    assert story(task, QUEUED) == f"WAIT {SINCE}started again by anna@box{NEXT}"


@pytest.mark.parametrize(
    ("source", "cause"), [("ENDED", "pushed again; "), ("WAIT", "")], ids=["again", "the first time"]
)
def test_pushed_with_a_name_that_nobody_knows(source, cause):
    facts = Facts(now=1700000100.0, workers=[Crew(session="s", functions=("f",))], parked=True)
    task = task_of("WAIT", (source, "WAIT", "park", "yew", PARKED))
    known = "no live worker knows `watch-ulr`, so it is parked"
    assert story(task, facts) == f"WAIT {SINCE}{cause}{known}"


STOPS = [
    (["request anna@box", "stop larch"], "stopped by anna@box, on larch"),
    (["request larch", "stop larch"], "stopped on request on larch"),  # it heard the word on a channel
    (["stop larch"], "stopped on request on larch"),
    (["request anna@box", "claim larch", "stop larch"], "stopped on request on larch"),  # of another run
    (
        ["request anna@box", "expire_stopped yew"],
        "stopped by yew because anna@box had requested a stop and {}",
    ),
    (["expire_stopped yew"], "stopped by yew because a client had requested a stop and {}"),
]


@pytest.mark.parametrize(("words", "cause"), STOPS, ids=[" ".join(words) for words, _ in STOPS])
def test_stopped_by_whom(words, cause):
    lines = []
    for trigger, who in map(str.split, words):
        why = {"request": "stop", "expire_stopped": LEASE}.get(trigger, "")
        source, target = {"request": ("RUNNING", "RUNNING"), "claim": ("WAIT", "RUNNING")}.get(
            trigger, ("RUNNING", "STOPPED")
        )
        lines.append((source, target, trigger, who, why))
    found = account(task_of("STOPPED", *lines), NOW)
    since = f"STOPPED since 2023-11-14 22:13:{19 + len(words)}Z: "
    assert found.story == since + cause.format("the lease of larch was not renewed for 90 s")
    assert found.notes == ("to run it again: pytask start a",)


def test_stopped_before_it_ran():
    task = task_of("STOPPED", ("WAIT", "STOPPED", "cancel", "anna@box", ""))
    assert story(task) == f"STOPPED {SINCE}stopped by anna@box before it ran"


def test_failed_and_given_up():
    failed = task_of("ERROR", ("RUNNING", "ERROR", "fail", "larch", "boo"), error="boom\nTraceback\n")
    found = account(failed, NOW)
    assert found.story == f"ERROR {SINCE}failed on larch: boom"
    assert found.notes == ("the traceback: pytask show a", "to run it again: pytask start a")
    poison = task_of("ERROR", ("RUNNING", "ERROR", "poison", "yew", LEASE), error="[PT041] it kills")
    assert story(poison) == (
        f"ERROR {SINCE}marked as poison by yew because too many workers died while running it:"
        " the lease of larch was not renewed for 90 s"
    )


def test_ended():
    assert story(task_of("ENDED", ("RUNNING", "ENDED", "end", "larch", ""))) == (
        f"ENDED {SINCE}ended by itself on larch"
    )


RUNS = Facts(now=1700000100.0, workers=[Crew(session="s", host="box", pid=7)], renewed=4.0, monitor=3.0)
RENEWED = "; its worker on box (pid 7) renewed its lease 4s ago"
CLAIM = ("WAIT", "RUNNING", "claim", "ash", "")


@pytest.mark.parametrize(
    ("lines", "since", "cause"),
    [
        ([CLAIM], 20, "claimed by ash"),
        ([("ENDED", "RUNNING", "claim", "ash", "")], 20, "claimed by ash"),
        ([("WAIT", "RUNNING", "claim", "ash", "pre-started")], 20, "started with its worker ash"),
        (
            [("RUNNING", "WAIT", "expire", "yew", LEASE), CLAIM],
            21,
            "requeued by yew because the lease of larch was not renewed for 90 s, then claimed by ash",
        ),
        (
            [("ERROR", "WAIT", "start", "anna", ""), ("WAIT", "WAIT", "park", "yew", PARKED), CLAIM],
            22,
            "started again by anna, then claimed by ash",
        ),
        (
            [
                CLAIM,
                ("RUNNING", "RUNNING", "request", "anna", "reload"),
                ("RUNNING", "RUNNING", "reload", "ash", ""),
            ],
            20,
            "claimed by ash; reloaded by ash with the data from its hash",
        ),
        (
            [("RUNNING", "RUNNING", "adopt", "ash", "")],  # the claim is not among the moves
            10,
            "claimed by ash; restored by ash because Redis had lost the run",
        ),
    ],
    ids=lambda found: found if isinstance(found, str) else "",
)
def test_how_it_came_to_run(lines, since, cause):
    task = task_of("RUNNING", *lines, session="s", worker="ash", epoch=1699999990000)
    assert story(task, RUNS) == f"RUNNING since 2023-11-14 22:13:{since}Z: {cause}{RENEWED}"


def test_what_a_run_does_now():
    run = {"session": "s", "worker": "larch", "last_update": 1700000009.0, "epoch": 1700000000000}
    silent = Facts(now=9.0, renewed=50.0, monitor=3.0)
    found = account(
        task_of("RUNNING", ("RUNNING", "RUNNING", "request", "anna", "stop"), **run, control="stop"), silent
    )
    assert found.story == (
        f"RUNNING {SINCE}claimed by larch; its worker is silent: its last renewal was 50s ago; a monitor"
        " requeues it in about 50s; stop requested by anna, not carried out yet"
    )
    assert found.notes == ()  # whatever its stop() does, its worker is dead or hangs
    found = account(task_of("RUNNING", **run, control="stop"), Facts(now=9.0, renewed=5.0, monitor=3.0))
    assert found.notes == ("its stop() may be slow or hang",)
    found = account(task_of("RUNNING"), Facts(now=9.0, renewed=500.0))
    assert found.story.endswith("; no monitor is running to requeue it")
    assert found.notes[0].endswith("or requeue it now: pytask requeue a")
    found = account(task_of("RUNNING"), Facts(now=9.0, monitor=3.0))
    assert found.story == "RUNNING: it has no lease; the next sweep of a monitor creates one"
    assert found.notes == ()
    found = account(task_of("RUNNING"), Facts(now=9.0))
    assert found.story == "RUNNING: it has no lease, and no monitor is running to create one"
    assert found.notes[0].endswith("or requeue it now: pytask requeue a")
    found = account(task_of("RUNNING"), Facts(now=9.0, monitor=3.0, registered=False))
    assert found.story == (
        "RUNNING: its run has neither a lease nor a registry entry, so no monitor requeues it if its worker"
        " is dead"
    )
    assert found.notes[0].startswith("push it, so that a monitor requeues it: redis-cli LPUSH new-task a")


def test_a_run_that_crashed_before_may_wait_longer_for_a_monitor():
    silent = Facts(now=9.0, renewed=50.0, monitor=3.0)
    run = {"session": "s", "epoch": 1700000000000, "crashes": 1}
    young = account(task_of("RUNNING", **run, last_update=1700000009.0), silent)
    assert young.story.endswith(
        "; a monitor requeues it in about 50s, or 1m30s later, because it crashed before"
    )
    old = account(task_of("RUNNING", **run, last_update=1700000061.0), silent)
    assert old.story.endswith("; a monitor requeues it in about 50s")


def test_what_redis_does_not_take_is_reported_for_a_run_and_for_what_waits():
    held = Crew(session="s", host="box", pid=7, functions=("watch-ulr",), max_tasks=9, held=25.0)
    run = task_of("RUNNING", session="s", worker="larch")
    facts = Facts(now=1700000100.0, workers=[held], renewed=4.0, monitor=3.0, place=0, queued=1)
    assert "; for 25s Redis has accepted no task result from its worker, or answered no claim" in story(
        run, facts
    )
    assert "; Redis answers no claims of the workers, or accepts no task results" in story(
        task_of("WAIT"), facts
    )
    well = Facts(
        now=1700000100.0, workers=[held, Crew(session="t", functions=("watch-ulr",))], place=0, queued=1
    )
    assert "Redis answers no claim" not in story(task_of("WAIT"), well)


def test_what_it_waits_for():
    near = [Crew(session="s", functions=("watch-url",), tasks=4, max_tasks=4)]
    full = [Crew(session="s", functions=("watch-ulr",), tasks=4, max_tasks=4)]
    unknown = "no live worker knows `watch-ulr` (did you mean watch-url?)"

    def waits(**facts):
        found = account(task_of("WAIT"), Facts(now=9.0, **facts))
        assert found.story.startswith("WAIT: ")
        return found.story.removeprefix("WAIT: "), *found.notes

    start = "start a worker that has a class with NAME = 'watch-ulr', or delete the task: pytask rm a"
    assert waits(workers=near, place=1) == (f"1 task is ahead of it in the queue; {unknown}", start)
    assert waits(workers=near, parked=True) == (f"{unknown}, so it is parked", start)
    assert waits(workers=near, place=3) == (f"3 tasks are ahead of it in the queue; {unknown}", start)
    assert waits(workers=near, queued=200_000)[0] == (
        f"more than 100000 tasks are ahead of it in the queue; {unknown}"
    )
    more = "start another worker, or raise max_tasks"
    assert waits(workers=full, place=0) == ("it is next in the queue; the only worker is full", more)
    assert waits(workers=full * 2, place=0)[0].endswith("; all 2 workers are full")
    assert waits(workers=full, parked=True) == (
        "it was parked, but a worker now knows its function and claims it within 10 s",
    )
    one = "start a worker: pytask run TARGET"
    assert waits(place=0) == ("it is next in the queue; no worker is running", one)
    assert waits(parked=True) == (
        "it is parked until a worker knows `watch-ulr`, and no worker is running",
        one,
    )
    (lost, push) = waits()
    assert lost.startswith("it is in no queue")
    assert push.endswith("LPUSH new-task a")


def test_after_a_change_of_server_it_waits_for_the_claims_to_begin():
    crew = [
        Crew(session=name, functions=("watch-ulr",), embargo=rest) for name, rest in (("s", 50), ("t", 40))
    ]
    found = account(task_of("WAIT"), Facts(now=9.0, workers=crew, place=0))
    assert found.story == (
        "WAIT: it is next in the queue; another Redis server answered (a restart or a failover): for about"
        " 40s no worker claims tasks, while owners restore the runs that it lost"
    )


def test_a_monitor_that_ended_with_the_last_worker_requeues_nothing():
    run = task_of("RUNNING", session="s", worker="larch")
    dead = Crew(session="s", alive=False)
    found = account(run, Facts(now=1700000100.0, workers=[dead], renewed=28.0, monitor=29.0))
    assert "its last renewal was 28s ago; no monitor is running to requeue it" in found.story
    assert found.notes == ("start a worker without --no-monitor",)  # `requeue` would refuse it before 90 s
    alive = Crew(session="t")
    assert "a monitor requeues it in about" in story(
        run, Facts(now=1700000100.0, workers=[dead, alive], renewed=28.0, monitor=29.0)
    )


def test_a_task_that_waits_for_a_slot_while_no_worker_runs_needs_one():
    line = Line(kind=Kind.GROUP, name="hall", live=1, limit=1)
    notes = account(task_of("WAIT"), Facts(now=9.0, line=line)).notes
    assert notes[-1] == "start a worker: pytask run TARGET"
    idle = Facts(now=9.0, line=line, workers=[Crew(session="s", functions=("watch-ulr",))])
    assert "start a worker" not in " ".join(account(task_of("WAIT"), idle).notes)


def test_a_plain_life_has_no_moves_and_is_read_from_the_other_fields():
    fields = {"worker": "larch", "last_update": 1700000000.0}
    assert story(task_of("ERROR", error="boom\nTraceback", **fields)) == f"ERROR {SINCE}failed on larch: boom"
    assert story(task_of("ENDED", **fields)) == f"ENDED {SINCE}ended by itself on larch"
    assert story(task_of("STOPPED", **fields)) == f"STOPPED {SINCE}stopped on request on larch"
    fields |= {"last_update": 1700000009.0, "epoch": 1700000000000}  # renewed a moment ago
    assert (
        story(task_of("RUNNING", **fields, session="s"), RUNS) == f"RUNNING {SINCE}claimed by larch{RENEWED}"
    )
    assert story(task_of("ERROR")) == "ERROR: failed: without a text"


def test_moves_that_do_not_lead_to_the_state_tell_nothing_of_it():
    """A client wrote the state: what it is now follows from the other fields."""
    task = task_of("ENDED", ("RUNNING", "WAIT", "expire", "yew", LEASE), last_update=1700000000.0)
    assert story(task) == f"ENDED {SINCE}ended by itself"
    assert not account(task_of("STOPPED", history=history.read("\x1b[2J no line\n")), NOW).moves


def test_the_last_moves_are_reported_the_newest_last_and_so_are_many_runs():
    lines = [
        ("RUNNING", "WAIT", "expire", "yew 1", LEASE),
        *[("RUNNING", "RUNNING", "request", "a", "stop")] * 4,
    ]
    lines.append(("WAIT", "STOPPED", "cancel", "", ""))
    found = account(task_of("STOPPED", *lines, crashes=2, attempts=3), NOW)
    assert len(found.moves) == 5
    assert found.moves[0] == "2023-11-14 22:13:21Z stop requested by a"
    assert found.moves[-1] == "2023-11-14 22:13:25Z stopped before it ran"
    assert "2 workers died while running it: retries become less frequent" in found.notes[1]
    assert found.notes[2] == "it was started 3 times"


def test_every_trigger_that_moves_a_task_has_its_words():
    """But a renewal, which is no move."""
    assert set(PHRASES) == set(Trigger) - {Trigger.RENEW}


def test_a_run_whose_threads_keep_it_from_ending():
    held = {"a": "thread beater (in beat at x.py:7)", "b": "thread other"}
    facts = Facts(now=1700000100.0, workers=[Crew(session="s", kept_by=held)], renewed=1.0)
    said = story(task_of("RUNNING", session="s"), facts)
    assert said.endswith("start() has returned; the run ends when its threads end: " + held["a"])
    assert "threads" not in story(task_of("RUNNING", session="t"), facts)


LATER = 1700000100.0


@pytest.mark.parametrize(
    ("fields", "facts", "said"),
    [
        ({"due": LATER + 180}, {}, "it starts in 3m, at 2023-11-14 22:18:00Z; no worker is running"),
        ({"due": LATER + 0.25}, {}, "it starts in 0.2s, at"),
        ({"due": LATER - 3}, {}, "it starts now"),
        ({"due": LATER - 60}, {}, "its time came 1m ago, and no worker has moved it to the queue"),
        (
            {"due": LATER + 7, "restarts": 4, "restarts_since": LATER - 180, "error": "ConnectionError"},
            {"policy": "at most 5m; the count resets after 10m"},
            "failed 4 times in 3m; its next run starts in 7s, at 2023-11-14 22:15:07Z (at most 5m; the",
        ),
        ({"due": LATER + 7, "restarts": 1}, {}, "restart 1 in a row; its next run starts in 7s"),
        ({"due": LATER + 7}, {"place": 0}, "it is next in the queue"),  # pushed again: the queue decides
        (
            {"not_before": LATER + 60},
            {"place": 2},
            "it starts in 1m at the earliest, at 2023-11-14 22:16:00Z",
        ),
    ],
)
def test_what_a_delayed_or_failed_task_waits_for(fields, facts, said):
    found = story(task_of("WAIT", **fields), Facts(now=LATER, **facts))
    assert said in found
