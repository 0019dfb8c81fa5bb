"""What a client waits for after a request, as functions of the task that it reads."""

import pytest

from pytask.client.goals import is_in_place, is_refused, is_rolled_back
from pytask.client.task_records import Refusal, Rollback, TaskInfo
from pytask.domain.lifecycle import RUNNING


@pytest.mark.parametrize(
    ("epoch", "control", "found"),
    [
        (8, "", True),  # the run after the rollback
        (8, "reload", True),  # with a later request, of anyone
        (7, "reload", False),  # not carried out yet: the record is of an earlier reload
        (7, "", True),
    ],
)
def test_a_later_request_does_not_hide_a_rollback(epoch, control, found):
    record = Rollback(reason="it failed", epoch=7)
    task = TaskInfo(id="t", state=RUNNING, epoch=epoch, control=control, rolled_back=record)
    assert is_rolled_back(task, 7) is found


@pytest.mark.parametrize(
    ("control", "found"),
    [
        ("", True),
        ("reload", False),  # another request: the answer to that one is still to come
        ("stop", True),  # asked for afterwards: the run that follows has no record of the answer
        ("pause", True),
    ],
)
def test_a_later_stop_does_not_hide_the_answer_to_a_reload(control, found):
    refused = TaskInfo(
        id="t", state=RUNNING, control=control, refusal=Refusal(path="$", reason="it does not fit")
    )
    assert is_refused(refused) is found
    in_place = TaskInfo(id="t", state=RUNNING, control=control, reloaded_at=5.0)
    assert is_in_place(in_place) is found
