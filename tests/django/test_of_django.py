"""Django's own test cases for backends, of the source distribution of the installed release."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.cli_tools import environment
from tests.support.servers import start_server

django = pytest.importorskip(
    "django", reason="Django 6 needs Python 3.12: test_newer_python.py runs these with one, if there is one"
)
pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).with_name("of_django.py")

# Cases that are about what the two backends of Django are, or cannot do.
NOT_OURS = {
    "DummyBackendTestCase.test_using_correct_backend": "asks for the class DummyBackend",
    "DummyBackendTestCase.test_refresh_result": "changes a result in the list that DummyBackend keeps",
    "DummyBackendTestCase.test_refresh_result_async": "changes a result in the list that DummyBackend keeps",
    "DummyBackendTestCase.test_check": "is run without QUEUES, of which the check warns",
    "ImmediateBackendTestCase.test_using_correct_backend": "asks for the class ImmediateBackend",
    "ImmediateBackendTestCase.test_cannot_get_result": "there results cannot be read, here they can",
    "ImmediateBackendTestCase.test_cannot_refresh_result": "there results cannot be read, here they can",
    "ImmediateBackendTestCase.test_cannot_pass_run_after": "there run_after is refused, here it works",
    "ImmediateBackendTestCase.test_throws_keyboard_interrupt": "the function runs in a worker",
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """The folder with Django's package `tasks`."""
    folder = tmp_path_factory.mktemp("django")
    wanted = f"django=={django.get_version()}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=:all:", wanted]
    fetched = subprocess.run(
        [*command, "-d", str(folder)], capture_output=True, text=True, timeout=300, check=False
    )
    if fetched.returncode:
        pytest.skip(f"pip cannot fetch the source of {wanted}: {fetched.stderr.strip()[-200:]}")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return next(folder.glob("*/tests/tasks")).parent


def test_djangos_own_cases(cases, tmp_path):
    report = tmp_path / "report"
    with start_server("valkey") as server:
        ran = subprocess.run(
            [sys.executable, PROGRAM, cases, server.url, report],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert report.exists(), ran.stderr
    outcomes = json.loads(report.read_text())
    wrong = {name: outcome for name, outcome in outcomes.items() if outcome != "ok"}
    assert set(wrong) <= set(NOT_OURS), ran.stderr
    assert len(outcomes) - len(wrong) >= 28, outcomes
