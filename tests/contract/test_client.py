"""One suite for both faces of the client, against every kind of server; a store plays the worker."""

import asyncio
import json
import os
import threading
import time
from itertools import count

import attrs
import fakeredis
import pytest
import redis
import redis.asyncio
import valkey
import valkey.asyncio

import pytask
import pytask.aio
from pytask import Task, errors, partition_of
from pytask.client import Client, Event, New, watch
from pytask.client.control import await_stop
from pytask.client.partitions import own_name
from pytask.domain import lifecycle as life
from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import State, Trigger
from pytask.domain.messages import Command
from pytask.domain.record import Change, Verdict
from tests.contract.conftest import KEEP, NAMESPACE, SOON, RedisBench

KINDS = ("fakeredis", "redis62", "redis", "valkey", "valkey-decoded", "valkey-py", "valkey-namespace")
FACES = ("blocking", "asyncio")


class Awaited:
    """An asyncio client as a blocking one: each call is run to its end."""

    def __init__(self, loop, client):
        self._loop, self._client = loop, client

    def __getattr__(self, name):
        found = getattr(self._client, name)

        def call(*args, **kwargs):
            result = self._loop.run_until_complete(found(*args, **kwargs))
            return AwaitedIterator(self._loop, result) if name in ("watch", "logs") else result

        return call


class AwaitedIterator:
    def __init__(self, loop, events):
        self._loop, self._events = loop, events

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self._loop.run_until_complete(anext(self._events))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self):
        self._loop.run_until_complete(self._events.aclose())


class Both:
    """A client of either face, and what a worker and a person with redis-cli do behind its back."""

    def __init__(self, face, source, bench, **options):
        self.face, self._source, self.bench = face, source, bench
        self.loop = asyncio.new_event_loop() if face == "asyncio" else None
        self._clients = []
        self.client = self.connect(**options)

    def connect(self, source=None, **options):
        limits = {"timeout": SOON, "connect_timeout": SOON}
        options = {"namespace": self.bench.keys.namespace} | limits | options
        made = pytask.aio.Client if self.loop else pytask.Client
        client = made(source or self._source(), **options)
        self._clients.append(Awaited(self.loop, client) if self.loop else client)
        return self._clients[-1]

    def end(self, ref, trigger=Trigger.END, name="ended", **fields):
        event = json.dumps({"event": name, "data": fields or None}).encode()
        fields = {field: json.dumps(value) for field, value in fields.items()}
        change = Change(id=ref.id, run=ref.run, event=event, trigger=trigger, fields=fields)
        assert self.bench.store.commit([change]) == [Verdict.OK]

    def close(self):
        for client in self._clients:
            client.close()
        if self.loop:
            self.loop.close()
        self.bench.close()


def make(kind, face, servers, **options):
    if kind == "fakeredis":
        server = fakeredis.FakeServer()
        bench = RedisBench(fakeredis.FakeRedis(server=server), fakeredis.FakeRedis(server=server), KEEP)
        of = fakeredis.FakeAsyncRedis if face == "asyncio" else fakeredis.FakeRedis
        return Both(face, lambda: of(server=server), bench, **options)
    partition = servers("valkey" if kind.startswith("valkey") else kind)
    at = {"host": partition.host, "port": partition.port, "socket_timeout": SOON}
    raw = redis.Redis(**at)
    raw.flushall()
    bench = RedisBench(redis.Redis(**at), raw, KEEP, NAMESPACE if kind == "valkey-namespace" else "")
    library = redis.asyncio if face == "asyncio" else redis
    plain = {
        "valkey": lambda: partition.url,
        "valkey-decoded": lambda: library.Redis(**at, decode_responses=True, protocol=3),
        "valkey-py": lambda: valkey.asyncio.Valkey(**at) if face == "asyncio" else valkey.Valkey(**at),
    }
    return Both(face, plain.get(kind, lambda: library.Redis(**at)), bench, **options)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=FACES)
def both(request, kind, servers):
    made = make(kind, request.param, servers)
    yield made
    made.close()


@pytest.fixture(params=FACES)
def real(request, servers):
    """On one kind of server only, for what does not depend on it."""
    made = make("valkey", request.param, servers)
    yield made
    made.close()


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


# -- starting -----------------------------------------------------------------------------------------------


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


def test_the_first_started_is_the_first_taken(both):
    ids = [both.client.start("f") for _ in range(3)] + both.client.start_many([("f", None)] * 3)
    assert [raw.decode() for raw in both.bench.store.peek(10)] == ids


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


# -- steering -----------------------------------------------------------------------------------------------


def heeded(both, task_id):
    """Wait until the client is subscribed to the task."""
    raw, channel = both.bench.raw, both.bench.keys.events(task_id)
    until = time.monotonic() + SOON
    while not raw.pubsub_numsub(channel)[0][1]:
        assert time.monotonic() < until
        time.sleep(0.005)


def given(raw, command):
    """How often the server was given this command so far."""
    return raw.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]


class Beside:
    """Something that happens meanwhile: in a thread, or in a greenlet where the process is patched."""

    def __init__(self, work, *args, after=0.0, **kwargs):
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(after, work, args, kwargs), daemon=True)
        self._thread.start()

    def _run(self, after, work, args, kwargs):
        try:
            time.sleep(after)
            work(*args, **kwargs)
        except BaseException as error:
            self._error = error

    def over(self):
        self._thread.join(SOON)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error


def settle(pubsub, count=2):
    """The server has the subscriptions."""
    for _ in range(count):
        pubsub.get_message(timeout=SOON)


def test_stop_a_task_that_waits(both):
    task_id = both.client.start("f")
    outcome = both.client.stop(task_id)
    assert (outcome.done, outcome.state, outcome.requested) == (True, "STOPPED", False)
    both.bench.assert_at_rest(task_id, "STOPPED")
    assert both.bench.queue() == []
    assert both.client.stop(task_id).done


def test_stop_a_task_that_runs_is_recorded_and_told(both):
    ref = both.bench.running("t")
    told = both.bench.raw.pubsub(ignore_subscribe_messages=True)
    told.subscribe(both.bench.keys.hint_channel)
    told.psubscribe(both.bench.keys.control_pattern)
    settle(told)
    outcome = both.client.stop("t")
    assert (outcome.done, outcome.state, outcome.requested, outcome.heard) == (False, "RUNNING", True, 1)
    assert both.bench.store.renew([ref]) == {ref: Verdict.STOP}
    message = told.get_message(timeout=SOON)
    assert (message["channel"], message["data"]) == (both.bench.keys.control("t").encode(), b"stop")
    told.close()


def test_stop_waits_until_the_task_has_stopped(both):
    ref = both.bench.running("t")

    def worker():
        while both.bench.store.renew([ref]) != {ref: Verdict.STOP}:
            time.sleep(0.01)
        both.end(ref, Trigger.STOP, "stopped")

    acting = Beside(worker)
    outcome = both.client.stop("t", wait=SOON)
    assert (outcome.done, outcome.state, outcome.requested) == (True, "STOPPED", True)
    acting.over()
    assert both.client.get("t").state is life.STOPPED


@pytest.mark.parametrize("detour", ["reload", "release"])
def test_a_stop_is_not_done_in_another_run_or_in_the_queue(real, detour):
    """As by a worker of an older release, which deletes `control` on the way."""
    ref, after = real.bench.running("t"), real.bench.ref("t")

    def worker():
        while real.bench.store.renew([ref]) != {ref: Verdict.STOP}:
            time.sleep(0.01)
        real.bench.erase("t", "control")
        if detour == "reload":
            assert real.bench.store.reload(ref, after, "w", 1000).won
        else:
            real.end(ref, Trigger.RELEASE, "requeued")
            assert real.bench.claim(after)[0].won
        time.sleep(0.1)  # for the client to take it for the end, if it does
        real.end(after, Trigger.STOP, "stopped")

    acting = Beside(worker)
    outcome = real.client.stop("t", wait=SOON)
    acting.over()
    assert (outcome.done, outcome.state) == (True, "STOPPED")


def test_a_stop_that_was_replaced_is_told_as_not_done(real):
    real.bench.running("t")
    told = real.bench.raw.pubsub()
    told.subscribe(real.bench.keys.hint_channel)
    settle(told, 1)
    assert real.client.stop("t").requested
    real.bench.erase("t", "control")
    with Client(real.bench.raw) as client, pytest.raises(errors.TimedOut, match=r"is no longer stored"):
        client._driver.run(await_stop(client._partitions, "t", 0.05))
    told.close()


def test_a_stop_whose_hash_is_gone_is_done(real, monkeypatch):
    monkeypatch.setattr(watch, "LOOK_EVERY", 0.05)
    ref = real.bench.running("t")

    def worker():
        while real.bench.store.renew([ref]) != {ref: Verdict.STOP}:
            time.sleep(0.01)
        real.bench.delete("t")  # no event tells of it

    acting = Beside(worker)
    outcome = real.client.stop("t", wait=SOON)
    acting.over()
    assert (outcome.done, outcome.state) == (True, None)


@pytest.mark.parametrize("trigger", [Trigger.END, Trigger.STOP])
def test_a_run_that_came_to_rest_before_its_reload_was_not_reloaded(real, trigger):
    ref = real.bench.running("t")

    def worker():
        while real.bench.store.renew([ref]) != {ref: Verdict.RELOAD}:
            time.sleep(0.01)
        real.end(ref, trigger, "stopped" if trigger is Trigger.STOP else "ended")

    acting = Beside(worker)
    with pytest.raises(errors.TaskNotRunning, match=r"PT088.*'t' finished before it was reloaded") as rests:
        real.client.reload("t", wait=SOON)
    acting.over()
    assert rests.value.state == real.bench.hash("t")["state"]


def test_a_reload_is_not_done_in_the_queue_but_in_the_run_that_follows(real):
    ref, after = real.bench.running("t"), real.bench.ref("t")

    def worker():
        while real.bench.store.renew([ref]) != {ref: Verdict.RELOAD}:
            time.sleep(0.01)
        real.end(ref, Trigger.RELEASE, "requeued")
        time.sleep(0.1)  # for the client to take it for the new run, if it does
        assert real.bench.claim(after)[0].won

    acting = Beside(worker)
    outcome = real.client.reload("t", wait=SOON)
    acting.over()
    assert (outcome.done, outcome.state) == (True, "RUNNING")


@pytest.mark.parametrize("verb", ["start_again", "requeue"])
def test_a_start_that_is_stopped_in_the_queue_did_not_run(real, verb):
    real.end(real.bench.running("t"))

    def other():
        while real.bench.hash("t")["state"] != "WAIT":
            time.sleep(0.01)
        assert real.bench.store.control(Command.STOP, ["t"]) == [Verdict.OK]

    acting = Beside(other)
    with pytest.raises(errors.TaskNotRunning, match=r"PT088.*'t' finished before it was run: it is STOPPED"):
        getattr(real.client, verb)("t", wait=SOON)
    acting.over()


def test_a_stop_that_nobody_hears_or_obeys(both):
    both.bench.running("t")
    with pytest.raises(errors.NoListeners, match="PT086"):
        both.client.stop("t", wait=0.05)
    told = both.bench.raw.pubsub()
    told.subscribe(both.bench.keys.hint_channel)
    told.psubscribe(both.bench.keys.control_pattern)
    settle(told)
    with pytest.raises(errors.TimedOut, match=r"PT082.*it is RUNNING, and the wish remains stored") as late:
        both.client.stop("t", wait=0.05)
    assert late.value.state is life.RUNNING
    assert both.bench.hash("t")["control"] == "stop"
    told.close()


def test_a_start_that_no_worker_takes_says_why_and_where_the_task_is(both):
    both.end(both.bench.running("t"))
    with pytest.raises(
        errors.NoListeners, match=r"PT086.*no worker is subscribed: 't' is queued, and starts"
    ) as nobody:
        both.client.start_again("t", wait=0.05)
    assert nobody.value.state is life.WAIT
    told = both.bench.raw.pubsub()
    told.subscribe(both.bench.keys.hint_channel)
    settle(told, 1)
    for verb in ("start_again", "requeue"):
        with pytest.raises(
            errors.TimedOut, match=r"PT082.*within 0.05 s: it is WAIT. See `pytask why t`"
        ) as late:
            getattr(both.client, verb)("t", wait=0.05)
        assert late.value.state is life.WAIT
    assert both.bench.queue() == ["t"]
    told.close()


def test_start_again(both):
    ref = both.bench.running("t")
    assert both.client.start_again("t").done  # it runs: nothing to do
    assert both.bench.queue() == []
    both.end(ref, output=5)
    told = both.bench.raw.pubsub(ignore_subscribe_messages=True)
    told.subscribe(both.bench.keys.hint_channel)
    told.psubscribe(both.bench.keys.control_pattern)
    settle(told)
    outcome = both.client.start_again("t", {"b": 2})
    assert (outcome.done, outcome.state) == (True, "WAIT")
    both.bench.assert_at_rest("t", "WAIT")
    assert both.bench.queue() == ["t"]
    assert both.bench.hash("t")["data"] == '{"b":2}'
    assert told.get_message(timeout=SOON)["data"] == b"started"
    assert both.client.start_again("t").done
    assert both.bench.queue() == ["t"]
    told.close()


def test_start_again_waits_until_it_runs_again(both):
    both.end(both.bench.running("t"))

    def worker():
        while not both.bench.claim(both.bench.ref("t"))[0].won:
            time.sleep(0.01)

    acting = Beside(worker)
    outcome = both.client.start_again("t", wait=SOON)
    assert (outcome.done, outcome.state) == (True, "RUNNING")
    acting.over()


def test_reload_waits_for_the_new_run(both):
    ref = both.bench.running("t")
    after = both.bench.ref("t")

    def worker():
        while both.bench.store.renew([ref]) != {ref: Verdict.RELOAD}:
            time.sleep(0.01)
        assert both.bench.store.reload(ref, after, "w", 1000).data == b'{"n":2}'
        lives.append(False)
        time.sleep(0.3)  # for the client to take its birth for its life, if it does
        lives[0] = True
        assert both.bench.store.settle(after) is Verdict.OK

    lives = []
    acting = Beside(worker)
    outcome = both.client.reload("t", {"n": 2}, wait=SOON)
    assert lives == [True]
    assert (outcome.done, outcome.state, outcome.requested) == (True, "RUNNING", True)
    acting.over()
    assert both.client.get("t").run == after.run


def refuses(both, ref, path, reason):
    while both.bench.store.renew([ref]) != {ref: Verdict.RELOAD}:
        time.sleep(0.01)
    judged = both.bench.store.preview(ref, 1000)
    assert both.bench.store.refuse(judged, path, reason) is Verdict.OK


def test_a_reload_that_is_refused_is_told_with_path_and_reason(both):
    ref = both.bench.running("t")
    for number in range(2):  # also twice in a row
        reason = f"expected int {number}"
        acting = Beside(lambda reason=reason: refuses(both, ref, "$.n", reason))
        outcome = both.client.reload("t", {"n": "many"}, wait=SOON)
        acting.over()
        assert (outcome.done, bool(outcome), outcome.state) == (False, False, "RUNNING")
        assert (outcome.refusal.path, outcome.refusal.reason) == ("$.n", reason)
        assert reason in outcome.refused
    task = both.client.get("t")
    assert (task.run, task.refusal.reason, task.control) == (ref.run, reason, "")


def test_an_earlier_refusal_is_not_taken_for_that_of_a_reload_that_is_accepted(both):
    ref, after = both.bench.running("t"), both.bench.ref("t")
    assert both.bench.store.refuse(both.bench.store.preview(ref, 1000), "$", "bad") is Verdict.OK

    def worker():
        while both.bench.store.renew([ref]) != {ref: Verdict.RELOAD}:
            time.sleep(0.01)
        time.sleep(0.1)
        assert both.bench.store.reload(ref, after, "w", 1000).won
        assert both.bench.store.settle(after) is Verdict.OK

    acting = Beside(worker)
    outcome = both.client.reload("t", wait=SOON)
    acting.over()
    assert (outcome.done, outcome.refusal) == (True, None)
    assert both.client.get("t").refusal is None


def test_a_reload_whose_new_run_fails_at_once_is_not_done(both):
    ref, after = both.bench.running("t"), both.bench.ref("t")

    def worker():
        while both.bench.store.renew([ref]) != {ref: Verdict.RELOAD}:
            time.sleep(0.01)
        assert both.bench.store.reload(ref, after, "w", 1000).won
        event = b'{"event":"error","data":{"error":"no such host"}}'
        failed = Change("t", after.run, event, Trigger.FAIL, {"error": "no such host"})
        assert both.bench.store.commit([failed]) == [Verdict.OK]

    acting = Beside(worker)
    with pytest.raises(errors.RunFailed, match=r"PT141.*failed at once: no such host"):
        both.client.reload("t", wait=SOON)
    acting.over()


def test_a_reload_by_an_older_worker_is_done_when_its_new_run_is_born(both):
    """It neither refuses nor settles anything; a field of an earlier run means nothing."""
    ref, after = both.bench.running("t"), both.bench.ref("t")
    both.bench.write("t", settling="5", reload_refused='{"epoch":5,"at":1,"path":"$","reason":"bad"}')

    def worker():
        while both.bench.store.renew([ref]) != {ref: Verdict.RELOAD}:
            time.sleep(0.01)
        assert both.bench.store.reload(ref, after, "w", 1000).won
        both.bench.write("t", settling="5")

    acting = Beside(worker)
    outcome = both.client.reload("t", wait=SOON)
    acting.over()
    assert (outcome.done, outcome.state) == (True, "RUNNING")


def test_many_reloads_are_told_at_once_and_each_has_its_outcome(both):
    good, bad = both.bench.running("good"), both.bench.running("bad")
    after = both.bench.ref("good")

    def worker():
        refuses(both, bad, "$.n", "expected int")
        assert both.bench.store.reload(good, after, "w", 1000).won
        assert both.bench.store.settle(after) is Verdict.OK

    acting = Beside(worker)
    found = both.client.reload_many(["good", "bad", "none"], wait=SOON)
    acting.over()
    assert [outcome.done for outcome in found] == [True, False, False]
    assert [outcome.refusal and outcome.refusal.path for outcome in found] == [None, "$.n", None]
    assert both.client.reload_many(["good"])[0].requested


def test_a_run_that_does_not_settle_in_time_is_told_as_that(both):
    ref, after = both.bench.running("t"), both.bench.ref("t")

    def worker():
        while both.bench.store.renew([ref]) != {ref: Verdict.RELOAD}:
            time.sleep(0.01)
        assert both.bench.store.reload(ref, after, "w", 1000).won

    acting = Beside(worker)
    with pytest.raises(errors.TimedOut, match=r"began anew, and its start\(\) has not run"):
        both.client.reload("t", wait=1)
    acting.over()


def test_reload_does_not_replace_a_stop_and_leaves_a_resting_task_alone(both):
    both.bench.running("t")
    both.client.stop("t")
    assert both.client.reload("t").requested
    assert both.bench.hash("t")["control"] == "stop"
    both.bench.push("w")
    outcome = both.client.reload("w", wait=SOON)
    assert (outcome.done, outcome.requested, outcome.state) == (False, False, "WAIT")


@pytest.mark.parametrize("verb", ["stop", "start_again", "reload", "get", "wait"])
def test_no_such_task(both, verb):
    with pytest.raises(errors.NoSuchTask, match="PT080"):
        getattr(both.client, verb)("none")
    assert not both.bench.exists("none")


@pytest.mark.parametrize("verb", ["stop", "start_again", "reload"])
def test_a_key_of_another_type_is_no_task(both, verb):
    both.bench.set_string("s")
    with pytest.raises(errors.WrongKeyType):
        getattr(both.client, verb)("s")
    both.client.start("f", id="t")
    odd, task = getattr(both.client, f"{verb}_many")(["s", "t"])
    assert (odd.done, odd.state, "is not a hash" in odd.refused) == (False, None, True)
    assert (task.state, task.refused) == ("STOPPED" if verb == "stop" else "WAIT", "")


def test_the_history_says_who_asked(both):
    named = both.connect(name="ops: 100 % älter")
    task_id = named.start("f")
    both.client.stop(task_id)
    named.start_again(task_id)
    ref = both.bench.ref(task_id)
    both.bench.claim(ref)
    named.reload_many([task_id])
    both.client.stop(task_id)
    unnamed = own_name()[:64]
    assert [(move.trigger, move.who, move.why) for move in both.client.get(task_id).history] == [
        ("cancel", unnamed, ""),
        ("start", "ops: 100 % älter", ""),
        ("claim", "w", ""),
        ("request", "ops: 100 % älter", "reload"),
        ("request", unnamed, "stop"),
    ]


def test_a_user_without_a_name_is_told_by_its_process(monkeypatch):
    def nobody(_uid):
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("os.getuid", lambda: 987_654)
    assert own_name() == f"{os.uname().nodename}:{os.getpid()}"


def test_a_name_that_is_no_text_is_refused(real):
    with pytest.raises(errors.ConfigError, match="a client's name must be a string, not 5"):
        real.connect(name=5)


def test_many_at_once(both):
    ids = both.client.start_many(["f"] * 300)
    outcomes = both.client.stop_many([*ids, "none", ids[0]])
    assert [one.id for one in outcomes] == [*ids, "none", ids[0]]
    assert all(one.done for one in outcomes[:300])
    assert outcomes[300].state is None
    assert all(one.done for one in both.client.start_again_many(ids))
    assert not any(one.requested for one in both.client.reload_many(ids))
    assert sorted(both.bench.queue()) == sorted(ids)


QUICK = pytask.Timing().scaled(0.005)  # T = 0.45 s
WATCHFUL = attrs.evolve(QUICK, expiry=60.0)  # looks as often, and watches as long as a busy machine needs


def silent_run(both, task_id, seconds=3600, **fields):
    """A run whose worker renewed it last so long ago, as the clock of Redis tells."""
    ref = both.bench.running(task_id, **fields)
    both.bench.set_lease(task_id, both.bench.now() - int(seconds * 1e6))
    return ref


def test_requeue_takes_a_dead_run_after_it_was_watched(both):
    ref = silent_run(both, "dead")
    silent_run(both, "ahead", -3600)  # somebody set the clock of Redis back
    both.client.start("f", id="waits")
    began = time.monotonic()
    outcomes = both.client.requeue_many(["dead", "ahead", "waits", "none", "dead"], timing=QUICK)
    assert time.monotonic() - began >= QUICK.expiry
    assert [(one.id, one.done, one.state, one.refused) for one in outcomes] == [
        ("dead", True, life.WAIT, ""),
        ("ahead", True, life.WAIT, ""),
        ("waits", True, life.WAIT, ""),
        ("none", False, None, ""),
        ("dead", True, life.WAIT, ""),
    ]
    assert sorted(both.bench.queue()) == ["ahead", "dead", "waits"]
    both.bench.store.commit([Change("dead", ref.run, b"", Trigger.END, {}, 60)])  # it was not dead after all
    assert both.client.get("dead").state is life.WAIT
    (move,) = both.client.get("dead").history
    assert (move.trigger, move.who) == ("expire", own_name()[:64])
    assert both.client.get("dead").crashes == 0


def test_requeue_leaves_a_living_run_alone(real):
    living = real.bench.running("living")
    began = time.monotonic()
    with pytest.raises(errors.TaskRunning, match=r"PT085.*renewed \d+ s ago.*after 90 s of silence"):
        real.client.requeue("living")
    assert time.monotonic() - began < 60  # nothing was watched
    real.bench.assert_registered(living)
    late = silent_run(real, "late")
    before = given(real.bench.raw, "zscore")

    def owner():
        while given(real.bench.raw, "zscore") == before:  # the lease has been looked at
            time.sleep(0.005)
        real.bench.store.renew([late])

    acting = Beside(owner)
    with pytest.raises(errors.TaskRunning, match="renewed while it was observed"):
        real.client.requeue("late", timing=WATCHFUL)
    acting.over()
    real.bench.assert_registered(late)
    assert real.bench.queue() == []


def test_requeue_waits_as_long_as_the_workers_own_times_ask_for(real):
    patient = WorkerInfo(session="session", name="w", host="h", pid=1, running=1, expiry=1.5)
    real.bench.store.announce(patient)
    silent_run(real, "a")
    began = time.monotonic()
    assert real.client.requeue("a", timing=QUICK).done
    assert time.monotonic() - began >= 1.5
    silent_run(real, "b", seconds=50)
    real.bench.store.announce(attrs.evolve(patient, expiry=1000.0))
    with pytest.raises(errors.TaskRunning, match=r"renewed 5. s ago. Only after 1000 s"):
        real.client.requeue("b", timing=QUICK)


def test_requeue_of_a_dead_run_that_was_to_stop_queues_it(real):
    silent_run(real, "a")
    real.client.stop("a")
    assert real.client.requeue("a", timing=QUICK).state is life.WAIT
    assert [move.trigger for move in real.client.get("a").history][1:] == ["expire_stopped", "start"]
    assert real.bench.queue() == ["a"]


def test_requeue_of_what_rests_and_of_what_says_that_it_runs(real):
    real.end(real.bench.running("ended"))
    assert real.client.requeue("ended").state is life.WAIT
    with pytest.raises(errors.NoSuchTask):
        real.client.requeue("none")
    real.bench.write("odd", function="f", state="RUNNING")
    (odd,) = real.client.requeue_many(["odd"], timing=QUICK)
    assert not odd.done
    assert "is RUNNING without a registered run" in odd.refused
    with pytest.raises(errors.TaskRunning, match="is RUNNING without a registered run"):
        real.client.requeue("odd")


def test_remove(both):
    task_id = both.client.start("f")
    assert both.client.remove(task_id) is True
    assert not both.bench.exists(task_id)
    assert both.bench.queue() == []
    assert both.client.remove(task_id) is False
    ref = both.bench.running("t")
    with pytest.raises(errors.TaskRunning, match="PT085"):
        both.client.remove("t")
    both.bench.assert_registered(ref)
    both.end(ref)
    assert both.client.remove("t") is True
    assert not any(both.bench.index(state) for state in life.RESTING)
    both.bench.set_string("s")
    with pytest.raises(errors.WrongKeyType):
        both.client.remove("s")
    assert both.bench.is_string("s")


def test_remove_many_and_what_became_of_each(both):
    running = both.bench.running("t")
    ids = both.client.start_many(["f"] * 300)
    both.bench.set_string("s")
    asked = [*ids[:200], "t", "none", "s", *ids[200:], ids[0]]
    found = both.client.remove_many(asked)
    assert [one.id for one in found] == asked
    rest = {one.id: one for one in found if not one.done}
    assert sorted(rest) == ["none", "s", "t"]
    assert (rest["none"].state, rest["none"].refused) == (None, "")
    assert "is not a hash" in rest["s"].refused
    assert rest["t"].state is life.RUNNING
    assert rest["t"].refused == "'t' is running: stop it first, stop('t', wait=30), then remove it"
    both.bench.assert_registered(running)
    assert both.bench.queue() == []
    assert not any(both.bench.exists(task_id) for task_id in ids)
    assert both.client.remove_many([]) == []


@pytest.fixture
def again(both):
    """`nightly` has ended, and plain Redis pushed it again, behind another; `rests` has ended."""
    bench = both.bench
    for task_id in ("rests", "nightly"):
        both.end(bench.running(task_id), output="monday")
    bench.push("first")
    bench.push("nightly", data='{"day":"tuesday"}')
    return both


def test_an_ended_id_in_the_queue_again_is_one_task_that_waits(again):
    client = again.client
    task = client.get("nightly")
    assert (task.state, task.again, task.data) == (life.WAIT, True, {"day": "tuesday"})
    assert not client.get("first").again
    shown = [(task.id, task.state) for task in client.list()]
    assert shown == [("first", life.WAIT), ("nightly", life.WAIT), ("rests", life.ENDED)]
    assert [task.id for task in client.list(state=life.ENDED)] == ["rests"]
    found = client.count()
    assert (found[life.WAIT], found[life.ENDED], found.total, found.exact) == (2, 1, 3, True)

    # Pushed twice it is still one, and what runs does not wait.
    again.bench.lpush("nightly")
    assert [task.id for task in client.list(state=life.WAIT)] == ["first", "nightly"]
    again.bench.claim(again.bench.ref("first"), again.bench.ref("nightly"))
    again.bench.lpush("nightly")
    found = client.count()
    assert (found[life.WAIT], found[life.RUNNING], found.total) == (0, 2, 3)


def test_to_remove_what_has_ended_leaves_what_waits_again(again):
    client = again.client
    found = client.remove_many(["rests", "nightly", "first"], state=("ENDED", "ERROR", "STOPPED"))
    assert [(one.done, one.state) for one in found] == [(True, None), (False, life.WAIT), (False, life.WAIT)]
    assert again.bench.queue() == ["nightly", "first"]
    assert again.bench.hash("nightly")["data"] == '{"day":"tuesday"}'
    assert client.remove_many(["nightly"], state="WAIT")[0].done
    assert client.remove("first")
    assert again.bench.queue() == []


def test_stop_and_start_of_an_ended_id_that_waits_again(again):
    client, bench = again.client, again.bench
    assert client.start_again("nightly").done
    assert bench.queue() == ["nightly", "first"]  # once
    again.end(bench.claim(bench.ref("first"))[0])
    again.end(bench.claim(bench.ref("nightly"))[0])
    bench.push("nightly")
    bench.events()
    found = client.stop("nightly")
    assert (found.done, found.state) == (True, life.STOPPED)
    assert bench.queue() == []
    assert bench.hash("nightly")["state"] == life.STOPPED
    assert [name for i, name, _ in bench.events() if i == "nightly"] == ["stopped"]


def test_wait_is_for_the_run_that_waits(again):
    bench = again.bench
    with pytest.raises(errors.TimedOut, match="it is WAIT"):
        again.client.wait("nightly", timeout=0)
    _, claim = bench.claim(bench.ref("first"), bench.ref("nightly"))
    again.end(claim, output="tuesday")
    assert again.client.wait("nightly", timeout=SOON).output == "tuesday"


def test_in_a_long_queue_a_count_says_that_it_is_not_exact(real):
    real.bench.raw.lpush(real.bench.keys.queue, *range(2001))
    found = real.client.count()
    assert (found[life.WAIT], found.exact) == (2001, False)


def test_remove_a_parked_task(both):
    both.bench.push("t", function="unknown")
    assert both.bench.store.park("t", "unknown", b"{}") is Verdict.OK
    both.bench.push("other", function="unknown")
    assert both.bench.store.park("other", "unknown", b"{}") is Verdict.OK
    assert both.client.remove("t") is True
    assert both.bench.raw.smembers(both.bench.keys.parked) == {b"unknown"}  # something waits for it
    assert both.client.remove("other") is True
    assert both.bench.parking("unknown") == []
    assert not both.bench.raw.exists(both.bench.keys.parked)
    assert not both.bench.index(life.WAIT)


# -- looking ------------------------------------------------------------------------------------------------


def test_get_tells_all_there_is(both):
    task_id = both.client.start("f", {"a": 1})
    task = both.client.get(task_id)
    assert (task.id, task.state, task.function, task.data) == (task_id, life.WAIT, "f", {"a": 1})
    ref = both.bench.ref(task_id)
    both.bench.claim(ref)
    task = both.client.get(task_id)
    assert (task.state, task.worker, task.run, task.attempts) == (life.RUNNING, "w", ref.run, 1)
    assert task.session == "session"
    assert task.epoch > 1.7e12
    assert task.last_update > 1.7e9
    assert not task.finished
    both.end(ref, output={"x": [1]})
    task = both.client.get(task_id)
    assert (task.state, task.output, task.last_run, task.run) == (life.ENDED, {"x": [1]}, ref.run, "")
    assert task.finished


def test_get_bears_what_others_wrote(both):
    both.bench.write("t", function="f", state="ODD", epoch="inf", attempts="many", later="1", data="no json")
    task = both.client.get("t")
    assert (task.state, task.epoch, task.attempts, task.more) == (life.WAIT, 0, 0, {"later": "1"})
    with pytest.raises(ValueError, match="JSON"):
        _ = task.data
    both.bench.set_string("s")
    with pytest.raises(errors.NoSuchTask):
        both.client.get("s")


def test_an_error_is_its_first_line(both):
    ref = both.bench.running("t")
    change = Change(id="t", run=ref.run, event=b"", trigger=Trigger.FAIL, fields={"error": "it broke\ntrace"})
    both.bench.store.commit([change])
    task = both.client.get("t")
    assert (task.state, task.reason, task.error) == (life.ERROR, "it broke", "it broke\ntrace")


def populate(both):
    """Tasks in every state, by state."""
    bench = both.bench
    made = {State(name): [] for name in State}
    numbers = count()
    for state, trigger in (
        (life.ENDED, Trigger.END),
        (life.ERROR, Trigger.FAIL),
        (life.STOPPED, Trigger.STOP),
    ):
        for _ in range(7):
            ref = bench.running(f"{state.lower()}{next(numbers)}")
            both.end(ref, trigger)
            made[state].append(ref.id)
    for _ in range(5):
        ref = bench.running(f"put-back{next(numbers)}")
        both.end(ref, Trigger.RELEASE, "requeued")
        made[life.WAIT].append(ref.id)
        again = bench.ref(f"r{next(numbers)}")
        bench.push(again.id, function="g")
        assert bench.claim(again, functions=("g",))[0].won
        made[life.RUNNING].append(again.id)
    for _ in range(6):
        made[life.WAIT].append(f"pushed{next(numbers)}")
        bench.push(made[life.WAIT][-1])
    bench.push("parked", function="unknown")
    bench.store.park("parked", "unknown", b"{}")
    made[life.WAIT].append("parked")
    return made


def all_pages(client, limit, **filters):
    found, cursor, pages = [], None, 0
    while True:
        page = client.list(limit=limit, cursor=cursor, **filters)
        assert len(page) <= limit
        found += page
        pages += 1
        cursor = page.cursor
        if cursor is None:
            return found, pages


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_show_every_task_once(both, limit):
    made = populate(both)
    everything = sorted(task_id for ids in made.values() for task_id in ids)
    found, pages = all_pages(both.client, limit)
    assert sorted(task.id for task in found) == everything
    assert pages >= len(everything) / limit
    for state, ids in made.items():
        found, _ = all_pages(both.client, limit, state=state)
        assert sorted(task.id for task in found) == sorted(ids)
        assert {task.state for task in found} == {state}
        assert all(task.raw_data is None for task in found)
    two, _ = all_pages(both.client, limit, state=["ENDED", "ERROR"])
    assert sorted(task.id for task in two) == sorted(made[life.ENDED] + made[life.ERROR])


def test_the_last_that_came_to_rest_is_shown_first(both):
    for number in range(5):
        both.end(both.bench.running(f"t{number}"))
    page = both.client.list(state="ENDED", limit=5)
    assert [task.id for task in page] == ["t4", "t3", "t2", "t1", "t0"]


def test_ties_are_shown_once_each(both):
    for number in range(9):
        both.bench.write(f"t{number}", function="f", state="ENDED")
        both.bench.set_index(life.ENDED, f"t{number}", 1764000000.25)
    found, _ = all_pages(both.client, 2, state="ENDED")
    assert sorted(task.id for task in found) == [f"t{number}" for number in range(9)]
    page = both.client.list(state="ENDED", limit=4)
    both.bench.delete(page.tasks[0].id)
    both.bench.raw.zrem(both.bench.keys.index(life.ENDED), page.tasks[0].id)
    more = both.client.list(state="ENDED", limit=9, cursor=page.cursor)
    assert not {task.id for task in more} & {task.id for task in page}
    assert len(more) == 5


def test_a_list_that_workers_take_from_goes_on_where_it_was(both):
    ids = both.client.start_many(["f"] * 20)
    page = both.client.list(state="WAIT", limit=6)
    assert [task.id for task in page] == ids[:6]
    both.bench.claim(*(both.bench.ref(task_id) for task_id in ids[:4]))
    both.client.start("f")  # at the other end
    page = both.client.list(state="WAIT", limit=6, cursor=page.cursor)
    assert [task.id for task in page] == ids[6:12]
    both.bench.claim(*(both.bench.ref(task_id) for task_id in ids[4:14]))
    page = both.client.list(state="WAIT", limit=3, cursor=page.cursor)
    assert [task.id for task in page] == ids[14:17]


def test_filters(both):
    made = populate(both)
    found, _ = all_pages(both.client, 2, function="g")
    assert sorted(task.id for task in found) == sorted(made[life.RUNNING])
    found, _ = all_pages(both.client, 100, worker="w", state="RUNNING")
    assert sorted(task.id for task in found) == sorted(made[life.RUNNING])
    assert all_pages(both.client, 100, worker="session", state="RUNNING")[0]
    assert all_pages(both.client, 100, worker="other")[0] == []


def test_a_page_with_a_filter_reads_no_more_than_it_may(both):
    both.client.start_many(["f"] * 2500)
    page = both.client.list(function="rare", limit=10)
    assert (len(page), page.looked) == (0, 1000)
    assert page.cursor is not None
    assert all_pages(both.client, 10, function="rare")[0] == []


def test_a_page_skips_what_is_gone(both):
    ids = both.client.start_many(["f"] * 4)
    both.bench.delete(ids[1])
    both.bench.set_string(ids[2])
    both.bench.lpush(b"\xff\xfe")
    found, _ = all_pages(both.client, 2)
    assert [task.id for task in found] == [ids[0], ids[3]]


@pytest.mark.parametrize("cursor", ["", "x", "e30", "WyJYIiwwLG51bGxd", "é", 5])
def test_a_strange_cursor_is_refused(real, cursor):
    with pytest.raises(errors.BadCursor, match="PT087"):
        real.client.list(cursor=cursor)


def test_a_cursor_belongs_to_its_states(real):
    real.client.start_many(["f"] * 3)
    cursor = real.client.list(limit=1).cursor
    with pytest.raises(errors.BadCursor):
        real.client.list(limit=1, state="WAIT", cursor=cursor)


def test_wrong_filters_are_refused(real):
    with pytest.raises(errors.BadData, match="BUSY"):
        real.client.list(state="BUSY")
    for limit in (0, -1, 10_001, 1.5, True):
        with pytest.raises(errors.ConfigError):
            real.client.list(limit=limit)


def test_count(both):
    assert both.client.count().total == 0
    made = populate(both)
    counted = both.client.count()
    assert dict(counted.states) == {state: len(ids) for state, ids in made.items()}
    assert (counted["WAIT"], counted.queued, dict(counted.parked)) == (12, 11, {"unknown": 1})
    assert counted.total == sum(map(len, made.values()))
    assert counted.rejected == 0


def test_workers_and_functions(both):
    store = both.bench.store
    info = WorkerInfo(
        session="s1", name="larch", host="h", pid=7, running=2, functions=("f", "g"), max_tasks=9
    )
    store.announce(info)
    store.announce(attrs.evolve(info, session="s2", name="yew", functions=("f",)))
    raw, keys = both.bench.raw, both.bench.keys
    raw.hset(keys.worker_info, "s2", '{"name": "yew", "functions": ["f"], "loop_lag": 0.5, "pid": "x"}')
    raw.zadd(keys.workers, {"s3": 1000.0})
    raw.hset(keys.worker_info, "s3", "not json")
    raw.zadd(keys.workers, {"s4": 999.0})
    found = {worker.session: worker for worker in both.client.workers()}
    first, second = found["s1"], found["s2"]
    assert (first.name, first.host, first.pid, first.running, first.max_tasks) == ("larch", "h", 7, 2, 9)
    assert first.alive
    assert first.functions == ("f", "g")
    assert (second.name, second.pid, second.more) == ("yew", 0, {"loop_lag": 0.5})
    assert not found["s3"].alive
    assert found["s4"].name == ""
    both.bench.push("p", function="unknown")
    store.park("p", "unknown", b"{}")
    told = {one.name: (one.workers, one.parked) for one in both.client.functions()}
    assert told == {"f": (2, 0), "g": (1, 0), "unknown": (0, 1)}


def test_find_by_the_beginning(both):
    both.client.start_many([("f", None, task_id) for task_id in ("abc", "abd", "b*", "b?x")])
    both.bench.set_string("abe")
    assert both.client.find("ab") == (["abc", "abd"], True)
    assert both.client.find("b*") == (["b*"], True)
    assert both.client.find("zz") == ([], True)
    assert both.client.find("pytask") == ([], True)


# -- following ----------------------------------------------------------------------------------------------


def test_watch_one_task_from_the_call_on(both):
    task_id = both.client.start("f")
    events = both.client.watch(task_id)
    ref = both.bench.ref(task_id)
    both.bench.claim(ref)
    both.client.start("f")
    both.end(ref, output=1)
    both.bench.publish(f"task-{task_id}", "no json")
    both.bench.publish(f"task-{task_id}", '{"event":"own","data":{"x":1}}')
    first, second, third = next(events), next(events), next(events)
    assert (first.id, first.name, first.data["run"]) == (task_id, "running", ref.run)
    assert second == Event(id=task_id, name="ended", data={"output": 1})
    assert third == Event(id=task_id, name="own", data={"x": 1})
    events.close()


def test_watch_all(both):
    events = both.client.watch()
    refs = [both.bench.running(f"t{n}") for n in range(3)]
    both.client.stop("t0")  # its word for the workers is no event
    both.end(refs[1])
    found = [next(events) for _ in range(4)]
    assert [(one.id, one.name) for one in found] == [
        ("t0", "running"), ("t1", "running"), ("t2", "running"), ("t1", "ended"),
    ]  # fmt: skip
    events.close()


def test_wait_for_the_end(both):
    ref = both.bench.running("t")
    acting = Beside(both.end, ref, output=3, after=0.05)
    task = both.client.wait("t", timeout=SOON)
    assert (task.state, task.output) == (life.ENDED, 3)
    acting.over()
    assert both.client.wait("t", timeout=SOON).state is life.ENDED
    assert both.client.wait("t", ["ERROR", "ENDED"], timeout=SOON).state is life.ENDED


def test_wait_for_a_state_that_passes_by(both):
    """Two moves between two reads of the hash: the events tell."""
    task_id = both.client.start("f")

    def worker():
        heeded(both, task_id)
        ref = both.bench.ref(task_id)
        both.bench.claim(ref)
        both.end(ref)

    acting = Beside(worker)
    assert both.client.wait(task_id, "RUNNING", timeout=SOON).state is life.RUNNING
    acting.over()


def test_wait_for_a_task_whose_hash_goes_with_its_end(real):
    ref = real.bench.running("t")
    event = b'{"event":"ended","data":{"output":7}}'
    change = Change(id="t", run=ref.run, event=event, trigger=Trigger.END, keep=0)
    before = given(real.bench.raw, "hgetall")

    def worker():
        # One where the call begins, and one where it begins to wait.
        while given(real.bench.raw, "hgetall") < before + 2:
            time.sleep(0.005)
        real.bench.store.commit([change])

    acting = Beside(worker)
    task = real.client.wait("t", timeout=SOON)
    assert (task.state, task.output) == (life.ENDED, 7)
    acting.over()
    assert not real.bench.exists("t")


def test_wait_times_out_and_says_where_the_task_is(both):
    task_id = both.client.start("f")
    with pytest.raises(errors.TimedOut, match="it is WAIT"):
        both.client.wait(task_id, timeout=0.05)
    with pytest.raises(errors.BadData, match="no such state"):
        both.client.wait(task_id, "DONE")


# -- places -------------------------------------------------------------------------------------------------


def test_each_task_lives_in_its_partition(real):
    client = real.connect(namespace="app:", partitions=4)
    raw = real.bench.raw
    ids = [*client.start_many([("f", {"n": n}) for n in range(40)]), client.start("f")]
    for task_id in ids:
        space = f"app:{{{partition_of(task_id, 4)}}}:"
        assert raw.hget(space + task_id, "function") == b"f"
        assert raw.lpos(f"{space}new-task", task_id) is not None
    assert client.count().queued == 41
    assert sorted(task.id for task in all_pages(client, 7)[0]) == sorted(ids)
    events = client.watch()
    assert all(one.done for one in client.stop_many(ids))
    assert {next(events).id for _ in ids} == set(ids)
    assert client.count()["STOPPED"] == 41
    assert client.find(ids[0][:12]) == ([ids[0]], True)
    events.close()


def test_wrong_partitions_are_refused(real):
    for partitions in (0, -1, True, 1.0, "2"):
        with pytest.raises(errors.ConfigError):
            real.connect(partitions=partitions)


def test_a_server_that_forgot_its_scripts_is_told_again(real):
    real.client.start("f")
    real.bench.raw.script_flush()
    real.client.start("f")
    real.bench.raw.script_flush()
    real.client.stop(real.client.start("f"))
    assert real.client.count().total == 3


def test_an_asyncio_client_refuses_a_blocking_one(servers):
    with pytest.raises(errors.UnsupportedClient, match=r"redis\.asyncio"):
        pytask.aio.Client(redis.Redis())


def test_a_wrong_url_is_refused_without_its_password(real):
    with pytest.raises(errors.ConfigError) as caught:
        real.connect("http://:s3cret@127.0.0.1")
    assert "s3cret" not in str(caught.value)
