"""What many viewers cost: what is sent to Redis does not grow with them."""

import json

import jinja2
import pytest

VIEWERS = 20
PARTS = (
    "/?part=counts",
    "/?part=fleet",
    "/tasks?part=rows",
    "/tasks?state=RUNNING&part=rows",
    "/workers?part=crew",
    "/functions?part=names",
    "/task?id=r&part=story",
    "/task?id=r&part=log",
    "/task?id=e&part=story",
)


@pytest.fixture
def looked_at(page, client, running, redis):
    """The page with a run, a task that has ended, and a worker; time stands still for what it shares."""
    running("r")
    client.start("f", id="e")
    client.stop("e")
    redis.hset("pytask:workers:info", "s", json.dumps({"session": "s", "name": "yew", "functions": ["f"]}))
    redis.zadd("pytask:workers", {"s": redis.time()[0]})
    found = page()
    for one in (found.site.cache, found.site._steady):
        one._clock = lambda: 100.0
    return found


def commands(sent):
    """What was sent, by its first word and key; it is forgotten."""
    found = [tuple(words[:2]) for trip in sent for words in trip]
    sent.clear()
    return found


def test_parts_of_the_page_are_read_once_for_all_viewers(looked_at, sent):
    for path in PARTS:
        assert looked_at.get(path).status_code == 200, path
    once = commands(sent)
    looked_at.site.cache.clear()
    looked_at.site._steady.clear()
    for _ in range(VIEWERS):
        for path in PARTS:
            looked_at.get(path)
    many = commands(sent)
    assert sorted(many, key=repr) == sorted(once, key=repr)
    # What several parts show is read for all of them together.
    for words in (
        ("HMGET", "pytask:workers:info"),
        ("ZCARD", "pytask:leases"),
        ("SRANDMEMBER", "pytask:parked"),
    ):
        assert many.count(words) == 1


def test_what_a_look_has_read_is_not_read_for_the_pages(looked_at, sent, monkeypatch):
    hub = looked_at.site.hub
    monkeypatch.setattr("pytask.web.site.time.monotonic", lambda: 10.0)
    for topics, task in ((["overview", "tasks"], None), (["task", "log"], "r"), (["task"], "e")):
        hub.join(topics, task)
    hub.look(10.0)
    looked = commands(sent)
    assert [words for words in looked if words[0] == "LPOS"] == [
        ("LPOS", "new-task")
    ]  # of the one that has ended
    for path in PARTS:
        looked_at.get(path)
    read = commands(sent)
    assert not {("LPOS", "new-task"), ("ZCARD", "pytask:leases"), ("HGETALL", "r"), ("HGETALL", "e")} & {
        *read
    }


def test_only_the_story_of_a_task_that_waits_reads_the_queue(looked_at, client, sent):
    for task, walks in (("r", 0), ("e", 1), ("w", 1)):
        client.start("f", id="w")
        sent.clear()
        looked_at.get(f"/task?id={task}")
        # Whether a task that has ended waits again, is asked once.
        assert commands(sent).count(("LPOS", "new-task")) == walks, task


def test_lists_of_what_has_ended_read_the_ends_of_the_queue_once(looked_at, client, sent):
    client.start("f", id="w")
    for state in ("STOPPED", "ERROR", "ENDED", "STOPPED&state=ENDED"):
        for task in ("a", "b"):
            client.start("f", id=f"{task}-{state}")
            client.stop(f"{task}-{state}")
    sent.clear()
    for path in ("state=STOPPED", "state=STOPPED&state=ENDED", "state=STOPPED&function=f", "limit=10"):
        assert "a-STOPPED" in looked_at.get(f"/tasks?{path}").text
    # Once for the lists, once for the count, and of its tail for the list of what waits.
    assert commands(sent).count(("LRANGE", "new-task")) == 3


def test_samples_are_not_read_again_because_tasks_change(looked_at, sent):
    for _ in range(3):
        looked_at.get("/")
        looked_at.site.cache.clear()
    assert commands(sent).count(("HGETALL", "pytask:samples:hour")) == 1


def test_the_first_viewer_waits_for_no_template(looked_at, monkeypatch):
    compiled = []
    monkeypatch.setattr(jinja2.Environment, "compile", lambda *words, **_more: compiled.append(words[1:]))
    for path in ("/", "/tasks", "/task?id=r", "/workers", "/schedules", "/limits", "/functions", "/rejected"):
        assert looked_at.get(path).status_code == 200
    assert compiled == []
