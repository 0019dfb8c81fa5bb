"""The folder of health sockets may be common to several users and containers: what is others' stays."""

import json
import os
import shutil
import socket
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pytask.daemon import health_socket
from pytask.domain.errors import UnsafeFolder
from pytask.runtime.process.unix_socket import bind

ELSEWHERE = 4_000_000  # no process here has this number, as it is with one of another container
LEFT = 4_000_001


@pytest.fixture
def place():
    """A folder with a short name: the path of a unix socket is limited."""
    folder = Path(tempfile.mkdtemp(prefix="pt"))
    yield folder
    shutil.rmtree(folder)


@contextmanager
def answering(path, answer):
    """Somebody who answers at a socket, as a worker does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        bind(listener, path)

        def serve():
            with suppress(OSError):  # the listener is shut down
                while True:
                    line, _ = listener.accept()
                    with line, suppress(OSError):
                        line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def left_behind(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(path))


def test_health_deletes_nothing_and_asks_all_that_answer(cli, place):
    alive = json.dumps({"pid": 1, "name": "w", "live": True, "ready": True, "running": 0, "why": []})
    left_behind(place / f"{LEFT}.sock")
    (place / "notes.sock").write_text("a file of somebody")
    (place / "7.sock").symlink_to("docker.sock")
    with (
        answering(place / "docker.sock", b"{}"),
        answering(place / f"{ELSEWHERE}.sock", alive.encode()),
    ):
        before = sorted(path.name for path in place.iterdir())
        shown = cli("health", "--run-dir", place, "-o", "json")
        assert sorted(path.name for path in place.iterdir()) == before
    assert [item["name"] for item in json.loads(shown.stdout)["items"]] == ["w"]
    assert shown.exit_code == 0, shown.stderr


def test_what_answers_otherwise_is_not_healthy(cli, place):
    with answering(place / "8.sock", b'{"name": "half"}'), answering(place / "9.sock", b"[" * 100_000):
        shown = cli("health", "--run-dir", place, "-o", "json")
    assert shown.exit_code == 3
    assert [(item["pid"], item["live"]) for item in json.loads(shown.stdout)["items"]] == [
        (8, False),
        (9, False),
    ]


def test_a_start_removes_what_killed_workers_of_this_user_left_and_no_more(place):
    left_behind(place / f"{LEFT}.sock")
    left_behind(place / "editor.sock")
    (place / "6.sock").write_text("a file")
    with answering(place / f"{ELSEWHERE}.sock", b"{}"):
        health_socket.own_socket(str(place))
        names = sorted(path.name for path in place.iterdir())
    assert names == sorted(["6.sock", "editor.sock", f"{ELSEWHERE}.sock"])


def test_a_start_leaves_what_other_users_left(place, monkeypatch):
    left_behind(place / f"{LEFT}.sock")
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    health_socket.own_socket(str(place))
    assert (place / f"{LEFT}.sock").is_socket()


def test_a_socket_at_which_another_process_answers_is_not_taken(place):
    with (
        answering(place / "7.sock", b"{}"),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as second,
        pytest.raises(OSError, match="another process answers there"),
    ):
        bind(second, place / "7.sock")


def test_the_folder_of_the_user_may_be_nobody_elses(place, monkeypatch):
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    own = place / "pytask"
    health_socket.own_socket()
    own.chmod(0o770)
    with pytest.raises(UnsafeFolder, match="chmod go-w"):
        health_socket.own_socket()
    own.chmod(0o700)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(UnsafeFolder, match="belongs to another user"):
        health_socket.own_socket()
