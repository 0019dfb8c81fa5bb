"""pytask inside another program, and the effects of tasks on that process."""

import contextvars
import json
import logging
import re
import signal
from pathlib import Path

import attrs
import gevent
import pytest
import redis

from pytask import PyTask, Task, Timing, errors, run_loop
from tests.integration.conftest import HOST, PATIENCE, stop_politely, wait_until

pytestmark = pytest.mark.slow

REAL = Timing()
# A tenth of 25 s to leave in would be the only time here that a busy machine may miss.
FAST = attrs.evolve(REAL.scaled(0.1), shutdown=PATIENCE)
request_id = contextvars.ContextVar("request_id", default="none")


def task(name, start, **members):
    """A task class with that start()."""
    config = type("Config", (), {"NAME": name, **members.pop("config", {})})
    return type(name.title(), (Task,), {"Config": config, "start": start, **members})


def long(self):
    gevent.sleep(1e9)


def app_with(lab, *classes, timing=FAST, **settings):
    app = PyTask(lab.server.url, timing=timing, **settings)
    app.add_task(*classes)
    return app


def test_two_apps_in_one_process_share_nothing(lab):
    one = app_with(lab, task("a", lambda self: "one"), task("only-one", long), namespace="one:", name="one")
    two = app_with(lab, task("a", lambda self: "two"), task("only-two", long), namespace="two:", name="two")
    with one:
        with two:
            for space, long_name in (("one:", "only-one"), ("two:", "only-two")):
                lab.redis.hset(f"{space}x", mapping={"function": "a"})
                lab.redis.hset(f"{space}y", mapping={"function": long_name})
                lab.redis.lpush(f"{space}new-task", "x", "y")
            for space in ("one:", "two:"):
                wait_until(lambda s=space: lab.redis.hget(f"{s}x", "state") == "ENDED")
                wait_until(lambda s=space: lab.redis.hget(f"{s}y", "state") == "RUNNING")
            assert lab.redis.hget("one:x", "output") == '"one"'
            assert lab.redis.hget("two:x", "output") == '"two"'
        # One has left; the other goes on.
        assert lab.redis.hget("two:y", "state") == "WAIT"
        seen = lab.redis.hget("one:y", "last_update")
        wait_until(lambda: lab.redis.hget("one:y", "last_update") != seen)
    assert lab.redis.hget("one:y", "state") == "WAIT"
    # The server sees closed connections a moment later.
    wait_until(lambda: not [c for c in lab.redis.client_list() if c["name"].startswith("pytask-")])


def test_start_and_stop_again(lab):
    app = app_with(lab, task("long", long))
    lab.push("long", "t")
    for _ in range(2):
        app.start()
        with pytest.raises(errors.ConfigError, match="already running"):
            app.start()
        lab.wait_state("t", "RUNNING")
        assert app.stop() is True
        assert app.stop() is True
        assert lab.state("t") == "WAIT"
    assert int(lab.field("t", "attempts")) == 2
    assert lab.redis.lrange("new-task", 0, -1) == ["t"]
    app.pre_start_task("unknown")
    with pytest.raises(errors.UnknownTask, match="unknown"):
        app.start()


def test_a_hard_deadline_is_a_timer_of_its_own(lab):
    """SIGKILL on CLOCK_BOOTTIME (7), which counts while the machine is suspended; SIGALRM is free."""
    timers = Path("/proc/self/timers")
    if not timers.exists():
        pytest.skip("only Linux with CONFIG_CHECKPOINT_RESTORE lists the timers of a process")

    def armed():
        return re.findall(r"signal: 9/.*\nnotify: .*\nClockID: 7\n", timers.read_text())

    before = len(armed())
    with app_with(lab, task("long", long)):  # off by default when embedded
        lab.push("long", "t")
        lab.wait_state("t", "RUNNING")
        assert len(armed()) == before
    # At real times, as the timer would end this very process.
    with app_with(lab, task("long", long), hard_deadline=True, timing=REAL):
        lab.wait_state("t", "RUNNING")
        assert armed()
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_what_a_run_took_from_its_client_lasts_until_it_ends(lab):
    def use(self):
        assert self.redis is self.redis
        subscription = self.redis.pubsub()  # nobody closes it
        subscription.subscribe(f"mine-{self.id}")
        gevent.sleep((self.task_data or {}).get("for", 1e9))

    def theirs():
        return set(lab.redis.pubsub_channels("mine-*"))

    with app_with(lab, task("use", use), timing=REAL):
        for name, data in (("a", {}), ("b", {}), ("c", {"for": 0.3})):
            lab.push("use", name, **data)
        wait_until(lambda: {"mine-a", "mine-b"} <= theirs())
        lab.wait_state("c", "ENDED")
        wait_until(lambda: theirs() == {"mine-a", "mine-b"})
        wait_until(lab.listeners)
        lab.control("a", "stop")
        lab.wait_state("a", "STOPPED")
        wait_until(lambda: theirs() == {"mine-b"})
    wait_until(lambda: theirs() == set())


def test_spawn_copies_the_context_and_names_the_greenlet(lab):
    def start(self):
        request_id.set(f"request of {self.id}")
        child = self.spawn(lambda: (request_id.get(), request_id.set("changed"), gevent.getcurrent().name))
        seen, _, name = child.get()
        return [seen, request_id.get(), name]

    with app_with(lab, task("context", start)):
        lab.push("context", "t")
        lab.wait_state("t", "ENDED")
    seen, own, name = json.loads(lab.field("t", "output"))
    assert seen == own == "request of t"
    assert "t" in name
    assert request_id.get() == "none"


@attrs.define
class Where:
    url: str
    tries: int = 3


def test_how_runs_come_out(lab):
    def loop_fails(self):
        rounds = []

        def one():
            rounds.append(1)
            if len(rounds) == 3:
                raise LookupError("the third round")

        self.spawn(run_loop, one, 0.01)

    def fails_beside_a_child(self):
        self.spawn(long, self)
        raise LookupError("while a child lives")

    def fails(self):
        raise LookupError("no such thing")

    classes = [
        task("not-json", lambda self: {self}),
        task("loop-fails", loop_fails),
        task("fails", fails),
        task("fails-beside-a-child", fails_beside_a_child),
        task("where", lambda self: [self.task_data.url, self.task_data.tries], config={"DATA": Where}),
        task("epoch", lambda self: self.epoch),
        task("emit-bad", lambda self: self.emit("x", object())),
    ]
    with app_with(lab, *classes):
        expected = {
            "not-json": "not JSON",
            "loop-fails": "LookupError: the third round",
            "fails": "LookupError: no such thing",
            "fails-beside-a-child": "LookupError: while a child lives",
            "emit-bad": "not JSON",
        }
        for name in expected:
            lab.push(name, name)
        lab.push("where", "good", url="u")
        lab.push("where", "wrong", url=5)
        lab.push("where", "missing")
        lab.push("epoch", "epoch")
        lab.wait_state([*expected, "wrong", "missing"], "ERROR")
        lab.wait_state(["good", "epoch"], "ENDED")
    for name, text in expected.items():
        assert text in lab.field(name, "error")
    assert "Traceback" in lab.field("fails", "error")
    assert __file__ in lab.field("fails", "error")
    assert lab.field("good", "output") == '["u",3]'
    assert "url" in lab.field("wrong", "error")
    assert "url" in lab.field("missing", "error")
    assert lab.field("epoch", "output") == lab.field("epoch", "epoch")
    assert lab.events.wait("fails", "error")["data"] == {"error": "LookupError: no such thing"}


def test_an_exception_that_is_meant_for_the_process_is_an_error_of_the_task(lab):
    worker = lab.worker()
    (witness,) = lab.started(1)
    ways = ("exit", "interrupt", "timeout", "child-exit", "grandchild-exit", "killed")
    ids = {way: lab.push("leaver", how=way) for way in ways}
    thread = lab.push("leaver", how="thread-exit")
    for way, task_id in ids.items():
        if way != "grandchild-exit":
            lab.wait_state(task_id, "ERROR")
            assert lab.events.wait(task_id, "error")["data"]["error"], way
    for task_id in (thread, ids["grandchild-exit"]):
        wait_until(lambda t=task_id: lab.state(t) in ("ENDED", "ERROR"))
    shot = lab.push("shot")
    lab.wait_state(shot, "ENDED")
    assert worker.code is None
    assert lab.evidence.runs(witness) == [lab.run(witness)]
    assert "Timeout" in lab.field(ids["timeout"], "error")
    assert stop_politely(worker) == 0


def test_nothing_that_a_task_does_ends_the_worker_or_keeps_runs_from_being_settled(lab):
    from tests.integration.programs.worker_program import WAYS

    worker = lab.worker()
    (witness,) = lab.started(1)
    for way in WAYS:
        if way == "all":
            assert lab.evidence.runs(witness) == [lab.run(witness)]
        lab.push("leaver", way, how=way)
        wait_until(lambda way=way: lab.state(way) in ("ENDED", "ERROR"), why=way)
        failed = lab.push("fail")
        lab.wait_state(failed, "ERROR")  # with a line of the log beside it
        assert worker.code is None, way
    # All greenlets of tasks were killed, and none of the worker's own.
    lab.wait_state(witness, "ERROR")
    (last,) = lab.started(1)
    lab.control(last, "reload")
    lab.events.wait(last, "reloaded")
    assert stop_politely(worker) == 0
    assert lab.state(last) == "WAIT"


def test_what_unwinds_the_worker_hands_its_tasks_back_first(lab):
    worker = lab.worker("--shutdown", PATIENCE)
    (witness,) = lab.started(1)
    lab.push("leaver", how="main-error")
    assert worker.wait() == 1
    assert lab.state(witness) == "WAIT"
    assert "LookupError: no reason to stay" in worker.log


def test_all_that_a_task_spawned_ends_with_it_and_logs_name_it(lab):
    worker = lab.worker()
    kinds = {"spawn", "gevent", "later", "pool", "thread", "grandchild"}
    task_id = lab.push("family")
    (other,) = lab.started(1)
    wait_until(lambda: {act.kind for act in lab.evidence.acts(task_id)} == kinds)
    assert lab.state(task_id) == "RUNNING"  # though start() returned
    lab.control(task_id, "stop")
    lab.wait_state(task_id, "STOPPED")
    wait_until(lambda: f"[{worker.name} {task_id}] family: a line of the task" in worker.log)
    lines = len(lab.evidence.acts(task_id))
    seen = lab.evidence.last(other).at
    wait_until(lambda: lab.evidence.last(other).at > seen + 3e8)
    assert len(lab.evidence.acts(task_id)) == lines
    # The same by SIGTERM.
    again = lab.push("family")
    wait_until(lambda: {act.kind for act in lab.evidence.acts(again)} == kinds)
    assert stop_politely(worker) == 0
    assert lab.state(again) == "WAIT"


def test_a_task_that_holds_the_loop_is_named_with_file_and_line(lab, caplog):
    caplog.set_level(logging.WARNING, "pytask")

    def hold(self):
        import time as clock

        until = clock.thread_time() + 0.6  # of work, whatever else the machine does
        while clock.thread_time() < until:
            pass

    def reported():
        return [one for one in caplog.records if "task holder (hold) blocked the event loop" in one.message]

    with app_with(lab, task("hold", hold), block_limit=0.2, timing=REAL):
        lab.push("hold", "holder")
        lab.wait_state("holder", "ENDED")
        record = wait_until(reported)[0]
    assert f"{__file__}:" in record.message
    line = int(record.message.partition(f"{__file__}:")[2].partition(":")[0].split()[0].rstrip(","))
    assert hold.__code__.co_firstlineno < line <= hold.__code__.co_firstlineno + 5


def test_an_app_that_meets_a_redis_that_is_away_waits_for_it(server, caplog):
    from tests.support.servers import free_port, start_server

    port = free_port()
    app = PyTask(f"redis://{HOST}:{port}", timing=FAST)
    app.add_task(task("t", lambda self: 1))
    with app:
        assert "waits for Redis" in caplog.text
        assert "takes tasks from" not in caplog.text
        with start_server("valkey", port=port), redis.Redis(HOST, port, decode_responses=True) as client:
            client.hset("a", mapping={"function": "t"})
            client.lpush("new-task", "a")
            wait_until(lambda: client.hget("a", "state") == "ENDED")
            app.stop()
