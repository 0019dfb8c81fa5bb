"""Mistakes that show while things run: each is made for real, told under its code, and mended as printed.

Those of data, classes and addresses are in test_mistakes, those of a deployment in test_doctor.
"""

import re
from contextlib import contextmanager
from datetime import datetime

import pytest
import redis

from pytask.cli.messages import explanations
from tests.support.cli_tools import Started, done, pytask, until, write
from tests.support.servers import start_server

pytestmark = pytest.mark.slow

TASKS = """
    import time
    import gevent
    from pytask import Task

    class Sleeper(Task):
        class Config:
            NAME = "sleeper"
        def start(self):
            gevent.sleep(1000)

    class Thumb(Task):
        class Config:
            NAME = "thumb"
        def start(self):
            return "done"

    class Hog(Task):
        class Config:
            NAME = "hog"
        def start(self):
            total, until = 0, time.monotonic() + self.task_data["seconds"]
            while time.monotonic() < until:
                total += sum(range(200_000))
            return "done"

    class Mule(Task):
        class Config:
            NAME = "mule"
        def start(self):
            self.asked = False
            while not self.asked:
                gevent.sleep(0.01)
        def stop(self):
            self.asked = True
            gevent.sleep(1000)
"""


@pytest.fixture(scope="module")
def store():
    with start_server("valkey", appendonly=True) as server:
        yield server


@pytest.fixture
def client(store):
    with redis.Redis.from_url(store.url, decode_responses=True) as made:
        made.flushall()
        yield made


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    return tmp_path


@contextmanager
def daemon(store, client, folder, *flags, target="tasks.py", **env):
    """A worker that listens."""
    command = pytask("run", target, "--redis", store.url, *flags)
    with Started(command, folder, folder, **env) as started:
        until(lambda: client.pubsub_numsub("pytask:hint")[0][1], lambda: started.output)
        yield started


def push(client, task_id, function, data="{}"):
    client.hset(task_id, mapping={"function": function, "data": data})
    client.lpush("new-task", task_id)


def state(client, task_id, wanted):
    until(lambda: client.hget(task_id, "state") == wanted, lambda: client.hgetall(task_id))


def tell(client, task_id, word):
    """Publish until a subscriber receives it: a worker may be resubscribing at this moment."""
    until(lambda: client.publish(f"task-{task_id}-control", word), f"somebody hears {word!r}")


def explained(code):
    return explanations()[code]


# -- Redis comes and goes ----------------------------------------------------------------------------------


def loading(server):
    """Restart it, so that it reads its data for as long as nobody says `key-load-delay 0`."""
    with redis.Redis.from_url(server.url) as client:
        with client.pipeline(transaction=False) as pipe:
            for number in range(3000):
                pipe.set(f"filler-{number}", "".join(chr(33 + (number * k) % 90) for k in range(1, 400)))
            pipe.execute()
        client.save()
    server.stop()
    server._command += ["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"]
    server.wait_ready = lambda: None  # it is not to be, for as long as the test takes
    server.start()


def test_a_redis_that_still_loads_its_data(folder):
    with start_server("valkey") as server, redis.Redis.from_url(server.url, socket_timeout=10) as client:
        push(client, "early", "thumb")
        loading(server)

        def listed():
            shown = done(pytask("ls", "-o", "id", "--redis", server.url), PYTASK_TIMEOUT="8")
            return shown if "LOADING" in shown.stderr else None

        try:
            shown = until(listed, "it loads")
            assert (shown.returncode, shown.stdout) == (69, "")
            assert "[PT051]" in shown.stderr
            (fix,) = re.findall(r"wait until `redis-cli (INFO \w+)` says (loading:0)", shown.stderr)
            assert f"`redis-cli {fix[0]}` says {fix[1]}" in explained("PT051")
            with Started(pytask("run", "tasks.py", "--redis", server.url), folder, folder) as worker:
                worker.says("LOADING")
                assert client.info("persistence")["loading"] == 1
                client.config_set("key-load-delay", "0")
                until(lambda: info(client, fix[0])["loading"] == 0, "it has loaded")
                assert done(pytask("ls", "--redis", server.url), PYTASK_TIMEOUT="8").returncode == 0
                until(lambda: client.hget("early", "state") == b"ENDED", lambda: worker.output)
        finally:
            server.kill()


def info(client, words):
    return client.info(words.split()[1])


def test_the_countdown_while_redis_is_lost(store, client, folder):
    def countdown():
        """The lines of the countdown since the server was killed."""
        lines = worker.output[seen:].partition("answers again")[0].splitlines()
        return [line for line in lines if "tasks stop in" in line]

    def counts():
        return [int(re.search(r"tasks stop in (\d+) s", line)[1]) for line in countdown()]

    with daemon(store, client, folder, "--time-scale", "0.2") as worker:
        push(client, "t", "sleeper")
        state(client, "t", "RUNNING")
        run = client.hget("t", "run")
        seen = len(worker.output)
        store.kill()
        until(lambda: len(set(counts())) > 1, lambda: worker.output)
        assert "[PT051]" in countdown()[0]
        assert "Fix: start the server" in explained("PT051")
        store.restart()
        until(lambda: "answers again" in worker.output[seen:], lambda: worker.output)
        assert counts() == sorted(counts(), reverse=True)
        assert max(counts()) <= 12
        until(lambda: client.pubsub_numsub("pytask:hint")[0][1], lambda: worker.output)
        until(lambda: client.hmget("t", "state", "run") == ["RUNNING", run], lambda: client.hgetall("t"))

        # Nobody starts it: the count goes on to nought, and the tasks stop there.
        seen = len(worker.output)
        store.kill()
        worker.says("lost for more than 12 s: stopping all tasks of this worker")
        stopped = next(line for line in worker.output.splitlines() if "lost for more" in line)
        assert re.search(r"\[PT051\] Redis 127.0.0.1:\d+/0 \(from --redis\) lost for more", stopped)
        assert counts() == sorted(counts(), reverse=True)
        # It counts each second; where it told nothing for longer, the machine stood still.
        assert counts()[-1] <= max(1, at(stopped) - at(countdown()[-1]) + 0.5)
        store.restart()
        until(lambda: client.hget("t", "run") not in (None, run), lambda: worker.output)
        state(client, "t", "RUNNING")


def at(line):
    """The time of a line of the log."""
    return datetime.strptime(line[:24], "%Y-%m-%d %H:%M:%S.%f%z").timestamp()


# -- tasks that do not behave ------------------------------------------------------------------------------

FIXES = {
    "yield": lambda log, line: f"{re.search(r'call (gevent.sleep[(]0[)]) in between', log)[1]}; {line}",
    "thread": lambda log, line: line.replace(
        "sum(range(200_000))",
        re.search(r"move the work to a native thread: (self.blocking[(]f, [*]args[)])", log)[1].replace(
            "f, *args", "sum, range(200_000)"
        ),
    ),
}


def test_a_task_that_holds_the_loop_and_both_ways_out(store, client, folder):
    source = folder / "tasks.py"
    lines = source.read_text().splitlines()
    with daemon(store, client, folder, PYTASK_BLOCK_LIMIT="0.6") as worker:
        push(client, "greedy", "hog", '{"seconds": 5}')
        worker.says("[PT041] task greedy (hog) blocked the event loop for more than 0.6 s at ")
        log = next(line for line in worker.output.splitlines() if "[PT041] task greedy" in line)
        state(client, "greedy", "ENDED")
    number = int(re.search(rf"{re.escape(str(source))}:(\d+): ", log)[1])
    # Of the loop either line may be the one that runs at that moment; its body is what gets the fix.
    number = next(at for at in (number, number + 1) if "sum(range(200_000))" in lines[at - 1])
    assert re.search(r"call gevent.sleep\(0\).*self.blocking\(f, \*args\)", explained("PT041"))
    for name, fix in FIXES.items():
        indent = re.match(" *", lines[number - 1])[0]
        mended = [*lines[: number - 1], indent + fix(log, lines[number - 1].strip()), *lines[number:]]
        source.write_text("\n".join(mended))
        with daemon(store, client, folder, PYTASK_BLOCK_LIMIT="0.6") as worker:
            push(client, name, "hog", '{"seconds": 1000}')
            state(client, name, "RUNNING")
            push(client, f"beside-{name}", "thumb")
            state(client, f"beside-{name}", "ENDED")
            assert client.hget(name, "state") == "RUNNING"  # the other did not have to wait for it
            tell(client, name, "stop")
            state(client, name, "STOPPED")
            assert f"task {name} (hog) blocked the event loop" not in worker.output, mended[number - 1]


def test_a_stop_that_hangs_and_one_that_only_asks(store, client, folder):
    source = folder / "tasks.py"
    with daemon(store, client, folder, "--time-scale", "0.2") as worker:
        push(client, "mule", "mule")
        state(client, "mule", "RUNNING")
        tell(client, "mule", "stop")
        worker.says("[PT042] task mule: stop() did not return within 1.0 s; killing its greenlets")
        state(client, "mule", "STOPPED")
    assert "let stop() only request the end and return" in explained("PT042")
    asked = "        self.asked = True\n"
    assert asked in source.read_text()
    source.write_text(source.read_text().replace(f"{asked}        gevent.sleep(1000)\n", asked))
    with daemon(store, client, folder) as worker:
        push(client, "mule", "mule")
        state(client, "mule", "RUNNING")
        tell(client, "mule", "stop")
        state(client, "mule", "STOPPED")
        assert "PT042" not in worker.output


# -- the target --------------------------------------------------------------------------------------------

APP = "\n    from pytask import PyTask\n    my_app = PyTask()\n    my_app.add_task(Thumb)\n"
TWO = f"{APP}    other = PyTask()\n    other.add_task(Sleeper)\n"
SINGLE = r"did you mean '(.+?)'\?"
TARGETS = {
    "file": ("", "taks.py", SINGLE, "{0}"),
    "app": (APP, "tasks:my_ap", SINGLE, "tasks:{0}"),
    "class": ("", "tasks:Thumb", r"omit `(:Thumb)` to run", "tasks"),
    "two apps": (TWO, "tasks.py", r"choose (tasks.py:\w+) or tasks.py:other", "{0}"),
}


@pytest.mark.parametrize("which", TARGETS)
def test_a_wrong_target_and_the_one_that_is_proposed(store, client, folder, which):
    more, wrong, pattern, right = TARGETS[which]
    write(folder / "tasks.py", TASKS + more)
    shown = done(pytask("run", wrong, "--redis", store.url), folder)
    assert shown.returncode == 2, shown.stderr
    assert "[PT023]" in shown.stderr
    target = right.format(re.search(pattern, shown.stderr)[1])
    push(client, "t", "thumb")
    with daemon(store, client, folder, target=target):
        state(client, "t", "ENDED")
