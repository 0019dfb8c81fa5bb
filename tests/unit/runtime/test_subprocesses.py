"""Programs of runs, and the process that ends those of a dead worker; real processes of a shell."""

import contextlib
import os
import signal
import subprocess
import sys

import gevent
import pytest

from pytask.domain.errors import NotRun
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.runtime.runs import orphan_reaper, subprocesses
from tests.unit.runtime.fakes import World, switch, until


def demo(start):
    return type("Demo", (Task,), {"Config": type("Config", (), {"NAME": "demo"}), "start": start})


def world_of(start):
    return World(demo(start), timing=Timing().scaled(0.05))


@pytest.fixture
def started():
    """Groups, whose first process is this one's child, as a worker's are."""
    made = []

    def start(script):
        process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
        made.append(process)
        process.stdout.readline()  # it is ready
        return process

    yield start
    for process in made:
        process.kill()
        process.stdout.close()
        process.wait()


def test_what_was_begun_and_is_not_gone_is_left():
    assert orphan_reaper.left([b"+5\n", b"\n", b"+7\n", b"-5\n", b"+5\n", b"+9\n", b"-9\n", b"-8\n"]) == [
        7,
        5,
    ]


def test_what_is_left_is_asked_first_and_killed_then(started):
    polite = started("echo; exec sleep 1000")
    stubborn = started("trap '' TERM; echo; while :; do sleep 1000; done")
    orphan_reaper.end([polite.pid, stubborn.pid, 2**22 + 1], 0.05)
    assert (polite.wait(), stubborn.wait()) == (-signal.SIGTERM, -signal.SIGKILL)


def test_its_input_tells_of_the_groups_and_its_end_of_the_worker(started):
    kept, ended = started("echo; exec sleep 1000"), started("echo; exec sleep 1000")
    text = b"+%d\n+%d\n-%d\n" % (kept.pid, ended.pid, kept.pid)
    done = subprocess.run(
        [sys.executable, "-I", "-S", subprocesses.ORPHANS, "1"], input=text, check=False, timeout=30
    )
    assert done.returncode == 0
    assert ended.wait() == -signal.SIGTERM
    assert kept.poll() is None


@pytest.mark.parametrize("name", ["preexec_fn", "process_group", "start_new_session"])
def test_what_would_undo_the_group_is_refused(name):
    said = []

    def start(self):
        try:
            self.subprocess(["true"], **{name: None})
        except TypeError as error:
            said.append(str(error))

    world_of(start).launch()
    assert said == [f"self.subprocess() creates its own process group: leave out {name}"]


def test_a_program_that_is_not_there_leaves_nothing():
    said = []

    def start(self):
        try:
            self.subprocess(["/nowhere/program"])
        except OSError as error:
            said.append(error.filename)

    world = world_of(start)
    run = world.launch()
    until(lambda: not world.executor.living)
    assert said == ["/nowhere/program"]
    assert run not in subprocesses._groups


def test_a_program_ends_with_its_run_which_is_over_then():
    found = []

    def start(self):
        program = self.subprocess("trap '' TERM; echo; while :; do sleep 1000; done", shell=True, stdout=-1)
        program.stdout.readline()
        found.append(program)

    world = world_of(start)
    run = world.launch()
    until(lambda: run.returned)
    assert not run.over  # it ignores SIGTERM
    until(lambda: run.over)
    assert not subprocesses._acts(found[0].pid)
    assert found[0].wait() == -signal.SIGKILL
    assert run not in subprocesses._groups
    assert not subprocesses._ending


def test_a_program_that_has_ended_is_forgotten_at_once():
    held = gevent.event.Event()

    def start(self):
        self.subprocess(["true"]).wait()
        held.wait()

    world = world_of(start)
    run = world.launch()
    until(lambda: run.children is not None or run not in subprocesses._groups)
    until(lambda: run not in subprocesses._groups)
    assert not run.over
    held.set()
    until(lambda: run.over)


def test_who_is_killed_while_it_starts_a_program_leaves_none(monkeypatch):
    begun = []

    class Slow:
        """As Popen, while it waits for the exec."""

        def __init__(self, args, **options):
            self.process = subprocess.Popen(args, start_new_session=True)
            self.pid = self.process.pid
            begun.append(self.process)
            gevent.sleep(1000)

    monkeypatch.setattr(subprocesses, "Popen", Slow)
    greenlets = []

    def start(self):
        greenlets.append(gevent.getcurrent())
        self.subprocess(["sleep", "1000"])

    world = world_of(start)
    run = world.launch()
    until(lambda: begun)
    greenlets[0].kill()
    assert begun[0].wait() == -signal.SIGKILL
    until(lambda: run.over)
    assert run not in subprocesses._groups


def test_a_child_that_is_forked_while_a_program_starts_does_not_hide_the_workers_death(monkeypatch):
    lines = []

    class Slow:
        """As Popen, while it waits for the exec."""

        def __init__(self, _args, *, preexec_fn):
            lines.extend(preexec_fn.args)
            gevent.sleep(1000)

    def left_open():
        for line in lines:
            with contextlib.suppress(OSError):
                os.fstat(line)
                return True
        return False

    monkeypatch.setattr(subprocesses, "Popen", Slow)
    world = world_of(lambda self: self.subprocess(["sleep", "1000"]))
    run = world.launch()
    until(lambda: lines)
    assert left_open()
    child = os.fork()
    if not child:
        os._exit(left_open())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    run.greenlet.kill()
    until(lambda: run.over)
    assert not left_open()
    assert not subprocesses._lines


def test_a_number_that_was_given_to_another_process_is_left_alone(started):
    other = started("echo; exec sleep 1000")
    program = type("Program", (), {"pid": other.pid, "returncode": 0})()
    assert not subprocesses._lives(program)


def test_a_run_that_is_over_starts_no_program():
    tasks = []

    def start(self):
        tasks.append(self)

    world = world_of(start)
    run = world.launch()
    until(lambda: run.over)
    with pytest.raises(NotRun, match="the run of task a is over"):
        tasks[0].subprocess(["true"])
    switch()
