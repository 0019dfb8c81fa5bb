"""Why a task is where it is, in sentences."""

from pytask.domain import history
from pytask.domain.lifecycle import State
from pytask.domain.reasons import Crew, Facts, Known, reasons


def test_the_last_moves_are_told_the_newest_last():
    lines = "1700000000000 RUNNING WAIT expire yew%201 lease%20of%20larch%20silent%20for%2090%20s\n"
    lines += "1700000007000 WAIT STOPPED cancel - -\n"
    task = task_of("STOPPED", history=history.read(lines))
    assert reasons(task, Facts(now=1700000010.0))[-2:] == [
        "2023-11-14 22:13:20Z RUNNING -> WAIT, expire by yew 1: lease of larch silent for 90 s",
        "2023-11-14 22:13:27Z WAIT -> STOPPED, cancel",
    ]


def test_without_any_nothing_is_told():
    task = task_of("STOPPED", history=history.read("\x1b[2J no line\n"))
    assert not any("\x1b" in line or "->" in line for line in reasons(task, Facts(now=1700000010.0)))


def task_of(state, **fields):
    return Known(id="a", state=State(state), **({"function": "watch-ulr"} | fields))


def test_why_it_waits():
    crew = [Crew(session="s", functions=("watch-url",), tasks=4, max_tasks=4)]
    unknown = "no live worker knows 'watch-ulr' (did you mean watch-url?)"
    told = reasons(task_of("WAIT"), Facts(now=9.0, workers=crew, place=3, queued=9))
    assert told == ["it waits in the queue: 3 tasks are before it", unknown]
    told = reasons(task_of("WAIT", last_update=2.0), Facts(now=9.0, workers=crew, parked=True))
    assert told == ["it is parked for 7s, as no worker knew its function 'watch-ulr'", unknown]
    (_, full) = reasons(task_of("WAIT", function="watch-url"), Facts(now=9.0, workers=crew, place=0))
    assert full == "all 1 workers are full: start another, or raise max_tasks"
    (lost, push) = reasons(task_of("WAIT"), Facts(now=9.0))
    assert "it is in no queue" in lost
    assert push.endswith("LPUSH new-task a")


def test_why_it_runs():
    crew = [Crew(session="s", host="yew", pid=7)]
    run = {"session": "s", "worker": "larch"}
    told = reasons(task_of("RUNNING", **run), Facts(now=9.0, workers=crew, renewed=4.0))
    assert told == ["it runs on larch on yew (pid 7), its lease renewed 4s ago"]
    silent = Facts(now=9.0, renewed=50.0, monitor=3.0)
    assert reasons(task_of("RUNNING", **run, control="stop"), silent) == [
        "its worker larch is silent: the lease was renewed 50s ago",
        "a monitor hands it on in about 50s",
        "it was asked to stop, and has not done so yet: its stop() may take long, or hang",
    ]
    assert reasons(task_of("RUNNING"), Facts(now=9.0, renewed=500.0))[1].startswith("no monitor is there")
    assert "has no lease" in reasons(task_of("RUNNING"), Facts(now=9.0))[0]


def test_why_it_rests():
    (failed, _, again) = reasons(
        task_of("ERROR", error="boom\nTraceback\n", worker="larch", last_update=2.0, crashes=0),
        Facts(now=9.0),
    )
    assert failed == "it failed on larch, 7s ago: boom"
    assert again == "to run it again: pytask start a"
    assert reasons(task_of("ENDED"), Facts(now=9.0)) == ["it ended by itself"]
    assert reasons(task_of("STOPPED", crashes=2, attempts=3), Facts(now=9.0)) == [
        "it was stopped on request",
        "2 workers died under it: after a few it counts as poison, and is tried more and more rarely",
        "it was begun 3 times",
    ]
