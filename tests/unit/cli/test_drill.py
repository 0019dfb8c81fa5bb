"""Which process a drill ends, and what it says of each task."""

import mmap
import os
import socket
import time

import click
import pytest

from pytask.cli import drill
from pytask.cli.drill import CAME_BACK, DELETED, MISSING, RESTS, Followed
from pytask.client.records import Worker
from pytask.domain.errors import PytaskError


def worker(name, *, host=None, pid=1, silent=0.0, session="", **figures):
    host = socket.gethostname() if host is None else host
    return Worker(session=session or f"s-{name}", name=name, host=host, pid=pid, silent=silent, **figures)


def test_the_only_worker_of_this_machine_is_meant():
    here = worker("oak")
    others = [worker("elm", host="elsewhere"), worker("ash", silent=60.0), worker("yew", pid=0)]
    assert drill.choose([here, *others], None) is here


@pytest.mark.parametrize("word", ["oak", "s-oak"])
def test_a_worker_is_named_by_name_or_session(word):
    here = worker("oak")
    assert drill.choose([here, worker("elm")], word) is here


@pytest.mark.parametrize(
    ("workers", "name", "says"),
    [
        ([worker("oak"), worker("elm")], None, "name one of elm, oak"),
        ([worker("oak", host="elsewhere")], "oak", "no worker named 'oak' runs on this machine"),
        ([worker("oak", silent=60.0)], None, "workers here: none"),
        ([worker("oak", session="1"), worker("oak", session="2")], "oak", "give the session"),
    ],
)
def test_what_is_not_clear_is_refused(workers, name, says):
    with pytest.raises(click.UsageError, match=says):
        drill.choose(workers, name)


def test_a_process_that_began_after_the_worker_is_another_one():
    drill.check_process(worker("oak", pid=os.getpid(), started=time.time()))
    drill.check_process(worker("oak", pid=os.getpid()))  # an older release does not say when it began
    with pytest.raises(PytaskError, match="is younger than worker 'oak'"):
        drill.check_process(worker("oak", pid=os.getpid(), started=1.0))


def test_a_process_without_the_lock_of_the_worker_is_another_one(tmp_path):
    """As where the worker has this pid in a container that has the name of its host."""
    (tmp_path / "abcd.lock").write_bytes(b"abcd")
    ours = worker("oak", pid=os.getpid(), started=time.time(), lock="boot 1 2 abcd")
    with pytest.raises(PytaskError, match="does not hold the lock of worker 'oak'"):
        drill.check_process(ours)
    with (tmp_path / "abcd.lock").open("r+b") as file, mmap.mmap(file.fileno(), 0):
        (tmp_path / "abcd.lock").unlink()
        drill.check_process(ours)


def test_no_process_is_said(monkeypatch):
    def gone(_pid, _number):
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", gone)
    with pytest.raises(PytaskError, match="no process 77 on this machine"):
        drill.send(worker("oak", pid=77), 9)


def test_the_process_of_another_user_is_said(monkeypatch):
    def refuses(_pid, _number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuses)
    with pytest.raises(PytaskError, match="belongs to another user"):
        drill.send(worker("oak", pid=77), 9)


class Remote:
    """Answers with the hashes of the tasks, one set a look."""

    def __init__(self, *looks):
        self.looks = list(looks)

    def partition_of(self, _task_id):
        return 0

    def space_of(self, _task_id):
        return ""

    def ask_each(self, commands):
        look = self.looks.pop(0)
        return [look[words[1]] for _at, words in commands]


def test_each_task_is_followed_until_it_is_decided(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    old = [b"7", b"RUNNING", b"oak", None]
    tasks = [Followed(name, 7) for name in "abcde"]
    remote = Remote(
        dict.fromkeys("abcde", old),
        {
            "a": [b"9", b"RUNNING", b"elm", None], "b": [b"7", b"ENDED", b"oak", None], "c": [None] * 4,
            "d": [b"7", b"WAIT", b"oak", b"12.5"], "e": [b"7", b"WAIT", b"oak", None],
        },
        {"e": [b"8", b"ENDED", b"elm", None]},
    )  # fmt: skip
    drill.follow(remote, tasks, time.monotonic(), 60)
    assert [one.outcome for one in tasks] == [CAME_BACK, RESTS, DELETED, RESTS, CAME_BACK]
    assert tasks[0].worker == "elm"
    assert 0 <= tasks[0].gone <= tasks[4].gone
    assert remote.looks == []


def test_a_task_that_does_not_come_back_is_missing(monkeypatch):
    monkeypatch.setattr(drill, "LOOK", 0.001)
    tasks = [Followed("a", 7)]
    remote = Remote()
    remote.ask_each = lambda commands: [[b"7", b"WAIT", b"oak", None] for _ in commands]
    drill.follow(remote, tasks, time.monotonic(), 0.01)
    assert (tasks[0].outcome, tasks[0].gone) == (MISSING, None)


def test_the_percentiles_are_of_what_came_back():
    assert drill.worst([]) is None
    assert drill.worst([3.0, 1.0, 2.0]) == 3.0
    assert drill.worst([float(n) for n in range(1, 101)], 0.99) == 99.0
