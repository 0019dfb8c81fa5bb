"""What a service manager, a probe and a person with `kill` get: real processes, real sockets."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from pytask.cli.main import main
from tests.support.cli_tools import Started, done, pytask, until, write
from tests.support.servers import free_port, start_server

TASKS = """
    import socket
    import time
    from pathlib import Path
    import gevent
    from pytask import Task

    class Sleeper(Task):
        class Config:
            NAME = "sleeper"
        def start(self):
            self.spawn(gevent.sleep, 1000)
            while True:
                gevent.sleep(0.05)

    class Hog(Task):
        class Config:
            NAME = "hog"
        def start(self):
            enough = Path(self.task_data["enough"])
            until = time.monotonic() + 2
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.connect(self.task_data["manager"])
                manager.send(b"HOG=holds")
                while time.monotonic() < until or not enough.exists():
                    pass
                manager.send(b"HOG=lets go")
"""


@pytest.fixture
def place():
    """A folder with a short name: the path of a unix socket is limited."""
    folder = Path(tempfile.mkdtemp(prefix="pt"))
    yield folder
    shutil.rmtree(folder)


class Manager:
    """What systemd is to a service: a datagram socket that hears the words."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.words = []  # (seconds, word)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(0.2)
        self._ended = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self):
        while not self._ended:
            with contextlib.suppress(TimeoutError):
                text = self._socket.recv(65536).decode()
                self.words += [(time.monotonic(), word) for word in text.split("\n")]

    def received(self, start, since=0.0):
        return [word for at, word in list(self.words) if at >= since and word.startswith(start)]

    def says(self, start, since=0.0):
        return until(lambda: self.received(start, since), lambda: f"{start!r} in {self.words}")

    def environment(self, watchdog=1.5):
        return {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": str(int(watchdog * 1e6))}

    def close(self):
        self._ended = True
        self._thread.join()
        self._socket.close()


@pytest.fixture
def manager(place):
    made = Manager(place)
    yield made
    made.close()


@pytest.fixture
def daemon(store, client, manager, place):
    write(place / "tasks.py", TASKS)
    command = pytask("run", "tasks.py", "--redis", store.url, "--time-scale", "0.2", "--name", "w")
    with Started(command, place, place, PYTASK_RUN_DIR=str(place), **manager.environment()) as started:
        manager.says("READY=1")
        yield started


def health(place, *words):
    """In this process, which is quicker; the first test starts the command itself."""
    options = ["-o", "json", "--run-dir", str(place), "--timeout", "20"]
    shown = CliRunner().invoke(main, ["health", *options, *words])
    items = json.loads(shown.stdout)["items"] if shown.stdout else []
    return shown.exit_code, items, shown.stderr


def not_live(place):
    found = health(place, "--live", "--timeout", "1")
    return found if found[0] == 3 else None


def push(client, function, *ids, data="{}"):
    for task_id in ids:
        client.hset(task_id, mapping={"function": function, "data": data})
        client.lpush("new-task", task_id)


def running(client, *ids):
    until(
        lambda: all(client.hget(i, "state") == "RUNNING" for i in ids),
        lambda: {i: client.hgetall(i) for i in ids},
    )


def test_ready_alive_and_stopping_are_reported_and_health_answers(daemon, manager, place):
    code, (item,), _ = health(place)
    assert (code, item["pid"], item["name"]) == (0, daemon.process.pid, "w")
    assert (item["live"], item["ready"], item["why"]) == (True, True, [])
    shown = done(pytask("health", "--live", "--run-dir", place, "--timeout", "20"))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[1].split()[:4] == [str(daemon.process.pid), "w", "yes", "yes"]
    until(lambda: len(manager.received("WATCHDOG=1")) >= 3, lambda: manager.words)
    assert manager.received("STATUS=")[-1].endswith(" running")
    assert daemon.end() == 0
    assert manager.says("STOPPING=1")
    assert manager.received("READY=1") == ["READY=1"]
    code, items, text = health(place)
    assert (code, items) == (3, [])
    assert "[PT083] no worker of this user runs here" in text


def test_a_task_that_holds_the_loop_is_seen_and_named_by_a_signal(daemon, client, manager, place):
    push(client, "sleeper", "still")
    running(client, "still")
    push(client, "hog", "greedy", data=json.dumps({"manager": manager.path, "enough": str(place / "enough")}))
    manager.says("HOG=holds")
    _, (item,), _ = until(lambda: not_live(place), "it does not answer")
    assert item["live"] is False
    os.kill(daemon.process.pid, signal.SIGUSR1)
    daemon.says("--- end of greenlets")
    assert "1 x task sleeper: still" in daemon.output
    assert "1 x task hog: greedy" in daemon.output
    stack = daemon.output.split("hog: greedy\n")[1].split(" x ")[0]
    assert re.search(r"tasks\.py:\d+ in start\n", stack)
    (place / "enough").touch()
    manager.says("HOG=lets go")
    # One socket has one order for all who send to it; two seconds are time for three pings.
    words = [word for _, word in manager.words]
    assert "WATCHDOG=1" not in words[words.index("HOG=holds") : words.index("HOG=lets go")]
    until(lambda: client.hget("greedy", "state") == "ENDED", "the hog ends")
    assert health(place, "--live")[0] == 0


def test_quiet_takes_no_more_and_goes_on_with_what_runs(daemon, client, place):
    push(client, "sleeper", "one")
    running(client, "one")
    until(lambda: health(place)[1][0]["running"] == 2, "the task and the monitor run")
    run = client.hget("one", "run")
    os.kill(daemon.process.pid, signal.SIGTSTP)
    daemon.says("takes no more tasks until SIGCONT")
    code, (item,), _ = health(place)
    assert (code, item["live"], item["ready"], item["running"]) == (3, True, False, 2)
    assert "SIGTSTP" in item["why"][0]
    push(client, "sleeper", "two")
    time.sleep(2.5)  # longer than a blocking wait for the queue
    assert client.hget("two", "state") is None
    os.kill(daemon.process.pid, signal.SIGCONT)
    running(client, "one", "two")
    assert client.hget("one", "run") == run
    assert health(place)[0] == 0


def test_hangup_starts_again_in_place_with_new_code(daemon, client, manager, place):
    push(client, "sleeper", "one")
    running(client, "one")
    run = client.hget("one", "run")
    write(place / "tasks.py", TASKS + '\n    print("the new code", flush=True)\n')
    began = time.monotonic()
    os.kill(daemon.process.pid, signal.SIGHUP)
    daemon.says("the new code")
    manager.says("READY=1", began)
    running(client, "one")
    assert client.hget("one", "run") != run
    assert daemon.process.poll() is None
    assert health(place)[1][0]["pid"] == daemon.process.pid
    order = [
        word for at, word in manager.words if at >= began and word in ("RELOADING=1", "READY=1", "STOPPING=1")
    ]
    assert order == ["RELOADING=1", "READY=1"]
    assert manager.received("MONOTONIC_USEC=", began)


def test_while_redis_is_away_it_lives_is_not_ready_and_asks_for_time(manager, place):
    write(place / "tasks.py", TASKS)
    port = free_port()
    command = pytask("run", "tasks.py", "--redis", f"redis://127.0.0.1:{port}/0", "--time-scale", "0.2")
    with Started(command, place, place, PYTASK_RUN_DIR=str(place), **manager.environment()) as daemon:
        manager.says("EXTEND_TIMEOUT_USEC=30000000")
        assert health(place, "--live")[0] == 0
        code, (item,), _ = health(place, "--ready")
        assert (code, item["ready"]) == (3, False)
        assert f"127.0.0.1:{port}" in " ".join(item["why"])
        assert not manager.received("READY=1")
        with start_server("valkey", port=port):
            manager.says("READY=1")
            assert health(place, "--ready")[0] == 0
        assert daemon.end() == 0


def kids(daemon):
    return {child.pid for child in psutil.Process(daemon.process.pid).children()}


def test_a_supervisor_does_the_same_for_its_children(store, client, manager, place):
    write(place / "tasks.py", TASKS)
    command = pytask("run", "tasks.py", "--redis", store.url, "--time-scale", "0.2", "--processes", "2")
    push(client, "sleeper", *"abcd")
    with Started(command, place, place, PYTASK_RUN_DIR=str(place), **manager.environment()) as daemon:
        manager.says("READY=1")
        code, (item,), _ = health(place)
        assert (code, item["pid"], len(item["children"])) == (0, daemon.process.pid, 2)
        until(lambda: len(manager.received("WATCHDOG=1")) >= 2, lambda: manager.words)
        running(client, *"abcd")

        daemon.process.send_signal(signal.SIGUSR1)
        until(lambda: daemon.output.count("--- end of greenlets") == 2, lambda: daemon.output)
        logged = " ".join(line for line in daemon.output.splitlines() if " x task sleeper: " in line)
        assert set("abcd") <= set(logged.split())

        daemon.process.send_signal(signal.SIGTSTP)
        until(lambda: health(place, "--ready")[0] == 3, "they are quiet")
        assert health(place, "--live")[0] == 0
        daemon.process.send_signal(signal.SIGCONT)
        until(lambda: health(place, "--ready")[0] == 0, "they take tasks again")

        before, began = kids(daemon), time.monotonic()
        write(place / "tasks.py", TASKS + '\n    print("the new code", flush=True)\n')
        daemon.process.send_signal(signal.SIGHUP)
        daemon.says("all children have been replaced", seconds=120)  # a busy machine takes its time
        manager.says("READY=1", began)
        assert not kids(daemon) & before
        assert len(re.findall(r"^the new code$", daemon.output, re.MULTILINE)) == 2
        order = [
            w for at, w in manager.words if at >= began and w in ("RELOADING=1", "READY=1", "STOPPING=1")
        ]
        assert order == ["RELOADING=1", "READY=1"]
        running(client, *"abcd")

        before = kids(daemon)
        write(place / "tasks.py", "nothing = 1\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.says("[PT124] SIGHUP: the new code cannot run")
        assert kids(daemon) == before
        running(client, *"abcd")
        assert health(place, "--ready")[0] == 0
        assert daemon.end() == 0
        manager.says("STOPPING=1")
