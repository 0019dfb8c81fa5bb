"""Words for the service manager, over a real datagram socket."""

import os
import socket

import pytest

from pytask.runtime.process.systemd import Notifier, take_from


@pytest.mark.parametrize("name", ["notify", "@pytask-test-{pid}"])
def test_a_word_is_one_datagram_also_at_an_abstract_address(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    name = name.format(pid=os.getpid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if name.startswith("@") else name)
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        notifier.ready("3 tasks run")
        assert manager.recv(1000) == b"READY=1\nSTATUS=3 tasks run"
        notifier.alive()
        assert manager.recv(1000) == b"WATCHDOG=1"


def test_a_full_or_absent_manager_holds_nobody_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Notifier({}).ready("x")
    Notifier({"NOTIFY_SOCKET": "nobody"}).ready("x")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("deaf")
        notifier = Notifier({"NOTIFY_SOCKET": "deaf"})
        for _ in range(2000):  # more than any queue of datagrams takes
            notifier.alive()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"NOTIFY_SOCKET": "n", "WATCHDOG_USEC": "3000000"}, 3.0),
        ({"NOTIFY_SOCKET": "n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"NOTIFY_SOCKET": "n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "n", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "n"}, None),
        ({"WATCHDOG_USEC": "3000000"}, None),
    ],
)
def test_the_watchdog_is_served_where_it_is_meant_for_us(environ, seconds):
    assert Notifier(environ).watchdog == seconds


def test_children_do_not_get_the_socket():
    environ = {"NOTIFY_SOCKET": "n", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    take_from(environ)
    assert environ == {"HOME": "/"}
