"""How a supervisor sums up its children, and when it tells the service manager what."""

import json
import socket

import pytest

from pytask.daemon.supervisor_health import PATIENCE, SILENT, SupervisorHealth, summary
from pytask.runtime.process.systemd import Notifier

GOOD = {"name": "w-1", "live": True, "ready": True, "why": [], "running": 3, "max_tasks": 10}
QUIET = GOOD | {"name": "w-2", "ready": False, "why": ["it takes no more tasks (SIGTSTP)"]}
DEAD = GOOD | {"live": False, "ready": False, "why": ["a service died"]}


@pytest.mark.parametrize(
    ("children", "live", "ready"),
    [
        ([(GOOD, 0.5), (GOOD, 0.5)], True, True),
        ([(GOOD, 0.5), (QUIET, 0.5)], True, True),
        ([(QUIET, 0.5)], True, False),
        ([(GOOD, 0.5), (GOOD, SILENT + 1)], True, True),
        ([(GOOD, SILENT + 1), (GOOD, SILENT + 1)], False, False),
        ([(DEAD, 0.5)], False, False),
        ([(None, 99.0), (None, 0.0)], True, False),
        ([(GOOD, SILENT + 1), (None, 0.0)], False, False),
    ],
)
def test_live_while_one_turns_and_ready_while_one_takes_tasks(children, live, ready):
    seen = summary(children)
    assert (seen["live"], seen["ready"]) == (live, ready)
    if not ready:
        assert seen["why"]


@pytest.fixture
def manager(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind("notify")
        made.settimeout(0)
        yield made


def received(manager):
    words = []
    while True:
        try:
            words += manager.recv(65536).decode().split("\n")
        except BlockingIOError:
            return words


def test_ready_is_reported_once_all_children_are_and_then_only_the_watchdog(manager):
    one = SupervisorHealth(None, Notifier({"NOTIFY_SOCKET": "notify", "WATCHDOG_USEC": "3000000"}))
    assert one.pause == 1.0
    one.turn([(GOOD, 0.1), (None, 0.1)])
    assert received(manager) == [
        "WATCHDOG=1",
        "STATUS=1 of 2 children do not answer",
        f"EXTEND_TIMEOUT_USEC={int(PATIENCE)}000000",
    ]
    one.turn([(GOOD, 0.1), (None, 0.1)])
    assert received(manager) == ["WATCHDOG=1"]
    one.turn([(GOOD, 0.1), (GOOD, 0.1)])
    assert received(manager) == ["WATCHDOG=1", "READY=1", "STATUS=6 tasks running in 2 processes"]
    one.turn([(GOOD, SILENT + 1), (GOOD, SILENT + 1)])
    assert received(manager) == []
    one.reload(done=False)
    one.turn([(GOOD, 0.1), (QUIET, 0.1)])
    one.reload(done=True)
    words = received(manager)
    assert [word for word in words if "=1" in word and "USEC" not in word] == [
        "RELOADING=1",
        "WATCHDOG=1",
        "READY=1",
    ]
    one.leave()
    one.leave()
    one.turn([(GOOD, 0.1)])
    assert received(manager) == ["STOPPING=1", "STATUS=releasing tasks", "WATCHDOG=1"]


def test_nobody_asked_and_nothing_is_said(manager):
    for environ in ({}, {"NOTIFY_SOCKET": "nobody"}, {"NOTIFY_SOCKET": "notify", "WATCHDOG_USEC": "x"}):
        one = SupervisorHealth(None, Notifier(environ))
        one.turn([(GOOD, 0.1)])
        one.leave()
    assert "WATCHDOG=1" not in received(manager)
    assert SupervisorHealth(None, Notifier({})).pause is None


def test_the_socket_answers_and_goes_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path.relative_to(tmp_path) / "s.sock"
    one = SupervisorHealth(path, Notifier({}))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect("s.sock")
        one.answer([(GOOD, 0.1)])
        assert json.loads(line.recv(65536))["running"] == 3
    one.answer([(GOOD, 0.1)])  # nobody asked
    one.close()
    assert not path.exists()


def test_a_socket_that_cannot_be_made_is_only_reported(tmp_path, caplog):
    one = SupervisorHealth(tmp_path / "none" / "s.sock", Notifier({}))
    assert one.listener is None
    assert "will not find this supervisor" in caplog.text
    one.answer([])
    one.close()
