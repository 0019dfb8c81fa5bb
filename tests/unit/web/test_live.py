"""The stream of changes: who is told what."""

import itertools

import pytest
from redis.exceptions import ResponseError

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


def read_in(sent):
    """The tasks whose hashes were read; it forgets what was sent."""
    found = [words[1] for trip in sent for words in trip if words[0] == "HGETALL"]
    sent.clear()
    return found


def test_a_task_that_has_ended_is_not_read_at_each_look(hub, client, sent):
    client.start("f", id="a")
    client.stop("a")
    viewer = hub.join(["task"], "a")
    hub.look(1.0)
    assert viewer.wait(0) == ["task"]
    sent.clear()
    hub.look(2.0)
    hub.look(7.0)
    assert (read_in(sent), viewer.wait(0)) == (["a"], ["task"])
    hub.look(8.0)
    hub.look(36.9)
    assert (read_in(sent), viewer.wait(0)) == ([], [])
    hub.look(37.0)
    assert (read_in(sent), viewer.wait(0)) == (["a"], ["task"])
    client.start("f", id="a")
    sent.clear()
    hub.note(Event(id="a", name="waiting"))
    hub.look(38.0)
    assert (read_in(sent), viewer.wait(0)) == (["a"], ["task"])
    client.stop("a")
    sent.clear()
    hub.look(39.0)  # it waits: it is read again at each look
    assert (read_in(sent), viewer.wait(0)) == (["a"], ["task"])


@pytest.mark.parametrize("number", [1, 40])
def test_a_look_reads_all_tasks_together(hub, client, sent, running, number):
    for at in range(number):
        client.start("f", id=f"waits-{at}")
        running(f"runs-{at}")
        for one in (f"waits-{at}", f"runs-{at}", f"gone-{at}", ""):
            hub.join(["task", "log", "events"], one)
    sent.clear()
    hub.look(1.0)
    assert [len(trip) for trip in sent] == [6 * number, 1]  # hashes and logs; then the timers
    assert {words[0] for trip in sent for words in trip} == {"HGETALL", "LRANGE", "ZMSCORE"}


def test_of_the_tasks_that_have_ended_one_is_looked_for_in_the_queue_at_a_time(hub, client, sent):
    ids = [f"t-{at}" for at in range(5)]
    for task in ids:
        client.start("f", id=task)
        client.stop(task)
        hub.join(["task"], task)
    hub.look(1.0)
    sent.clear()
    walked = []
    for at in range(5):
        hub.look(100.0 + at)
        walked.append([words[2] for trip in sent for words in trip if words[0] == "LPOS"])
        sent.clear()
    assert sorted(walked) == [[task.encode()] for task in ids]


def test_what_a_look_has_read_of_a_task_is_shown_for_a_moment(hub, client):
    client.start("f", id="a")
    hub.join(["task"], "a")
    hub.join(["task"], "gone")
    hub.look(10.0)
    assert hub.seen("a", 10.4).state == "WAIT"
    assert hub.seen("gone", 10.4) is hub.seen("other", 10.4) is None
    assert hub.seen("a", 10.5) is None
    client.stop("a")
    hub.look(11.0)
    assert hub.seen("a", 11.0).state == "STOPPED"
    hub.look(11.2)  # it has not read it
    assert hub.seen("a", 11.2) is None
    hub.look(18.0)
    assert hub.seen("a", 18.0)
    hub.forget()
    assert hub.seen("a", 18.0) is None


def test_a_look_reads_what_the_client_reads(hub, client, redis, running):
    running("runs")
    client.start("f", id="waits")
    client.start("f", id="later")
    redis.zadd("pytask:timers", {"later": 5000.0})
    for task in ("ended", "again"):
        client.start("f", id=task)
        client.stop(task)
    redis.lpush("new-task", "again")
    ids = ["runs", "waits", "later", "ended", "again"]
    for task in ids:
        hub.join(["task"], task)
    hub.look(1.0)
    assert [hub.seen(task, 1.0) for task in ids] == [client.get(task) for task in ids]
    assert hub.seen("later", 1.0).due == 5.0
    assert (hub.seen("again", 1.0).again, hub.seen("ended", 1.0).again) == (True, False)


def test_a_task_that_cannot_be_read_hides_no_other(hub, client, redis, monkeypatch):
    client.start("f", id="a")
    client.start("f", id="ended")
    client.stop("ended")
    redis.set("no-hash", "1")
    viewers = {task: hub.join(["task", "log"], task) for task in ("a", "ended", "no-hash", "not\nan id")}
    hub.look(1.0)
    assert [viewer.wait(0) for viewer in viewers.values()] == [["log", "task"]] * 4
    send = client._driver.send

    def denied(commands):
        replies = send(commands)
        return [
            ResponseError("NOPERM no permissions") if words[0] in ("LPOS", "ZMSCORE") else reply
            for (_, words), reply in zip(commands, replies, strict=True)
        ]

    monkeypatch.setattr(client._driver, "send", denied)
    redis.hset("a", "state", "RUNNING")
    hub.look(50.0)
    assert {task: viewer.wait(0) for task, viewer in viewers.items()} == {
        "a": ["task"], "ended": ["task"], "no-hash": [], "not\nan id": [],
    }  # fmt: skip


def test_a_look_that_cannot_read_the_tasks_tells_the_rest_and_the_next_one_tells_them(
    hub, client, monkeypatch
):
    client.start("f", id="a")
    viewer = hub.join(["task", "events", "workers"], "a")
    hub.look(1.0)
    assert viewer.wait(0) == ["events", "task", "workers"]

    def gone(_commands):
        raise Unavailable("nobody answers")

    hub.note(Event(id="a", name="tick"))
    with monkeypatch.context() as patch:
        patch.setattr(client._driver, "send", gone)
        hub.look(7.0)
        assert viewer.wait(0) == ["workers"]
    hub.look(8.0)
    assert viewer.wait(0) == ["events", "task"]


def test_an_action_during_a_look_makes_it_worthless(hub, client, monkeypatch):
    client.start("f", id="a")
    hub.join(["task", "tasks"], "a")
    send = client._driver.send
    monkeypatch.setattr(client._driver, "send", lambda commands: (send(commands), hub.forget())[0])
    hub.look(10.0)
    assert hub.seen("a", 10.0) is hub.counted(10.0) is None
    monkeypatch.undo()
    hub.look(11.0)
    assert hub.seen("a", 11.0)
    assert hub.counted(11.0)


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


def test_many_viewers_are_told_a_few_at_a_time(hub, monkeypatch):
    told = []
    monkeypatch.setattr(
        live.time, "sleep", lambda gap: told.append((gap, sum(one._ready.is_set() for one in all_)))
    )
    all_ = [hub.join(["workers"], None) for _ in range(25)]
    hub.look(100.0)
    assert told == [(live.GAP, 10), (live.GAP, 20)]
    assert all(one.wait(0) == ["workers"] for one in all_)
    hub.look(100.5)  # nothing has changed
    assert len(told) == 2
    hub.join(["workers"], None)
    hub.look(101.0)
    assert len(told) == 2
    all_ += [hub.join(["workers"], None) for _ in range(474)]
    hub.look(110.0)
    assert sum(gap for gap, _ in told[2:]) == pytest.approx(live.LOOK / 2)  # the next look is not late


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


@pytest.mark.parametrize("what", [(["overview"], None), (["task"], "a")])
def test_while_redis_does_not_answer_viewers_are_told_so(hub, client, monkeypatch, caplog, what):
    client.start("f", id="a")
    viewer = hub.join(*what)
    hub.look_or_tell(1.0)
    viewer.wait(0)
    with monkeypatch.context() as patch:

        def gone(*_words):
            raise Unavailable("no answer")

        patch.setattr(client._driver, "send", gone)
        for now in (1.2, 1.3):
            hub.look_or_tell(now)
            assert "away" in viewer.wait(0)
    assert [record.levelname for record in caplog.records if "cannot read" in record.message] == ["WARNING"]
    hub.look_or_tell(1.4)
    assert "back" in viewer.wait(0)
    hub.look_or_tell(1.5)
    assert viewer.wait(0) == what[0]  # what it missed
    hub.look_or_tell(1.6)
    assert viewer.wait(0) == []
