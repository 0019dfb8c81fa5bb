"""What is said of tasks that are paused, or whose function is, by its name or with all."""

import pytest

from pytask.domain import lifecycle as life
from pytask.domain.facts import Crew, Facts, Known
from pytask.domain.reasons import account

NOW = 1700000100.0
WORKER = Crew(session="s", functions=("f",), tasks=0, max_tasks=9)


@pytest.mark.parametrize(
    ("held", "all_held", "what", "until", "fixes"),
    [
        (True, False, "the function f is paused", "that is resumed", ["--name f"]),
        (False, True, "all functions are paused", "they are resumed", ["--all"]),
        (
            True,
            True,
            "all functions are paused, and f also by its name",
            "both pauses end",
            ["--all", "--name f"],
        ),
    ],
)
@pytest.mark.parametrize("parked", [False, True])
def test_a_paused_function_is_the_story_of_its_tasks(held, all_held, what, until, fixes, parked):
    task = Known(id="a", function="f", state=life.WAIT)
    place = {"parked": True} if parked else {"place": 0, "queued": 1}
    found = account(task, Facts(now=NOW, workers=[WORKER], held=held, all_held=all_held, **place))
    waits = "it is parked" if parked else "it is not started"
    assert found.story.endswith(f"{what}, so {waits} until {until}")
    assert [str(note).partition(": ")[2] for note in found.notes] == [
        f"pytask start --paused {w}" for w in fixes
    ]


def test_a_task_that_is_paused_itself_names_that_and_its_function():
    task = Known(id="a", function="f", state=life.WAIT, paused=NOW - 50)
    found = account(task, Facts(now=NOW, workers=[WORKER], all_held=True))
    assert "is not started until it is resumed; all functions are paused, so it is not started" in found.story
    assert [str(note) for note in found.notes] == [
        "to resume it: pytask start a",
        "to resume all functions: pytask start --paused --all",
    ]
    alone = account(task, Facts(now=NOW, workers=[WORKER]))
    assert alone.story.endswith("is not started until it is resumed")
    assert [str(note) for note in alone.notes] == ["to resume it: pytask start a"]


def test_a_paused_task_that_waits_for_a_time_says_when():
    task = Known(id="a", function="f", state=life.WAIT, paused=NOW - 50, not_before=NOW + 60)
    found = account(task, Facts(now=NOW, workers=[WORKER]))
    assert found.story.endswith("resumed before 2023-11-14 22:16:00Z, it starts then")
