"""Who gives how much away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytask.domain.balance import batch, fair_share
from pytask.domain.figures import WorkerInfo


def worker(session, tasks, places=1000, functions=("f", "pytask/monitor")):
    return WorkerInfo(
        session=session, name=session, host="h", pid=1, running=0 if tasks is None else tasks + 1,
        functions=functions, tasks=tasks, max_tasks=places,
    )  # fmt: skip


def test_half_goes_to_one_that_joins():
    share = fair_share(worker("a", 200), [worker("a", 150), worker("b", 0)])
    assert (share.give, share.functions, share.back_off) == (100, {"f"}, True)
    assert fair_share(worker("b", 0), [worker("a", 200)]).give == 0
    assert not fair_share(worker("b", 0), [worker("a", 200)]).back_off


def test_shares_follow_the_places():
    assert fair_share(worker("a", 90, 1000), [worker("b", 0, 500)]).give == 30


@pytest.mark.parametrize(("mine", "other"), [(1, 0), (2, 0), (3, 0), (100, 100), (105, 95), (101, 99)])
def test_small_differences_stay(mine, other):
    assert fair_share(worker("a", mine), [worker("b", other)]).give == 0


def test_what_the_other_does_not_know_stays():
    stranger = worker("b", 0, functions=("g", "pytask/monitor"))
    assert fair_share(worker("a", 200), [stranger]) == fair_share(worker("a", 200), [])
    share = fair_share(worker("a", 200, functions=("f", "g")), [stranger])
    assert (share.give, share.functions) == (100, {"g"})


def test_one_at_its_share_leaves_the_queue_to_those_below():
    recent_workers = [worker("a", 150), worker("b", 150), worker("c", 0)]
    assert fair_share(recent_workers[0], recent_workers[1:]).give == 50
    third = fair_share(worker("b", 100), [worker("a", 200), worker("c", 0)])
    assert (third.give, third.back_off) == (0, True)


def test_what_is_not_shown_is_as_with_us():
    old = WorkerInfo(session="b", name="b", host="h", pid=1, running=0, functions=("f",))
    assert fair_share(worker("a", 200), [old]).give == 100


@pytest.mark.parametrize(
    ("rate", "step"), [(50, (12, 0.24)), (8, (2, 0.25)), (1, (1, 1.0)), (0.5, (1, 2.0)), (2.5, (1, 0.4))]
)
def test_steps_keep_the_rate(rate, step):
    assert batch(rate) == step
    assert step[0] / step[1] == rate
    assert step[0] <= max(1, rate / 4)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 1000)), min_size=2, max_size=6))
def test_it_comes_to_rest(loads):
    """Looks in turn, each carried out: soon nobody gives any more, and nothing came back to one that gave."""
    recent_workers = {str(i): [min(tasks, places), places] for i, (tasks, places) in enumerate(loads)}
    gave, took = set(), set()
    for _ in range(10):
        moved = 0
        for name in list(recent_workers):
            infos = [worker(session, *load) for session, load in recent_workers.items()]
            give = fair_share(worker(name, *recent_workers[name]), infos).give
            moved += give
            recent_workers[name][0] -= give
            gave |= {name} if give else set()
            for _ in range(give):
                room = {n: (t + 1) / p for n, (t, p) in recent_workers.items() if n != name and t < p}
                taker = min(room, key=room.get)
                recent_workers[taker][0] += 1
                took.add(taker)
        if not moved:
            break
    assert not moved
    assert not gave & took
    assert all(tasks <= places for tasks, places in recent_workers.values())
