"""Stacks of a run: asked of its worker, which here is the test."""

import json

import pytest

from pytask import errors
from pytask.client import Frame, Stack
from tests.contract.benches import SOON
from tests.contract.client.faces import Beside, heeded

TOLD = [
    {"of": "greenlet Greenlet-0", "frames": [["/app/feeds.py", 7, "Feed.start"]]},
    {"of": 1, "frames": []},
]


def answer(both, task_id, *payloads):
    """As its worker, once somebody asks."""
    heeded(both, task_id)
    for payload in payloads:
        both.bench.publish(f"task-{task_id}", payload)


def event(stacks, *, more=False):
    return json.dumps({"event": "stacks", "data": {"run": "s:1", "stacks": stacks, "more": more}})


@pytest.mark.wire
def test_what_the_worker_tells(both):
    both.bench.running("t")
    own = [json.dumps({"event": "stacks", "data": data}) for data in (None, 7, {}, {"stacks": "x"})]
    acting = Beside(answer, both, "t", "no json", *own, event([]), event([7, {}]), event(TOLD))
    assert both.client.stacks("t", wait=SOON) == [
        Stack(of="greenlet Greenlet-0", frames=(Frame("/app/feeds.py", 7, "Feed.start"),)),
        Stack(of="1", frames=()),
    ]
    acting.over()


def test_places_that_make_no_sense_are_left_out(both):
    both.bench.running("t")
    bad = [["f", "7", "g"], ["f", 7], "f", None, ["f", 7, "g"]]
    acting = Beside(answer, both, "t", event([{"of": "x", "frames": bad}]))
    assert both.client.stacks("t", wait=SOON) == [Stack(of="x", frames=(Frame("f", 7, "g"),))]
    acting.over()


@pytest.mark.parametrize(("told", "more"), [(True, True), (False, False), ("yes", False), (None, False)])
def test_whether_there_are_more(both, told, more):
    both.bench.running("t")
    acting = Beside(answer, both, "t", event(TOLD, more=told))
    found = both.client.stacks("t", wait=SOON)
    assert (len(found), found.more) == (2, more)
    acting.over()


def test_nobody_answers(both):
    both.bench.running("t")
    with pytest.raises(errors.TimedOut, match=r"no worker told within 0\.1 s where 't' is"):
        both.client.stacks("t", wait=0.1)


def test_a_task_that_does_not_run(both):
    task_id = both.client.start("f")
    with pytest.raises(errors.TaskNotRunning, match="is WAIT, so no code of it is running"):
        both.client.stacks(task_id)
    with pytest.raises(errors.NoSuchTask):
        both.client.stacks("nobody")
