"""SIGHUP: new code by the path as it was given, tried first; one that comes too often, or is not wanted."""

import signal

import psutil
import pytest

from tests.support.cli_tools import Started, pytask, until, write

TASKS = """
    import os, signal, time
    from pathlib import Path
    import gevent
    from pytask import Task

    class Version(Task):
        class Config:
            NAME = "version"
        def start(self):
            return "{version}"

    class Last(Task):
        class Config:
            NAME = "last"
        def start(self):
            gevent.sleep(1000)
        def stop(self):
            os.kill(os.getpid(), signal.SIGTERM)

    class Sleeper(Task):
        class Config:
            NAME = "sleeper"
        def start(self):
            gevent.sleep(1000)
"""


@pytest.fixture
def site(tmp_path):
    """Two releases, and the link that names the current one."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        write(tmp_path / version / "tasks.py", TASKS.format(version=version))
    (tmp_path / "current").symlink_to("one")
    return tmp_path


def worker(site, store, *flags, shell=()):
    folder = site / "current"
    command = [*shell, *pytask("run", "tasks.py", "--redis", store.url, "--time-scale", "0.1", *flags)]
    return Started(command, site, folder, PWD=str(folder))


def put(client, name, function):
    client.hset(name, mapping={"function": function})
    client.lpush("new-task", name)


def answers(client, name):
    put(client, name, "version")
    until(lambda: client.hget(name, "state") == "ENDED", lambda: client.hgetall(name))
    return client.hget(name, "output").strip('"')


def switch(site, name):
    (site / "new").symlink_to(name)
    (site / "new").replace(site / "current")


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_switched_link_brings_the_new_release_even_if_the_old_one_is_gone(store, client, site, processes):
    with worker(site, store, "--processes", processes) as daemon:
        assert answers(client, "before") == "one"
        until(lambda: daemon.output.count("takes tasks from") == int(processes), lambda: daemon.output)
        for child in psutil.Process(daemon.process.pid).children():
            child.send_signal(signal.SIGHUP)  # is ignored: the parent decides
        switch(site, "two")
        (site / "one").rename(site / "gone")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.says("all children have been replaced" if processes == "2" else "restarted by SIGHUP")
        assert answers(client, "after") == "two"
        assert "was killed" not in daemon.output
        assert daemon.end() == 0, daemon.output


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_file_that_does_not_import_leaves_all_as_it_was(store, client, site, processes):
    put(client, "t", "sleeper")
    with worker(site, store, "--processes", processes) as daemon:
        until(lambda: client.hget("t", "state") == "RUNNING", lambda: daemon.output)
        run = client.hget("t", "run")
        (site / "one" / "tasks.py").write_text("import no_such_module\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.says("[PT124] SIGHUP: the new code cannot run")
        daemon.says("No module named 'no_such_module'")
        (site / "current").unlink()
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: daemon.output.count("[PT124]") == 2, lambda: daemon.output)
        assert "No such file or directory" in daemon.output
        assert client.hget("t", "run") == run
        assert client.hget("t", "state") == "RUNNING"
        assert daemon.end() == 0, daemon.output


def test_a_second_hangup_while_the_new_code_is_imported_is_carried_out_afterwards(store, client, site):
    """The handlers are lost for that time: the signal waits, however often it came."""
    with worker(site, store) as daemon:
        assert answers(client, "before") == "one"
        slow = TASKS.format(version="two") + (
            '\n    print("imports", flush=True)\n    while not Path("go").exists(): time.sleep(0.02)\n'
        )
        write(site / "one" / "go", "")
        write(site / "one" / "tasks.py", slow.replace('Path("go")', 'Path("go2")'))
        write(site / "one" / "go2", "")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.says("checking the new code")
        # The check must pass before the import of the new image waits.
        until(lambda: "releasing" in daemon.output, lambda: daemon.output)
        (site / "one" / "go2").unlink()
        daemon.says("imports")
        for _ in range(3):
            daemon.process.send_signal(signal.SIGHUP)
        write(site / "one" / "tasks.py", TASKS.format(version="three"))
        write(site / "one" / "go2", "")
        until(lambda: daemon.output.count("restarted by SIGHUP") == 2, lambda: daemon.output)
        assert answers(client, "after") == "three"
        assert daemon.process.poll() is None
        assert daemon.end() == 0, daemon.output


def test_a_sigterm_during_the_restart_ends_the_worker(store, client, site):
    put(client, "t", "last")
    with worker(site, store) as daemon:
        until(lambda: client.hget("t", "state") == "RUNNING", lambda: daemon.output)
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.process.wait(60) == 0, daemon.output
        assert "restarted" not in daemon.output
    assert client.hget("t", "state") == "WAIT"


@pytest.mark.parametrize("processes", ["1", "2"])
def test_under_nohup_a_hangup_is_ignored(store, client, site, processes):
    with worker(site, store, "--processes", processes, shell=["nohup"]) as daemon:
        assert answers(client, "before") == "one"
        daemon.process.send_signal(signal.SIGHUP)
        # The next signal is handled after this one would have been.
        daemon.process.send_signal(signal.SIGTSTP)
        daemon.says("take no more tasks" if processes == "2" else "takes no more tasks")
        daemon.process.send_signal(signal.SIGCONT)
        assert answers(client, "after") == "one"
        for word in ("checks", "restarted", "replaced"):
            assert word not in daemon.output
        assert daemon.end() == 0, daemon.output


def test_the_check_alone_says_what_is_wrong(site):
    for text, code, says in (("", 2, "nothing to run"), (TASKS.format(version="one"), 0, "")):
        write(site / "one" / "tasks.py", text)
        with Started(pytask("run", "tasks.py", "--check"), site, site / "one") as checked:
            assert checked.process.wait(60) == code
            assert says in checked.output
