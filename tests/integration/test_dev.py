"""`pytask dev`: real workers, a real server, and files that are saved while tasks run."""

import os
import re
import signal
import urllib.request

import psutil
import pytest
import redis

from tests.support.cli_tools import PATIENCE, ROOT, Started, done, pytask, until, write

TASKS = """
    import os, time
    from pathlib import Path
    import gevent
    from pytask import PyTask, Task, run_loop

    class Count(Task):
        class Config:
            NAME = "count"
        def start(self):
            before = self.saved or []
            self.save([*before, "{version}"], now=True)
            print(f"<{{self.id}} {version} after {{before}}>")
            gevent.sleep(1000)

    class Slow(Task):
        class Config:
            NAME = "slow"
        def start(self):
            print(f"<{{self.id}} {version}>")
            gevent.sleep(1000)
        def stop(self):
            gevent.sleep(1000)

    class Crash(Task):
        class Config:
            NAME = "crash"
        def start(self):
            if self.saved is None:
                self.save("crashed", now=True)
                os._exit(5)
            print("<went on>")
            gevent.sleep(1000)
"""
ALONE = """
    class Alone(Task):
        class Config:
            NAME = "alone"
        def start(self):
            try:
                Path(os.environ["MARK"]).touch(exist_ok=False)
            except FileExistsError:
                print("<twice>")
            print("<alone {version}>")
            try:
                gevent.sleep(1000)
            finally:
                Path(os.environ["MARK"]).unlink()
        def stop(self):
            gevent.sleep(1000)

    app = PyTask()
    app.add_task(Alone, Count)
    app.pre_start_task("alone")
"""


ENDLESS = """
    class Endless(Task):
        class Config:
            NAME = "endless"
        def start(self):
            print("<endless {version}>")
            gevent.sleep(0.1)
            while "{version}" == "one": pass  # a mistake
            gevent.sleep(1000)
"""


class Dev:
    """The running command, its folders, and a client of its server."""

    def __init__(self, folder, *words, code=None, **env):
        self.project, self.temporary = folder / "project", folder / "temporary"
        for made in (self.project, self.temporary):
            made.mkdir()
        self.save("one", code)
        command = pytask("dev", "tasks.py", *words)
        self.started = Started(command, folder, self.project, TMPDIR=str(self.temporary), **env)

    def save(self, version, code=None):
        write(self.project / "tasks.py", (code or TASKS).format(version=version))

    def says(self, text, times=1):
        def enough():
            ended = self.started.process.poll()
            assert self.output.count(text) >= times or ended is None, f"ended with {ended}:\n{self.output}"
            return self.output.count(text) >= times

        until(enough, lambda: f"{text!r} in:\n{self.output}")

    @property
    def output(self):
        return self.started.output

    @property
    def client(self):
        self.says("PYTASK_REDIS_URL=")
        return redis.Redis.from_url(
            re.search(r"PYTASK_REDIS_URL=(\S+)", self.output)[1], decode_responses=True
        )

    def put(self, client, *ids, function="count"):
        for name in ids:
            client.hset(name, mapping={"function": function})
            client.lpush("new-task", name)

    @property
    def family(self):
        return psutil.Process(self.started.process.pid).children(recursive=True)


@pytest.fixture
def dev(tmp_path):
    made = []

    def start(*words, **options):
        made.append(Dev(tmp_path, *words, **options))
        return made[-1]

    yield start
    for one in made:
        one.started.__exit__()


def gone(one, family):
    until(lambda: not any(each.is_running() for each in family), lambda: f"gone: {family}")
    assert list(one.temporary.iterdir()) == []
    assert [path.name for path in one.project.iterdir()] == ["tasks.py"]


def test_a_save_runs_the_new_code_under_the_same_id_with_what_was_saved(dev):
    one = dev()
    with one.client as client:
        one.put(client, "a")
        one.says("<a one after []>")
        one.save("two")
        one.says("<a two after ['one']>")
        one.says("all tasks run the new code")
        one.save("three")
        one.says("<a three after ['one', 'two']>")
        assert client.hget("a", "state") == "RUNNING"
    assert one.output.count("<a ") == 3
    assert one.output.count("saved: trying the new code") == 2


def test_code_that_cannot_run_leaves_the_old_one_running_until_it_is_repaired(dev):
    one = dev()
    with one.client as client:
        one.put(client, "a")
        one.says("<a one after []>")
        epoch = client.hget("a", "epoch")
        broken = TASKS + "\n    undefined_name\n"
        one.save("two", broken)
        one.says("[PT235]")
        said = [line for line in one.output.splitlines() if "[PT235]" in line]
        path, line = one.project.resolve() / "tasks.py", len(broken.splitlines())
        error = f"{path}:{line}: NameError: name 'undefined_name' is not defined"
        assert said == [f"dev: [PT235] the new code cannot run; the old code keeps running: {error}"]
        twice = TASKS + "\n    class Again(Count):\n        pass\n    app = PyTask()\n"
        one.save("two", twice + "    app.add_task(Count, Again, 7)\n")
        one.says("[PT235]", 2)
        assert f" {path}:{len(twice.splitlines()) + 1}: [PT021] " in one.output
        assert client.hmget("a", "state", "epoch") == ["RUNNING", epoch]
        one.put(client, "b")  # the old code also takes new tasks
        one.says("<b one after []>")
        one.save("three")
        one.says("<a three after ['one']>")
        one.says("<b three after ['one']>")
        assert "Traceback" not in one.output


def test_a_slow_import_shows_what_it_prints_but_its_error_only_once(dev):
    one = dev(code="import time\nprint('<importing>')\ntime.sleep(4)\nprint('<still>')\nraise ValueError\n")
    one.says("<importing>")
    assert "[PT235]" not in one.output
    one.says("[PT235]")
    assert re.search(r"\[PT235\].*tasks\.py:5: ValueError", one.output)
    assert "Traceback" not in one.output


def test_a_target_that_is_broken_from_the_start_waits_for_its_repair(dev):
    one = dev(code="def broken(:\n")
    with one.client as client:
        one.says("waiting for the next save")
        assert re.search(r"\[PT235\].*tasks\.py:1: SyntaxError: ", one.output)
        one.put(client, "a")
        one.save("two")
        one.says("<a two after []>")


def test_ctrl_c_leaves_nothing(dev):
    one = dev("--web")
    with one.client as client:
        one.put(client, "a")
        one.says("<a one after []>")
    address = re.search(r"the page is at (http://127\.0\.0\.1:\d+/)", one.output)[1]
    with urllib.request.urlopen(f"{address}tasks", timeout=PATIENCE) as answer:
        assert b"count" in answer.read()
    family = one.family
    assert len(family) >= 3  # the server, the worker, the page
    assert one.started.end(signal.SIGINT) == 0, one.output
    assert "Traceback" not in one.output
    gone(one, family)


def test_a_kill_leaves_no_process_and_the_next_one_removes_the_data(dev, tmp_path):
    one = dev("--web", code=TASKS + ENDLESS)
    with one.client as client:
        one.put(client, "wrong", function="endless")
        one.says(" blocked the event loop ")  # such a worker does not notice that its parent is gone
        one.says("the page is at ")
    family = one.family
    assert len(family) >= 4  # the server, the worker, the page, and what ends them
    one.started.process.kill()
    until(lambda: not any(each.is_running() for each in family), lambda: f"gone: {family}")
    (left,) = one.temporary.iterdir()
    os.utime(left, (0, 0))
    with Started(pytask("dev", "tasks.py"), tmp_path, one.project, TMPDIR=str(one.temporary)) as again:
        until(lambda: "the code runs" in again.output, lambda: again.output)
        assert not left.exists()


def test_other_commands_in_the_folder_find_its_server(dev, tmp_path):
    one = dev()
    one.says("other pytask commands in this folder find it")
    one.says("the code runs")
    there = {"TMPDIR": str(one.temporary)}
    assert done(pytask("new", "count", "--id", "a"), one.project, **there).returncode == 0
    one.says("<a one after []>")
    assert "a  " in done(pytask("ls", "--name", "count"), one.project, **there).stdout
    url = re.search(r"PYTASK_REDIS_URL=(\S+)", one.output)[1]
    shown = done(pytask("config"), one.project, **there).stdout
    assert f"{url}  the server of `pytask dev` here" in shown
    assert url not in done(pytask("config"), tmp_path, **there).stdout
    # `run` would start a second worker beside that of `dev`.
    assert url not in done(pytask("run", "--check", "tasks.py"), one.project, **there).stderr
    assert done(pytask("run", "--check", "tasks.py"), one.project, **there).returncode == 0


def test_it_is_said_that_other_commands_use_another_server(dev):
    one = dev(PYTASK_REDIS_URL="redis://:secret@127.0.0.1:7/3")
    one.says("but pytask commands here use redis://")
    assert "(from $PYTASK_REDIS_URL): export PYTASK_REDIS_URL=redis://127.0.0.1:" in one.output
    assert "secret" not in one.output


def test_a_second_ctrl_c_ends_it_at_once(dev):
    one = dev()
    with one.client as client:
        one.put(client, "a", function="slow")
        one.says("<a one>")
    family = one.family
    one.started.process.send_signal(signal.SIGINT)
    one.says("1 task does not stop within 1 s: a (slow)")
    assert one.started.end(signal.SIGINT) == 130, one.output
    gone(one, family)


def test_ctrl_c_before_the_code_is_imported_leaves_nothing(dev):
    one = dev(code="import time\nprint('<importing>')\ntime.sleep(1000)\n")
    one.says("dev: watching")
    until(lambda: len(one.family) >= 2, lambda: one.output)
    family = one.family
    assert one.started.end(signal.SIGTERM) == 0, one.output
    gone(one, family)


def test_a_task_that_stops_slowly_is_named_and_the_others_run_the_new_code_meanwhile(dev):
    one = dev()
    with one.client as client:
        one.put(client, "lazy", function="slow")
        one.put(client, "a", "b")
        for started in ("<lazy one>", "<a one after []>", "<b one after []>"):
            one.says(started)
        one.save("two")
        one.says("1 task does not stop within 1 s: lazy (slow)")
        one.says("<a two after ['one']>")
        one.says("<b two after ['one']>")
        one.says("<lazy two>")
        one.says("all tasks run the new code")
        output = one.output
        assert max(map(output.index, ("<a two", "<b two"))) < output.index("<lazy two>")


def test_an_endless_loop_is_named_and_the_repaired_code_runs_soon(dev):
    one = dev(code=TASKS + ENDLESS)
    with one.client as client:
        one.put(client, "a")
        one.says("<a one after []>")
        one.put(client, "wrong", function="endless")
        one.says("<endless one>")
        one.says(" blocked the event loop ")
        one.save("two", TASKS + ENDLESS)
        # The limit of the leases, which would end this worker, is longer than the patience of the test.
        one.says("<a two after ['one']>")
        one.says("<endless two>")
        one.says("all tasks run the new code")
        line = next(
            number
            for number, text in enumerate((one.project / "tasks.py").read_text().splitlines(), 1)
            if "a mistake" in text
        )
        place = f"{one.project.resolve() / 'tasks.py'}:{line}"
        assert (
            f"killed the old worker, as task wrong (endless) at {place} blocked its event loop" in one.output
        )
        assert {client.hget(name, "state") for name in ("a", "wrong")} == {"RUNNING"}
        assert not {client.hget(name, "crashes") or "0" for name in ("a", "wrong")} - {"0"}
    assert one.output.count("<a two") == one.output.count("<endless two") == 1


@pytest.mark.slow
def test_a_call_that_cannot_be_interrupted_is_shown_and_its_worker_is_killed(dev):
    code = ENDLESS.replace("pass  # a mistake", "__import__('re').match('(a+)+b', 'a' * 60)  # a mistake")
    one = dev(code=TASKS + code)
    with one.client as client:
        one.put(client, "wrong", function="endless")
        one.says("<endless one>")
        one.save("two", TASKS + code)
        one.says("the old worker does not respond, ")
        one.says("<endless two>")
        one.says("all tasks run the new code")
    assert re.search(r'File ".*tasks\.py", line \d+ in start', one.output)


def test_a_drain_time_does_not_delay_the_new_code(dev):
    one = dev(PYTASK_DRAIN="600")
    with one.client as client:
        one.put(client, "a")
        one.says("<a one after []>")
        one.save("two")
        one.says("<a two after ['one']>")
        assert "killed the old worker" not in one.output


def test_tasks_whose_class_was_renamed_are_named_with_what_to_do(dev):
    one = dev()
    one.says("dev: the code runs: count, crash, slow")
    with one.client as client:
        one.put(client, "a")
        one.says("<a one after []>")
        one.save("two", TASKS.replace('"count"', '"counter"'))
        one.says("all other tasks run the new code")
        one.says("1 task waits for a class that the code does not have, 'count': a. It has 'counter'")
        assert "pytask rm a\n" in one.output
        one.save("three")
        one.says("<a three after ['one']>")
        one.says("all tasks run the new code")
    for noise in ("signal received", "takes tasks from", "all tasks released"):
        assert noise not in one.output


def test_a_deleted_file_is_said_to_be_deleted(dev):
    one = dev(code=TASKS + "    import other\n")
    one.says("No module named 'other'")
    write(one.project / "other.py", "")
    one.says("other.py saved: trying the new code")
    one.says("the code runs: ")
    (one.project / "other.py").unlink()
    one.says("other.py deleted: trying the new code")
    one.says("No module named 'other'", 2)


def test_code_that_ends_the_program_is_named_with_file_and_line(dev):
    one = dev(code="import sys\nsys.exit(3)\n")
    one.says("[PT235]")
    place = f"{one.project.resolve() / 'tasks.py'}:2"
    assert f"{place}: [PT026] tasks.py cannot be imported; it ends the program: sys.exit(3)" in one.output


def test_a_pre_started_task_never_runs_twice_at_a_time(dev, tmp_path):
    one = dev(code=TASKS + ALONE, MARK=str(tmp_path / "mark"))
    one.says("<alone one>")
    one.save("two", TASKS + ALONE)
    one.says("1 task does not stop within 1 s: ")
    one.says("<alone two>")
    assert "<twice>" not in one.output


def test_what_takes_time_is_loaded_before_a_save_and_two_workers_wait_for_saves(dev):
    told = "    import sys\n    print('<', 'redis' in sys.modules, sys.dont_write_bytecode, '{version} >')\n"
    one = dev(code=TASKS + told)
    one.says("the code runs")
    # Two saves at once, as of an editor that also formats: the second one does not wait for a cold start.
    until(lambda: sum("--standby" in each.cmdline() for each in one.family) == 3, lambda: one.output)
    one.save("two", TASKS + told)
    one.says("< True True two >")


@pytest.mark.slow
def test_a_hundred_tasks_are_handed_over_each_once(dev):
    ids = [f"task-{number}" for number in range(100)]
    one = dev()
    with one.client as client:
        one.put(client, *ids)
        one.says(" one after []>", 100)
        one.save("two")
        one.says(" two after ['one']>", 100)
        one.says("all tasks run the new code")
        assert {client.hget(name, "state") for name in ids} == {"RUNNING"}
    assert one.output.count(" two after ['one']>") == 100
    assert one.output.count("<task-") == 200


def test_a_worker_that_dies_is_started_again_and_takes_its_tasks_back(dev):
    one = dev()
    with one.client as client:
        one.put(client, "a", function="crash")
        one.says("the worker ended with exit code 5; restarting")
        one.says("<went on>")


def test_an_own_redis_keeps_the_tasks(dev, store, client):
    one = dev("--redis", store.url)
    one.says("the code runs")
    assert "use redis://127.0.0.1:6379/0 (the default): give them the --redis of this one, too" in one.output
    one.put(client, "a")
    one.says("<a one after []>")
    assert one.started.end(signal.SIGINT) == 0, one.output
    assert client.hget("a", "state") == "WAIT"
    assert client.lrange("new-task", 0, -1) == ["a"]
    assert store.url not in one.output


def test_more_can_be_watched(dev, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    write(shared / "words.py", "WORD = 'hello'\n")
    code = TASKS + "    import words\n    print(f'<word {{words.WORD}}>')\n"
    one = dev("--watch", shared, code=code, PYTHONPATH=f"{ROOT}:{shared}")
    one.says("<word hello>")
    one.says("the code runs")
    write(shared / "words.py", "WORD = 'world'\n")  # of the same size, maybe within the same second
    one.says("words.py saved: trying the new code")
    one.says("<word world>")


def test_a_missing_package_is_named_with_the_extra(tmp_path):
    write(tmp_path / "watchfiles.py", "raise ImportError('none', name='watchfiles')")
    answer = done(pytask("dev", "tasks.py"), tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert answer.returncode == 78
    assert "[PT195]" in answer.stderr
    assert "pip install 'pytaskd[dev]'" in answer.stderr
