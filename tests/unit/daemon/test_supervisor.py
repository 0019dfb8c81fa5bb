"""The parent of several workers: without Redis, with real processes where a process is the point."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytask.daemon import child, supervisor
from pytask.daemon.child import Command, Slot, how_it_ended
from pytask.daemon.dead_children import DeadChild
from pytask.daemon.rolling_restart import RollingRestart
from pytask.daemon.supervise import arguments
from pytask.daemon.supervisor import Supervisor, restart_delay
from pytask.daemon.supervisor_health import SupervisorHealth
from pytask.runtime.process.systemd import Notifier

FLAGS = {"redis": None, "monitor": True, "max_tasks": 5, "embedded": False, "log_level": "debug"}


def test_restarts_come_later_and_later():
    assert [restart_delay(n) for n in range(9)] == [0, 0, 0.5, 1, 2, 4, 8, 16, 30]
    assert restart_delay(10**6) == 30


def test_the_command_line_of_a_child():
    assert arguments("-x.py", FLAGS) == ["run", "--max-tasks=5", "--log-level=debug", "--", "-x.py"]
    assert "--no-monitor" in arguments("x.py", FLAGS | {"monitor": False})
    assert arguments("x.py", FLAGS | {"traces": True})[-3:] == ["--traces", "--", "x.py"]


def test_a_second_signal_ends_the_drain_and_a_third_kills(family, monkeypatch):
    monkeypatch.setenv("LAST", "left\\n")
    one = family()
    turns(one, lambda: one._living == 2)
    sent, killed = [], []
    monkeypatch.setattr(Slot, "tell", lambda _slot, word: sent.append(word) or True)
    monkeypatch.setattr(one, "_kill", lambda: killed.append(one._signals))
    for slot in one.slots:
        slot.said = {"drain": 60.0}
    one._signals = 1
    one._wake[1].send(b"x")
    one.turn()
    one._signals = 2
    for _ in range(2):
        one._wake[1].send(b"x")
        one.turn()
    assert (sent, killed) == (["stop", "stop", "hurry", "hurry"], [])
    one._stopping -= supervisor.STOP_LIMIT + 50  # the limit counts behind the drain
    one._wake[1].send(b"x")
    one.turn()
    assert killed == []
    one._signals = 3
    one._wake[1].send(b"x")
    one.turn()
    assert killed == [3]
    monkeypatch.undo()


CHILD = """
import os, signal, socket, sys, time
fd, number, prefix = sys.argv[1].partition("=")[2].split(":")
line = socket.socket(fileno=int(fd))
mode = sys.argv[-1]
if mode == "code":
    os._exit(int(os.environ["CODE"]))
if mode == "exec":
    line.set_inheritable(False)
    os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"])
os.write(1, f"up {number} {prefix} {os.getpid()}\\n".encode())
while True:
    data = line.recv(100).decode()
    os.write(1, f"heard {number} {data!r}\\n".encode())  # in one piece, beside the others
    if not data or data.startswith("stop"):
        line.sendall(os.environ.get("LAST", "").encode() if data else b"")
        break
    for word in data.split("\\n"):
        if word.startswith("release"):
            line.sendall(f"released {word.split()[1]} 3 1\\n".encode())
"""


def supervisor_of(words, number):
    slots, health = [Slot(place + 1) for place in range(number)], SupervisorHealth(None, Notifier({}))
    return Supervisor(Command(words), slots, health, RollingRestart(slots, health))


@pytest.fixture
def family(capfd, caplog):
    """A supervisor whose children are small programs; ended with the test."""
    caplog.set_level("INFO")
    made = []

    def build(number=2, mode="up"):
        # `-c CHILD --supervised=... -- mode`: the two last words stand behind the option.
        made.append(supervisor_of([sys.executable, "-c", CHILD, "--", mode], number))
        return made[-1]

    yield build
    for one in made:
        one.stop()
        for slot in one.slots:
            if slot.process is not None:
                slot.process.wait(60)
        one._close()


def descriptors():
    return len(list(Path("/dev/fd").iterdir()))


def turns(one, holds, seconds=60):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to that"
        one._wake[1].send(b"x")  # no signal handler here: each turn is a short one
        one.turn()
        time.sleep(0.01)


def test_a_killed_child_is_started_again_and_its_runs_are_released(family, caplog):
    one = family()
    turns(one, lambda: one._living == 2)
    first, second = one.slots
    dead, prefix = first.process, first.prefix
    dead.kill()
    dead.wait()
    turns(one, lambda: first.process is not dead and first.process is not None)
    assert first.prefix != prefix
    turns(one, lambda: "3 released" in caplog.text)
    assert re.search(rf"child 1 \(pid {dead.pid}, up for \S+ s\) was killed by SIGKILL", caplog.text)
    assert "child 2 is releasing the runs of child 1" in caplog.text
    assert "1 left to the monitors" in caplog.text
    assert one.dead.waiting == {}
    assert second.young_deaths == 0


def test_a_release_goes_to_another_child_if_the_one_asked_dies(family):
    one = family()
    turns(one, lambda: one._living == 2)
    first, second = one.slots
    burial = one.dead.waiting["p."] = DeadChild("p.", "child 9", time.monotonic())
    second.began += 1
    os.kill(first.process.pid, signal.SIGSTOP)
    one.dead.entrust(one.slots, time.monotonic())
    assert burial.slot is first
    first.process.kill()
    first.process.wait()
    turns(one, lambda: burial.slot is not first or burial.asked is first.process)
    turns(one, lambda: not one.dead.waiting)


def test_a_wrong_target_ends_all(family, monkeypatch):
    monkeypatch.setenv("CODE", "2")
    one = family(mode="code")
    assert one.run() == 2


def test_on_a_slow_machine_a_wrong_target_and_early_deaths_are_known_as_such(family, monkeypatch):
    """There the mere start of a process takes longer than a young one lives."""
    monkeypatch.setattr(child, "YOUNG", 0.0)
    monkeypatch.setenv("CODE", "2")
    assert family(mode="code").run() == 2
    slot = Slot(1, began=0.0, reported=True)
    assert not slot.died_young(0.0)


def test_a_child_that_ends_with_0_unasked_is_dead(family):
    one = family()
    turns(one, lambda: one._living == 2)
    first, prefix = one.slots[0], one.slots[0].prefix
    seen = []
    one.dead.entrust = lambda *_: seen.extend(set(one.dead.waiting) - set(seen))
    first.tell("stop")  # it ends with 0 and does not say that it has handed its tasks back
    turns(one, lambda: seen)
    assert seen == [prefix]


def test_a_child_that_has_become_another_program_is_replaced(family, monkeypatch, caplog):
    """It has no line any more, and so it would hold its place for ever."""
    monkeypatch.setattr(supervisor, "STOP_LIMIT", 0.2)
    one = family(1, "exec")
    turns(one, lambda: "closed its line" in caplog.text)
    pid = one.slots[0].process.pid
    monkeypatch.setattr(one, "_command", Command([sys.executable, "-c", CHILD, "--", "up"]))
    turns(one, lambda: "3 released" in caplog.text)
    assert one.slots[0].process.pid != pid
    assert f"(pid {pid}) closed its line to the supervisor 0 s ago and has not ended" in caplog.text
    assert "was killed by SIGKILL" in caplog.text


def test_a_child_that_has_become_another_program_does_not_hold_up_the_end(family, monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "LEAVE", 0.2)
    one = family(1, "exec")
    turns(one, lambda: one.slots[0].deaf_since is not None)
    one.stop()
    turns(one, lambda: one.slots[0].process is None)
    assert "closed its line" in caplog.text


def test_a_child_that_has_handed_its_tasks_back_is_not_buried(family, monkeypatch):
    monkeypatch.setenv("LAST", "left\n")
    one = family()
    turns(one, lambda: one._living == 2)
    first, prefix = one.slots[0], one.slots[0].prefix
    first.tell("stop")
    turns(one, lambda: first.prefix != prefix)
    assert one.dead.waiting == {}


def test_one_that_is_replaced_has_not_died_young(family, monkeypatch, caplog):
    monkeypatch.setenv("LAST", "left\n")
    one = family()
    turns(one, lambda: one._living == 2)
    before = [slot.process for slot in one.slots]
    one.slots[0].young_deaths = 3
    one._restart.begin()
    turns(one, lambda: one.slots[0].process not in (before[0], None))
    assert one.slots[0].young_deaths == 0
    assert f"child 1 (pid {before[0].pid}) has handed its tasks back" in caplog.text
    assert "started again" not in caplog.text


def test_a_child_that_the_service_manager_ends_before_it_has_a_handler_is_no_failure(family, monkeypatch):
    one = family()
    turns(one, lambda: one._living == 2)
    monkeypatch.setattr(Slot, "tell", lambda *_: True)
    one.stop()
    for slot in one.slots:
        slot.process.terminate()
    turns(one, lambda: one._living == 0)
    assert one._code == 0


def test_one_that_was_never_seen_was_not_seen_last():
    assert how_it_ended(Slot(1, said_at=1.0), -signal.SIGKILL, 5.0) == "was killed by SIGKILL"
    seen = Slot(1, said={}, said_at=1.0)
    assert how_it_ended(seen, -signal.SIGKILL, 5.0) == "was killed by SIGKILL (last report 4 s before)"


def test_one_that_dies_young_is_started_again_later_each_time(family, monkeypatch, caplog):
    monkeypatch.setenv("CODE", "7")
    one = family(number=1, mode="code")
    turns(one, lambda: one.slots[0].young_deaths == 3)
    assert re.findall(r"restarting in (\S+) s", caplog.text) == ["0.0", "0.5", "1.0"]


def test_it_keeps_no_descriptors(family, monkeypatch):
    monkeypatch.setenv("CODE", "7")
    monkeypatch.setattr(supervisor, "restart_delay", lambda _: 0.0)
    one = family(number=1, mode="code")
    turns(one, lambda: one.slots[0].young_deaths > 2)
    before = descriptors()
    turns(one, lambda: one.slots[0].young_deaths > 20)
    assert descriptors() <= before + 1


PARENT = """
import sys
from pytask.daemon.child import Command, Slot
from pytask.daemon.rolling_restart import RollingRestart
from pytask.daemon.supervisor import Supervisor
from pytask.daemon.supervisor_health import SupervisorHealth
from pytask.runtime.process.systemd import Notifier
slots, health = [Slot(1), Slot(2)], SupervisorHealth(None, Notifier({}))
command = Command([sys.executable, "-c", sys.argv[1], "--", "up"])
sys.exit(Supervisor(command, slots, health, RollingRestart(slots, health)).run())
"""


def parent():
    words = [sys.executable, "-c", PARENT, CHILD]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    pids = [int(process.stdout.readline().split()[3]) for _ in range(2)]
    return process, pids


def test_a_signal_is_forwarded_once_and_ends_all():
    process, _ = parent()
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    # A child that ends first is released by the other, which may read both words at once.
    assert sorted(re.findall(r"^heard (\d) 'stop\\n", output, re.MULTILINE)) == ["1", "2"]
    assert output.count("stop") == 2


def test_children_end_with_a_killed_parent():
    process, _ = parent()
    process.kill()
    output = process.communicate(timeout=60)[0]  # ends when no child holds the pipe any more
    assert output.count("''") == 2


def test_the_parent_needs_neither_gevent_nor_redis():
    code = "import sys, pytask.daemon.supervise; print({'gevent', 'redis', 'transitions'} & set(sys.modules))"
    words = [sys.executable, "-c", code]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "set()\n"
