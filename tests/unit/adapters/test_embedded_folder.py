"""The folder of the embedded server: files of others are neither written nor followed to."""

import os

import pytest

from pytask.adapters.embedded import EmbeddedServer
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
