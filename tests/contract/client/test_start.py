"""Starting tasks: ids, data and their classes, many at once."""

import json

import attrs
import pytest

from pytask import Task, errors
from pytask.client import New
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change


@attrs.frozen
class Place:
    city: str
    floor: int = 0


@attrs.frozen
class Visit:
    url: str
    where: Place
    times: int = 1


class VisitTask(Task):
    class Config:
        NAME = "visit"
        DATA = Visit


@pytest.mark.wire
def test_a_started_task_is_what_the_documented_commands_make(both):
    task_id = both.client.start("f", {"a": 1})
    assert both.bench.hash(task_id) == {"function": "f", "data": '{"a":1}'}
    assert both.bench.queue() == [task_id]
    ref = both.bench.ref(task_id)
    (claim,) = both.bench.claim(ref)
    assert (claim.won, claim.function, claim.data) == (True, "f", b'{"a":1}')


def test_a_task_without_data(both):
    task_id = both.client.start("f")
    assert both.bench.hash(task_id) == {"function": "f"}
    assert both.client.get(task_id).data is None


@pytest.mark.wire
def test_the_first_started_is_the_first_taken(both):
    ids = [both.client.start("f") for _ in range(3)] + both.client.start_many([("f", None)] * 3)
    assert [raw.decode() for raw in both.bench.store.peek(10)] == ids


@pytest.mark.wire
def test_one_id_is_one_task(both):
    assert both.client.start("f", {"a": 1}, id="x") == "x"
    assert both.client.start("f", {"a": 1}, id="x") == "x"
    assert both.bench.queue() == ["x"]
    for function, data in (("f", {"a": 2}), ("f", None), ("g", {"a": 1})):
        with pytest.raises(errors.TaskExists, match="PT084"):
            both.client.start(function, data, id="x")
    both.bench.set_string("y")
    with pytest.raises(errors.TaskExists):
        both.client.start("f", id="y")
    assert both.bench.hash("x") == {"function": "f", "data": '{"a":1}'}
    assert both.bench.is_string("y")
    assert both.bench.queue() == ["x"]


@pytest.mark.wire
@pytest.mark.parametrize("state", ["ENDED", "ERROR", "STOPPED"])
def test_an_id_whose_task_has_ended_runs_again_with_the_new_data(both, state):
    """A job that is started each night under one name."""
    client, bench = both.client, both.bench

    def claimed():
        ref = bench.ref("nightly")
        bench.claim(ref)
        return ref

    client.start("f", {"night": 1}, id="nightly")
    ref = claimed()
    settle = {"ENDED": Trigger.END, "ERROR": Trigger.FAIL, "STOPPED": Trigger.STOP}
    bench.store.commit([Change(ref.id, ref.run, b"{}", settle[state], {}, 60)])
    assert client.get("nightly").state == state
    assert client.start("f", {"night": 2}, id="nightly") == "nightly"
    assert (client.get("nightly").state, bench.queue()) == ("WAIT", ["nightly"])
    assert client.start("f", {"night": 2}, id="nightly") == "nightly"  # it waits: once is enough
    assert bench.queue() == ["nightly"]
    with pytest.raises(errors.TaskExists, match="is waiting or running with other data"):
        client.start("f", {"night": 3}, id="nightly")
    again = claimed()
    assert bench.hash("nightly")["data"] == '{"night":2}'
    bench.store.commit([Change(again.id, again.run, b"{}", Trigger.END, {}, 60)])
    with pytest.raises(errors.TaskExists):
        client.start("g", {"night": 2}, id="nightly")  # another function's
    assert client.start_many([("f", None, "nightly"), ("f", None, "other")]) == ["nightly", "other"]
    assert sorted(bench.queue()) == ["nightly", "other"]
    assert "data" not in bench.hash("nightly")


@pytest.mark.wire
def test_many_tasks_of_all_kinds(both):
    tasks = [("f", {"n": n}) for n in range(1200)]
    tasks += ["g", VisitTask, ("f", {"n": 1}, "mine"), New("f", {"n": 2}, "mine-too"), ("g", {"x": "é"})]
    tasks[1201] = (VisitTask, Visit("u", Place("Oslo")))
    ids = both.client.start_many(tasks)
    assert len(set(ids)) == len(tasks) == len(both.bench.queue())
    assert [json.loads(both.bench.hash(i)["data"])["n"] for i in ids[:1200]] == list(range(1200))
    assert both.bench.hash(ids[1200]) == {"function": "g"}
    visit = both.bench.hash(ids[1201])
    assert visit["function"] == "visit"
    assert json.loads(visit["data"]) == {"url": "u", "where": {"city": "Oslo", "floor": 0}, "times": 1}
    assert ids[1202:1204] == ["mine", "mine-too"]
    assert json.loads(both.bench.hash(ids[1204])["data"]) == {"x": "é"}
    assert both.client.start_many([]) == []


def test_of_many_only_the_one_whose_id_is_taken_is_not_queued(both):
    both.bench.push("taken", data='{"other":1}')
    with pytest.raises(errors.TaskExists, match="taken"):
        both.client.start_many([("f", {"n": 1}, "a"), ("f", {"n": 2}, "taken"), ("f", {"n": 1}, "a")])
    assert sorted(both.bench.queue()) == ["a", "taken"]
    assert both.bench.hash("taken")["data"] == '{"other":1}'


def test_nothing_is_sent_of_many_when_one_is_wrong(real):
    with pytest.raises(errors.BadData):
        real.client.start_many([("f", {"a": 1}), ("f", [1])])
    assert real.bench.queue() == []


@pytest.fixture(params=["proto-max-bulk-len", "client-query-buffer-limit"])
def limited(request, real):
    """A server that takes one megabyte at once, the least that it can be set to."""
    before = real.bench.raw.config_get(request.param)
    real.bench.raw.config_set(request.param, 2**20)
    yield real
    for name, value in before.items():
        real.bench.raw.config_set(name, value)


def test_of_many_only_what_the_server_never_takes_is_not_queued(limited):
    tasks = [("f", {"x": "x" * 100_000}) for _ in range(30)]
    tasks[7:7] = [("f", {"x": "x" * 2_000_000}, "big"), ("f", {"x": "x" * 3_000_000}, "bigger")]
    with pytest.raises(errors.TooLarge, match=r"PT134.*30 of the 32 tasks are queued") as caught:
        limited.client.start_many(tasks)
    assert caught.value.ids == ("big", "bigger")
    assert len(limited.bench.queue()) == len(set(limited.bench.queue())) == 30
    with pytest.raises(errors.TooLarge, match="'big', 2,000,008 bytes"):
        limited.client.start("f", {"x": "x" * 2_000_000}, id="big")
    task_id = limited.client.start("f", {"x": 1})
    with pytest.raises(errors.TooLarge):
        limited.client.update_data(task_id, {"x": "x" * 2_000_000})
    assert limited.client.get(task_id).data == {"x": 1}


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"url": 5, "where": {"city": "x"}}, r"\$\.url"),
        ({"url": "u", "where": {"city": "x", "floor": "two"}}, r"\$\.where\.floor"),
        ({"url": "u"}, "where"),
        (Visit(url="u", where=Place(city="x", floor="two")), r"\$\.where\.floor"),
        (None, "url"),
    ],
)
def test_data_is_checked_against_the_class_before_it_is_sent(real, data, path):
    for send in (
        lambda: real.client.start(VisitTask, data),
        lambda: real.client.start_many([(VisitTask, data)]),
        lambda: real.client.update_data("any", data, VisitTask),
    ):
        with pytest.raises(errors.BadData, match=path):
            send()
    assert real.bench.queue() == []


@pytest.mark.parametrize("data", [[1], "text", 5, True, {"a": object()}, {1j: 2}])
def test_data_that_is_no_json_object_is_refused(real, data):
    with pytest.raises(errors.BadData, match="PT030"):
        real.client.start("f", data)


def test_data_over_the_limit_is_refused(real):
    client = real.connect(max_data=100)
    client.start("f", {"a": "x" * 90})
    with pytest.raises(errors.BadData, match="at most 100"):
        client.start("f", {"a": "x" * 100})


@pytest.mark.parametrize("task_id", ["", "new-task", "pytask:runs", "a\nb", "x" * 513, "\udc80", 5, None])
def test_what_can_be_no_id_is_refused(real, task_id):
    calls = [real.client.get, real.client.stop, real.client.remove, real.client.wait, real.client.reload]
    calls += [lambda i: real.client.start_many([New("f", None, i)])] * (task_id is not None)
    for call in calls:
        with pytest.raises(errors.BadData):
            call(task_id)


@pytest.mark.parametrize("name", ["", "x" * 513])
def test_what_can_be_no_name_is_refused(real, name):
    with pytest.raises(errors.BadData, match="1 to 512"):
        real.client.start(name)


def test_what_is_no_task_class_is_refused(real):
    with pytest.raises(errors.BadTaskClass):
        real.client.start(Place)


@pytest.mark.wire
def test_new_data(both):
    task_id = both.client.start("f", {"a": 1})
    both.client.update_data(task_id, {"a": 2})
    assert both.client.get(task_id).data == {"a": 2}
    both.client.update_data(task_id, None)
    assert both.client.get(task_id).raw_data is None
    with pytest.raises(errors.NoSuchTask):
        both.client.update_data("none", {"a": 2})
    assert not both.bench.exists("none")
    both.bench.set_string("s")
    with pytest.raises(errors.WrongKeyType):
        both.client.update_data("s", {"a": 2})
