"""The folder of the embedded server: files of others are neither written nor followed to."""

import os
import socketserver
import threading

import pytest

from pytask.adapters.embedded import EmbeddedServer, running_url
from pytask.domain.errors import ServerFailed, UnsafeFolder


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    """One that would be seen to start: it writes into its folder."""
    monkeypatch.setenv("PYTASK_REDIS_SERVER", "/bin/false")


@pytest.mark.parametrize("name", ["lock", "server.log", "server.pid", "appendonlydir", "deep/er.aof"])
def test_a_planted_link_is_refused_and_not_written_through(tmp_path, name):
    target = tmp_path / "precious"
    target.write_text("kept")
    link = tmp_path / "data" / name
    link.parent.mkdir(parents=True, mode=0o700)
    link.symlink_to(target)
    (tmp_path / "data").chmod(0o700)
    with pytest.raises(UnsafeFolder, match="is a symbolic link"):
        EmbeddedServer(tmp_path / "data").start()
    assert target.read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "precious"]


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(UnsafeFolder, match="belongs to another user"):
        EmbeddedServer(tmp_path / "data").start()
    assert list((tmp_path / "data").iterdir()) == []


def test_a_folder_that_others_may_write_to_is_refused(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(UnsafeFolder, match=r"PT140.*chmod go-w"):
        EmbeddedServer(folder).start()
    assert list(folder.iterdir()) == []
    folder.chmod(folder.stat().st_mode & ~0o022)
    with pytest.raises(ServerFailed):  # it was tried to start: the program is none
        EmbeddedServer(folder).start()


def test_a_server_is_only_believed_in_a_folder_of_ones_own(tmp_path, monkeypatch):
    """Whoever wrote the file could lead tasks to a server of their own."""
    folder = tmp_path / "data"
    with socketserver.TCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        folder.mkdir(mode=0o700)
        (folder / "lock").write_text(f"{4711:<10} {server.server_address[1]:<5}")
        try:
            assert running_url(folder) == f"redis://127.0.0.1:{server.server_address[1]}/0"
            (folder / "lock").write_text(f"{4712:<10} {server.server_address[1]:<5}")  # of a dead one
            assert running_url(folder) is None
            (folder / "lock").write_text("")
            assert running_url(folder) is None
            (folder / "lock").write_text(f"{4711:<10} {server.server_address[1]:<5}")
            folder.chmod(0o777)
            assert running_url(folder) is None
            folder.chmod(0o700)
            monkeypatch.setattr(os, "getuid", lambda: 4711)
            assert running_url(folder) is None
        finally:
            server.shutdown()
            thread.join()
    assert running_url(tmp_path / "nowhere") is None


class Answer(socketserver.BaseRequestHandler):
    """As much of a Redis as tells its number."""

    def handle(self):
        self.request.recv(4096)
        self.request.sendall(b"+PONG\r\n$20\r\nprocess_id:4711\r\n\r\n+OK\r\n")
