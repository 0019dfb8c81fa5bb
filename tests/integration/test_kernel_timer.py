"""The kernel timer ends a worker that cannot renew, regardless of its tasks, also in a container."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.integration.conftest import PATIENCE, ROOT, TAKEOVER, K, T, wait_until
from tests.support import container as namespace
from tests.support.cli_tools import Started, environment, pytask, write
from tests.support.evidence import SECOND, now

pytestmark = pytest.mark.slow

TASKS = ROOT / "tests" / "integration" / "programs" / "unclean_tasks.py"
KINDS = ("loop", "gil", "stopped", "alarm")


def container():
    """The words that make the command behind them PID 1 of a PID namespace."""
    words, refused = namespace.container()
    return words or pytest.skip(refused)


@pytest.fixture
def started(lab, tmp_path):
    """`started(*words)`: a command whose tasks write to the evidence, ended with the test."""
    made = []

    def start(*words, **env):
        env |= {"EVIDENCE": str(lab.evidence.path), "PYTASK_REDIS_URL": lab.server.url}
        made.append(Started(words, tmp_path, **env))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()  # with it, the kernel ends all that is in its namespace
        one.process.wait()
        print(one.output[-5000:])


def below(process):
    return psutil.Process(process.pid).children(recursive=True)


def test_no_run_acts_beside_its_successor(lab, started):
    """Endless loop, GIL hog, SIGSTOP and SIGCONT, SIGALRM user; each as PID 1 and as an ordinary process."""
    workers = {}
    for kind in KINDS:
        for name, words in ((kind, []), (f"{kind}-1", container())):
            run = pytask("run", TASKS, "--time-scale=0.1", "--no-monitor", f"--name={name}")
            workers[name] = started(*words, *run, KINDS=name)
    wait_until(lambda: len(lab.listeners()) == len(workers))
    ids = [lab.push(name, name) for name in workers]
    lab.wait_acting(ids)
    survivor = started(*pytask("run", TASKS, "--time-scale=0.1"))
    fault = now()
    stopped = [psutil.Process(workers["stopped"].process.pid), *below(workers["stopped-1"].process)]
    for one in stopped:
        one.send_signal(signal.SIGSTOP)
    # Each acts in the successor, which a worker that would not die could not keep from it.
    wait_until(lambda: all(len(lab.evidence.runs(i)) == 2 for i in ids), PATIENCE + TAKEOVER)
    assert {lab.evidence.last(i).pid for i in ids} == {survivor.process.pid}
    for one in stopped:
        if one.is_running():
            one.send_signal(signal.SIGCONT)
    for name, one in workers.items():
        expected = 128 + signal.SIGKILL if name.endswith("-1") else -signal.SIGKILL
        assert one.process.wait(PATIENCE) == expected, name
    lab.wait_acting(ids, since=now())
    lab.evidence.check()
    for name in ("loop", "loop-1", "alarm", "alarm-1"):
        held = lab.evidence.of_run(lab.evidence.runs(name)[0])
        assert (held[-1].at - fault) / SECOND < T, name
        assert (held[-1].at - held[0].at) / SECOND > K / 2, f"{name} did not hold its process"


def test_as_pid_1_it_reaps_hands_back_and_survives_a_child_that_ends_with_0(lab, started):
    """At real times: waiting for a lease to expire would take 90 s."""
    parent = started(*container(), *pytask("run", TASKS, "--processes=2"))
    wait_until(lambda: len(lab.listeners()) == 2)
    lab.push("quitter", "q")
    wait_until(lambda: len(lab.evidence.runs("q")) == 2, why="the task goes on in another process")
    parent.says("ended with exit code 0")
    parent.says("released, 0 left to the monitors")  # the task, and the child's monitor if it ran
    wait_until(lambda: len(lab.listeners()) == 2)
    (init,) = psutil.Process(parent.process.pid).children()
    wait_until(lambda: all(one.status() != psutil.STATUS_ZOMBIE for one in below(parent.process)))
    init.send_signal(signal.SIGTERM)
    assert parent.process.wait(PATIENCE) == 0
    lab.wait_state(["q"], "WAIT")
    assert "child releases its" in parent.output or "children release their" in parent.output
    lab.evidence.check()


SCRIPT = """
    from gevent import monkey; monkey.patch_all()
    import os, sys, threading
    from pytask import PyTask, Task

    class Pid(Task):
        class Config:
            NAME = "pid"
        def start(self):
            return os.getpid()

    app = PyTask(os.environ["PYTASK_REDIS_URL"], hard_deadline=True)
    app.add_task(Pid)
    if "thread" in sys.argv:
        threading_start = monkey.get_original("_thread", "start_new_thread")
        threading_start(monkey.get_original("time", "sleep"), (1000,))
    if "start" in sys.argv:
        app.start()
    app.run()
"""


def test_a_script_of_its_own_as_pid_1(lab, started, tmp_path):
    script = write(tmp_path / "script.py", SCRIPT)
    refused = [started(*container(), sys.executable, script, how) for how in ("start", "thread")]
    worker = started(*container(), sys.executable, script)
    lab.push("pid", "p")
    lab.wait_state("p", "ENDED")
    assert int(lab.field("p", "output")) != 1
    (init,) = psutil.Process(worker.process.pid).children()
    os.kill(init.pid, signal.SIGTERM)
    assert worker.process.wait(PATIENCE) == 0
    for one in refused:
        assert one.process.wait(PATIENCE) == 1
        assert "[PT120] this process is the init process (PID 1)" in one.output


def test_ctrl_c_at_the_terminal_of_a_container_reaches_the_worker_once(lab, started, tmp_path):
    """As with `docker run -t`: PID 1 leads the session. Twice would mean: end now, hand nothing back."""
    ours, theirs = os.openpty()
    words = [*container(), "setsid", "--ctty", *pytask("run", TASKS)]
    with (tmp_path / "log").open("w") as log:
        env = environment(EVIDENCE=str(lab.evidence.path), PYTASK_REDIS_URL=lab.server.url)
        shell = subprocess.Popen(words, stdin=theirs, stdout=log, stderr=log, env=env, start_new_session=True)
    try:
        lab.started(1, "stopped")
        (worker,) = psutil.Process(below(shell)[0].pid).children()
        assert os.tcgetpgrp(ours) == os.getpgid(worker.pid) == worker.pid
        os.write(ours, b"\x03")
        assert shell.wait(PATIENCE) == 0
    finally:
        shell.kill()
        os.close(ours)
        os.close(theirs)
    assert "all tasks released" in (tmp_path / "log").read_text()
