"""Programs that the fork server starts are processes as `subprocess.Popen` starts them."""

import os
import signal
import subprocess

import pytest

from tests.integration.conftest import PATIENCE, ROOT, wait_until
from tests.support.forked import has_pidfds, server_of, start_program

PROGRAM = "tests.integration.programs.forked_program"
of_the_server = pytest.mark.skipif(not has_pidfds(), reason="this system has no fork server")


@pytest.fixture
def start(tmp_path):
    """`start(*words, **variables)`; what is left of them is killed."""
    started = []

    def call(*words, module=PROGRAM, **variables):
        env = os.environ | {"PYTHONPATH": str(ROOT)} | variables
        started.append(start_program(module, words, log=tmp_path / "log", env=env))
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.wait(PATIENCE)


@pytest.fixture(params=["forked", "started"])
def way(request, monkeypatch):
    """As a fork, and as on a system that has no pidfds."""
    if request.param == "started":
        monkeypatch.delattr(os, "pidfd_open", raising=False)


@pytest.fixture
def log(tmp_path):
    return lambda: (tmp_path / "log").read_text().splitlines()


def test_words_environment_session_and_exit_code(start, log, way):
    assert start("exit", "3", GIVEN="one").wait(PATIENCE) == 3
    assert start("exit", "0", GIVEN="two").wait(PATIENCE) == 0
    assert log() == ["['exit', '3'] one None True", "['exit', '0'] two None True"]


def test_a_signal_is_its_exit_code_and_the_others_live(start, log, way):
    one, other = start("stay"), start("stay")
    wait_until(lambda: len(log()) == 2)
    assert one.pid != other.pid
    assert one.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        one.wait(0.05)
    one.kill()
    assert one.wait(PATIENCE) == one.returncode == -signal.SIGKILL
    assert other.poll() is None
    other.terminate()
    assert other.wait(PATIENCE) == -signal.SIGTERM
    other.terminate()  # nobody has this number any more, or somebody else has


def test_what_only_a_new_process_reads_is_read(start, log):
    for seed in ("1", "2"):
        start("exit", "0", PYTHONHASHSEED=seed).wait(PATIENCE)
    assert [line.split()[-2] for line in log()] == ["1", "2"]


@of_the_server
@pytest.mark.parametrize(
    "module", ["tests.integration.programs.worker_program", "tests.chaos.worker_program"]
)
def test_importing_a_worker_warns_of_nothing(start, module):
    """The logs of the workers do not show it, as they begin after it."""
    variables = {"PYTHONWARNINGS": "default"}
    assert start("--help", module=module, **variables).wait(PATIENCE) == 0
    env = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    assert server_of(module, env).errors() == ""


@of_the_server
def test_a_program_that_cannot_be_imported(start):
    with pytest.raises(RuntimeError, match=r"No module named .tests\.integration\.programs\.nothing"):
        start(module="tests.integration.programs.nothing")
