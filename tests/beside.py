"""Runs some of the test files in processes beside this one, and reports their tests as its own.

Most of these tests wait for real processes, real times and real servers, or work on a core of their own: one
after the other they would take twice as long.  (pytest-xdist does not outlive the patching by gevent.)
Only a session that has tests of several streams starts processes; a file run alone runs here.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

STREAMS = {
    "tests/simulation": 1,  # a core of its own
    # the others wait more than they work
    "tests/integration/test_client_cluster.py": 2,
    "tests/integration/test_cluster.py": 2,
    "tests/integration/test_cluster_faults.py": 2,
    "tests/integration/test_conformance.py": 2,
    "tests/integration/test_deploys.py": 2,
    "tests/integration/test_failover.py": 2,
    "tests/chaos": 3,
    "tests/integration/test_hostile.py": 3,
    "tests/integration/test_newer_release.py": 3,
    "tests/integration/test_recipes.py": 3,
    "tests/integration/test_redis_faults.py": 3,
    "tests/integration/test_takeover.py": 3,
    "tests/integration/test_tour.py": 3,
    # unpatched: an asyncio loop beside threads is no matter of gevent's
    "tests/contract": 4,
}
CHILD = "PYTASK_TESTS_BESIDE"  # the folder of a child's orders and reports


def stream_of(item):
    """The number of the process that an item belongs to; 0 is this one."""
    node = item.nodeid
    return next((number for start, number in STREAMS.items() if node.startswith(start)), 0)


class Beside:
    """One child process and what it has reported so far."""

    def __init__(self, config, items):
        self.folder = Path(tempfile.mkdtemp(prefix="pytask-tests-"))
        self.reports = {}
        self._config = config
        self._read = 0
        (self.folder / "orders").write_text(json.dumps([item.nodeid for item in items]))
        files = list(dict.fromkeys(str(item.path) for item in items))
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
                cwd=config.rootpath, env=os.environ | {CHILD: str(self.folder)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait(self, item):
        """The reports of an item, once its teardown is among them."""
        while True:
            over = self.process.poll() is not None  # before the reading, or the last lines could be missed
            self.read()
            found = self.reports.get(item.nodeid, [])
            if found and found[-1].when == "teardown":
                return found
            if over:
                return [*found, self.lost(item)]
            time.sleep(0.05)

    def read(self):
        """Take in what the child wrote since."""
        path = self.folder / "reports"
        if not path.exists():
            return
        with path.open() as file:
            file.seek(self._read)
            while (line := file.readline()).endswith("\n"):
                self._read = file.tell()
                report = self._config.hook.pytest_report_from_serializable(
                    config=self._config, data=json.loads(line)
                )
                if isinstance(report.longrepr, list):
                    report.longrepr = tuple(report.longrepr)  # of a skip: JSON knows no tuples
                self.reports.setdefault(report.nodeid, []).append(report)

    def lost(self, item):
        """What stands for a test that the child did not get to."""
        log = (self.folder / "log").read_text(errors="replace")[-3000:]
        why = f"the process beside this one ended with {self.process.returncode} before this test:\n{log}"
        return pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")

    def end(self):
        """End the child, as Ctrl-C would, so that it ends its servers."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()


class Parent:
    """Starts the children, and reports for them."""

    def __init__(self):
        self.children = {}

    def pytest_collection_modifyitems(self, items):
        items.sort(key=stream_of)  # those beside come last, when most of them are done

    def pytest_collection_finish(self, session):
        streams = {}
        for item in session.items:
            streams.setdefault(stream_of(item), []).append(item)
        if len(streams) > 1 and not session.config.option.collectonly:
            self.children = {
                number: Beside(session.config, items) for number, items in streams.items() if number
            }

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        child = self.children.get(stream_of(item))
        if child is None:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in child.wait(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_sessionfinish(self):
        for child in self.children.values():
            child.end()


class Child:
    """Runs what it is ordered to, and writes a line for each report."""

    def __init__(self, folder):
        self._orders = json.loads((folder / "orders").read_text())
        self._file = (folder / "reports").open("a")

    def pytest_collection_modifyitems(self, items):
        order = {nodeid: place for place, nodeid in enumerate(self._orders)}
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda i: order[i.nodeid])

    def pytest_runtest_logreport(self, report):
        data = report._to_json()
        data["$report_type"] = "TestReport"
        self._file.write(json.dumps(data, default=str) + "\n")
        self._file.flush()

    def pytest_sessionfinish(self):
        self._file.close()


def plugin():
    """The part that this process plays."""
    folder = os.environ.pop(CHILD, None)  # not for what a test starts
    return Child(Path(folder)) if folder else Parent()
