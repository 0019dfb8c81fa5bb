"""The data folders of private servers: found by the folder of the project, and removed after a kill."""

import fcntl
import os

import pytest

from pytask.dev import folders, server


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    made = tmp_path / "temporary"
    made.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(made))
    return made


def folder(temporary, name, *, age):
    made = temporary / name
    made.mkdir()
    (made / "lock").write_text("123 456")
    os.utime(made, (made.stat().st_mtime - age,) * 2)
    return made


def test_the_data_of_the_dead_are_removed_and_nothing_else(temporary):
    name = folders.name_of(temporary)
    old, young, used = (
        folder(temporary, name + end, age=age) for end, age in (("old", 60), ("young", 0), ("used", 60))
    )
    other = folder(temporary, "another-program", age=60)
    link = temporary / f"{name}link"
    link.symlink_to(other)
    with (used / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        server.tidy()
    assert not old.exists()
    assert all(one.exists() for one in (young, used, other, link))


def test_of_several_servers_of_a_folder_the_last_one_is_found(temporary, monkeypatch):
    asked = []

    def url_of(found):
        asked.append(found.name.rpartition("-")[2])
        return None if found.name.endswith("dead") else f"redis://{found.name}"

    monkeypatch.setattr("pytask.adapters.embedded.running_url", url_of)
    assert folders.running(temporary) is None
    name = folders.name_of(temporary)
    for end, age in (("first", 30), ("second", 20), ("dead", 10)):
        folder(temporary, name + end, age=age)
    folder(temporary, folders.name_of(temporary.parent) + "other", age=0)
    assert folders.running(temporary) == f"redis://{name}second"
    assert asked == ["dead", "second"]
