"""A task that had come to rest and was pushed again."""

from pytask.domain import lifecycle as life
from pytask.domain.facts import Facts, Known
from pytask.domain.reasons import account


def test_the_story_is_of_the_run_that_waits():
    task = Known(id="a", function="f", state=life.WAIT, last_update=1000.0, again=True)
    found = account(task, Facts(now=2000.0, place=1, queued=2))
    assert found.since is None
    assert found.story == "WAIT: pushed again; 1 task is ahead of it in the queue; no worker is running"
