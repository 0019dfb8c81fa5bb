"""The stream of changes: who is told what."""

import itertools

import pytest

from pytask.client.records import Event
from pytask.domain.errors import Unavailable
from pytask.web import live
from pytask.web.cache import Cache
from pytask.web.live import Hub


@pytest.fixture
def hub(client):
    return Hub(client, spawn=lambda _work: None)


def test_a_viewer_is_told_of_what_it_shows_once(hub, client):
    all_of_it, one = hub.join(["tasks", "overview"], None), hub.join(["task"], "a")
    client.start("f", id="a")
    hub.look(1.0)  # the pages were read before: all of it is read again
    assert all_of_it.wait(0) == ["overview", "tasks"]
    assert one.wait(0) == ["task"]
    client.stop("a")
    client.start("f", id="b")
    hub.look(2.0)
    assert all_of_it.wait(0) == ["overview", "tasks"]
    assert one.wait(0) == ["task"]
    assert all_of_it.wait(0) == []
    hub.look(3.0)
    assert all_of_it.wait(0) == one.wait(0) == []


def test_what_a_look_has_counted_is_shown_for_a_moment(hub, client):
    client.start("f")
    assert hub.counted(10.0) is None
    hub.join(["tasks"], None)
    hub.look(10.0)
    assert hub.counted(10.5)["WAIT"] == 1
    assert hub.counted(12.0)["WAIT"] == 1  # also for those who read before the next look has counted
    assert hub.counted(12.5) is None
    hub.forget()
    assert hub.counted(10.5) is None


def test_a_task_that_is_deleted(hub, client):
    client.start("f", id="a")
    viewer = hub.join(["task", "log"], "a")
    hub.look(1.0)
    assert viewer.wait(0) == ["log", "task"]
    client.remove("a")
    hub.look(2.0)
    assert viewer.wait(0) == ["task"]


def test_a_task_that_has_ended_is_not_read_at_each_look(hub, client, monkeypatch):
    client.start("f", id="a")
    client.stop("a")
    viewer = hub.join(["task"], "a")
    hub.look(1.0)
    assert viewer.wait(0) == ["task"]
    read = []
    get = client.get
    monkeypatch.setattr(type(client), "get", lambda _self, task: read.append(task) or get(task))
    hub.look(2.0)
    hub.look(7.0)
    assert (read, viewer.wait(0)) == (["a"], ["task"])
    hub.look(8.0)
    hub.look(36.9)
    assert (read, viewer.wait(0)) == (["a"], [])
    hub.look(37.0)
    assert (read, viewer.wait(0)) == (["a", "a"], ["task"])
    read.clear()
    client.start("f", id="a")
    hub.note(Event(id="a", name="waiting"))
    hub.look(38.0)
    assert (read, viewer.wait(0)) == (["a"], ["task"])
    client.stop("a")
    hub.look(39.0)  # it waits: it is read again at each look
    assert (read, viewer.wait(0)) == (["a", "a"], ["task"])


def test_events_are_kept_for_tasks_that_somebody_looks_at(hub):
    viewer = hub.join(["events", "nonsense"], "a")
    assert viewer.topics == {"events"}
    for number in range(100):
        hub.note(Event(id="a", name="tick", data=number))
        hub.note(Event(id="b", name="tick"))
    hub.look(1.0)
    assert viewer.wait(0) == ["events"]
    assert [one.data for one in hub.events_of("a")][:2] == [99, 98]
    assert len(hub.events_of("a")) == live.KEPT
    assert hub.events_of("b") == []
    hub.leave(viewer)
    hub.look(2.0)
    assert hub.events_of("a") == []


def test_what_was_read_before_a_change_is_forgotten_before_viewers_are_told(client):
    cleared = []
    hub = Hub(client, lambda: cleared.append(viewer.wait(0)), lambda _work: None)
    viewer = hub.join(["tasks"], None)
    hub.look(1.0)
    assert cleared == [[]]
    assert viewer.wait(0) == ["tasks"]
    hub.look(2.0)
    assert len(cleared) == 1
    client.start("f")
    hub.look(3.0)
    assert len(cleared) == 2
    assert viewer.wait(0) == ["tasks"]


def test_what_changes_all_the_time_waits_once(hub):
    viewer = hub.join(["workers"], None)
    for number in range(1000):
        hub.look(10.0 * number)
    assert viewer.wait(0) == ["workers"]


def test_topics_with_a_period(hub):
    viewer = hub.join(["workers"], None)
    hub.look(100.0)
    assert viewer.wait(0) == ["workers"]
    hub.look(101.0)
    assert viewer.wait(0) == []
    hub.look(106.0)
    assert viewer.wait(0) == ["workers"]


def test_the_stream_names_topics_and_ends_with_its_viewer(hub):
    viewer = hub.join(["tasks"], None)
    stream = hub.stream(viewer)
    assert next(stream) == b"retry: 3000\n\n"
    viewer.tell({"tasks", "overview"})
    assert next(stream) == b"event: tasks\ndata: \n\n"
    assert hub.viewers == 1
    stream.close()
    assert hub.viewers == 0


def test_there_are_not_too_many_viewers(hub, page, monkeypatch):
    monkeypatch.setattr(live, "MOST", 1)
    assert hub.join([], None)
    assert hub.join([], None) is None


def test_no_thread_looks_when_nobody_does(client):
    works = []
    hub = Hub(client, spawn=works.append)
    viewer = hub.join(["tasks"], None)
    assert len(works) == 2
    hub.join(["tasks"], None)
    assert len(works) == 2
    for one in list(hub._viewers):
        hub.leave(one)
    assert not hub._still_needed(1)
    assert not hub._still_needed(1)
    hub.join(["tasks"], None)
    assert len(works) == 4  # and the old ones end, as they have another turn
    assert not hub._still_needed(1)
    assert hub._still_needed(2)
    assert viewer.wait(0) == []


def test_many_viewers_of_one_thing_cost_one_read():
    clock, reads = itertools.count(), []
    cache = Cache(lambda: next(clock) / 10)
    for _ in range(3):
        assert cache.get("a", 1.0, lambda: reads.append(1) or len(reads)) == 1
    for _ in range(10):
        next(clock)
    assert cache.get("a", 1.0, lambda: reads.append(1) or len(reads)) == 2
    cache.clear()
    assert cache.get("a", 1.0, lambda: reads.append(1) or len(reads)) == 3
    with pytest.raises(ZeroDivisionError):
        cache.get("b", 1.0, lambda: 1 / 0)
    assert cache.get("b", 1.0, lambda: 5) == 5


def test_who_waits_for_the_same_shares_one_attempt_while_redis_is_away():
    attempts = []

    def read():
        attempts.append(1)
        raise Unavailable("nobody answers")

    now = [0.0]
    cache = Cache(lambda: now[0])
    for _ in range(3):
        with pytest.raises(Unavailable):
            cache.get("a", 1.0, read)
    assert len(attempts) == 1
    now[0] = 1.0
    assert cache.get("a", 1.0, lambda: 5) == 5
