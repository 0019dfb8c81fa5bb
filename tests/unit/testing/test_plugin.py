"""The plugin as pytest finds it, in a process of its own."""

import subprocess
import sys
import tomllib
from pathlib import Path

TESTS = """
import sys
from pytask import Task

class Tick(Task):
    class Config:
        NAME = "tick"
    def start(self):
        self.emit("tick", self.task_data)
        self.sleep(60)

def test_nothing_is_patched(request):
    from gevent import monkey
    assert monkey.is_module_patched("time") is request.config.getini("pytask_patch")

def test_tick(pytask_app):
    kit = pytask_app(Tick)
    kit.client.start(Tick, {"n": 1}, id="t")
    kit.assert_event("t", "tick", {"n": 1})
    kit.advance(61)
    kit.assert_state("t", "ENDED")
"""

THEIRS = """
from pytask import Task

class Count(Task):
    class Config:
        NAME = "count"
    def start(self):
        return len(self.task_data["words"])
"""
TESTS_OF_THEIRS = """
from theirs import Count

def test_count(pytask_app):
    kit = pytask_app(Count)
    kit.client.start(Count, {"words": [1, 2]}, id="c")
    kit.assert_state("c", "ENDED")
    assert kit.client.get("c").output == 2
"""


def run(folder, *options):
    (folder / "test_it.py").write_text(TESTS)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_it.py"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def declare(folder):
    """The entry point that pyproject.toml declares, as of an installed distribution."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    ((name, module),) = project["project"]["entry-points"]["pytest11"].items()
    assert name == project["project"]["name"] == "pytaskd", "PyPI's pytask may use its own name"
    info = folder / "probe-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[pytest11]\n{name} = {module}\n")


def test_fixtures_are_there_and_nothing_is_patched_unasked(tmp_path):
    declare(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    found = run(tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "2 passed" in found.stdout
    (tmp_path / "pytest.ini").write_text("[pytest]\npytask_patch = true\n")
    found = run(tmp_path)
    assert "2 passed" in found.stdout, found.stdout + found.stderr


def test_the_coverage_of_a_users_project_is_measured_without_a_warning(tmp_path):
    """Its code, from the first line of the module on, with `pytask_patch` and without."""
    declare(tmp_path)
    (tmp_path / "theirs.py").write_text(THEIRS)
    (tmp_path / "test_it.py").write_text(TESTS_OF_THEIRS)
    for patch in ("false", "true"):
        words = ["-W", "error", "-o", f"pytask_patch={patch}", "--cov=theirs", "--cov-report=term-missing"]
        words += [
            "-p",
            "no:anyio",
            "-p",
            "no:valkey",
        ]  # other plugins of this environment, which import early
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "CoverageWarning" not in done.stdout + done.stderr
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("theirs.py")]
        assert line.split()[1:] == ["6", "0", "100%"], line
