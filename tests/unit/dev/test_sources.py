"""Which files are the code of a target, and that a save of one is noticed."""

import queue
from pathlib import Path

import pytest

from pytask.dev.sources import Watch, folder_of, is_source
from pytask.domain.errors import BadTarget, Unwatched
from tests.support.cli_tools import PATIENCE


@pytest.fixture
def project(tmp_path):
    """A project with a package, a module, hidden and generated folders, and a virtual environment."""
    for name in ("shop/jobs", ".git", "shop/.cache", "shop/__pycache__", "env/lib", "plain"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    for name in ("shop/__init__.py", "shop/jobs/__init__.py", "shop/jobs/feeds.py", "clock.py"):
        (tmp_path / name).touch()
    return tmp_path.resolve()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("clock.py", "."),
        ("shop/jobs/feeds.py", "shop/jobs"),
        ("clock", "."),
        ("shop", "shop"),
        ("shop.jobs.feeds:app", "shop"),
        ("clock:app", "."),
        ("not_there", "."),  # the trial says so, until it is there
    ],
)
def test_the_folder_of_a_target(project, target, expected):
    assert folder_of(target, project) == (project / expected).resolve()


def test_a_folder_that_is_not_there_is_refused(project):
    with pytest.raises(BadTarget, match="no folder"):
        folder_of("missing/clock.py", project)


@pytest.mark.parametrize("name", [".", "shop/jobs", "/"])
def test_a_folder_is_no_target(project, name):
    with pytest.raises(BadTarget, match=r"is a folder: name a file in it, such as '.*tasks\.py'"):
        folder_of(name, project)


def test_a_file_that_is_not_there_is_refused_with_the_one_that_was_meant(project):
    with pytest.raises(BadTarget, match=r"no file 'clocks\.py'; did you mean 'clock\.py'\?"):
        folder_of("clocks.py", project)
    with pytest.raises(BadTarget, match=r"no file 'shop/jobs/feed\.py'; did you mean 'shop/jobs/feeds\.py'"):
        folder_of("shop/jobs/feed.py", project)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("clock.py", True),
        ("shop/jobs/feeds.py", True),
        ("shop/jobs/data.json", False),
        ("settings.toml", True),  # named by --watch
        (".git/hook.py", False),
        ("shop/.cache/made.py", False),
        ("shop/__pycache__/made.py", False),
        ("env/lib/library.py", False),
        ("plain/env.py", True),
        ("../other.py", False),
    ],
)
def test_python_files_count_but_not_hidden_or_generated_ones(project, name, counts):
    roots = [project, project / "settings.toml"]
    assert is_source(Path(project / name), roots) is counts


def test_a_project_in_a_hidden_folder_is_watched(tmp_path):
    root = tmp_path / ".work" / "project"
    assert is_source(root / "tasks.py", [root])


def test_saves_are_reported_and_several_at_once_are_one(project):
    woken = queue.Queue()
    watch = Watch([project], lambda: woken.put(None))
    watch.start()
    try:
        # Until the system reports changes, a save may be missed; after the first one none is.
        for attempt in range(int(PATIENCE)):
            (project / "clock.py").write_text(f"# {attempt}\n")
            try:
                woken.get(timeout=1)
            except queue.Empty:
                continue
            break
        assert watch.taken() == [project / "clock.py"]
        assert watch.taken() == []
        while not woken.empty():
            woken.get()
        (project / ".git" / "hook.py").write_text("ignored\n")
        for number in range(20):
            (project / "shop" / f"new{number}.py").write_text("one save of many files\n")
        found = []
        while len(set(found)) < 20:
            woken.get(timeout=PATIENCE)
            found += watch.taken()
        assert {path.parent.name for path in found} == {"shop"}
    finally:
        watch.close()


def test_what_cannot_be_watched_is_said(project, monkeypatch):
    def refused(*_, **__):
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr("watchfiles.watch", refused)
    woken = queue.Queue()
    watch = Watch([project], lambda: woken.put(None))
    watch.start()
    woken.get(timeout=PATIENCE)
    with pytest.raises(Unwatched, match="limit reached") as raised:
        watch.taken()
    assert str(raised.value).startswith("[PT236] cannot watch ")
    watch.close()
    monkeypatch.undo()
    watch = Watch([project], lambda: None)
    watch.start()  # the fix: the system allows more
    assert watch.taken() == []
    watch.close()
