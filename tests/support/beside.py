"""Runs most of the test files in processes beside this one, and reports their tests as its own.

Most of these tests wait for real processes, real times and real servers, or work on a core of their own: one
after the other they would take three times as long.  (pytest-xdist does not outlive the patching by gevent.)
Only a session that has tests of several groups starts processes; a file run alone runs here.

The processes of a group share its files: whichever is free takes the next one.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import pytest

GROUPS = (  # what their tests' ids begin with, and how many processes share them
    (("tests/simulation", "tests/unit/runtime/test_schedules_year.py"), 2),  # they compute
    # Unpatched: an asyncio loop beside threads is no matter of gevent's, nor is a native wait for changes.
    (("tests/contract", "tests/unit/dev/test_sources.py"), 1),
    (("tests/browser",), 1),  # unpatched, too: the browser's driver has an asyncio loop
    (("tests/chaos", "tests/integration", "tests/django"), 5),  # they wait six times as long as they work
)
LONG = (  # taken first: a long file that is taken last would be waited for by all
    "tests/django/test_newer_python.py",
    "tests/integration/test_failover.py",
    "tests/chaos",
    "tests/integration/test_cluster_faults.py",
    "tests/integration/test_deploys.py",
    "tests/integration/test_redis_faults.py",
    "tests/integration/test_demo.py",
    "tests/integration/test_conformance.py",
    "tests/integration/test_takeover.py",
    "tests/integration/test_recipes.py",
    "tests/integration/test_mistakes_live.py",
    "tests/integration/test_credentials.py",
    "tests/integration/test_programs.py",
    "tests/integration/test_hangup.py",
    "tests/integration/test_hostile.py",
    "tests/integration/test_libraries.py",
    "tests/integration/test_doctor.py",
    "tests/integration/test_sentinel.py",
)
CHILD = "PYTASK_TESTS_BESIDE"  # the folder of a group's orders and reports
NUMBER = "PYTASK_TESTS_NUMBER"  # of a process in its group
# Load for each processor above which all but the first process of a group wait before they take another file.
# On a slow machine tests would otherwise run out of time because of each other.
CROWDED = 5.0


def group_of(item):
    """The place of an item's group in GROUPS; None: it runs in this process."""
    return next((i for i, (starts, _) in enumerate(GROUPS) if item.nodeid.startswith(starts)), None)


def order_of(item):
    """Unit tests come first, for an early signal; what runs beside comes last, when most of it is done."""
    group = group_of(item)
    long = next((i for i, start in enumerate(LONG) if item.nodeid.startswith(start)), len(LONG))
    return (-1, not item.nodeid.startswith("tests/unit")) if group is None else (group, long)


class Beside:
    """The processes of one group and what they have reported so far."""

    def __init__(self, config, items, number):
        self.folder = Path(tempfile.mkdtemp(prefix="pytask-tests-"))
        self.reports = {}
        self._config = config
        self._read = {}  # a file of reports -> how far it is read
        (self.folder / "orders").write_text(json.dumps([item.nodeid for item in items]))
        files = list(dict.fromkeys(str(item.path) for item in items))
        self.processes = [self._start(files, name) for name in range(min(number, len(files)))]

    def _start(self, files, name):
        with (self.folder / f"log-{name}").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
                cwd=self._config.rootpath, env=os.environ | {CHILD: str(self.folder), NUMBER: str(name)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait(self, item):
        """The reports of an item, once its teardown is among them."""
        while True:
            over = all(process.poll() is not None for process in self.processes)
            for path in self.folder.glob("reports-*"):  # after `over`, or the last lines could be missed
                self.read(path)
            found = self.reports.get(item.nodeid, [])
            if found and found[-1].when == "teardown":
                return found
            if over:
                return [*found, self.lost(item)]
            time.sleep(0.05)

    def read(self, path):
        """Take in what a child wrote since."""
        with path.open() as file:
            file.seek(self._read.get(path, 0))
            while (line := file.readline()).endswith("\n"):
                self._read[path] = file.tell()
                report = self._config.hook.pytest_report_from_serializable(
                    config=self._config, data=json.loads(line)
                )
                if isinstance(report.longrepr, list):
                    report.longrepr = tuple(report.longrepr)  # of a skip: JSON knows no tuples
                self.reports.setdefault(report.nodeid, []).append(report)

    def lost(self, item):
        """What stands for a test that no child got to the end of."""
        logs = [path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("log-*"))]
        codes = [process.returncode for process in self.processes]
        why = "\n".join([f"the processes beside this one ended with {codes} before this test:", *logs])
        return pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")

    def end(self):
        """End the children, as Ctrl-C would, so that they end their servers."""
        while running := [process for process in self.processes if process.poll() is None]:
            # Once may not be enough: an interrupt that arrives in a `__del__` is ignored.
            for process in running:
                process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running[0].wait(20)


class Parent:
    """Starts the children, and reports for them."""

    def __init__(self):
        self.groups = {}
        self._began = time.monotonic()

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self):
        """The bytecode that pytest compiles is kept for the children, regardless of the environment."""
        before, sys.dont_write_bytecode = sys.dont_write_bytecode, False
        try:
            return (yield)
        finally:
            sys.dont_write_bytecode = before

    def pytest_collection_modifyitems(self, items):
        items.sort(key=order_of)

    def pytest_collection_finish(self, session):
        found = {}
        for item in session.items:
            found.setdefault(group_of(item), []).append(item)
        if len(found) > 1 and not session.config.option.collectonly:
            self.groups = {
                group: Beside(session.config, items, GROUPS[group][1])
                for group, items in found.items()
                if group is not None
            }

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        group = self.groups.get(group_of(item))
        if group is None:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in group.wait(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_sessionfinish(self):
        for group in self.groups.values():
            group.end()

    def pytest_terminal_summary(self, terminalreporter):
        """What each process took, so that the work can be shared out well."""
        for group, beside in sorted(self.groups.items()):
            name = GROUPS[group][0][0]
            for text in sorted(path.read_text() for path in beside.folder.glob("times-*")):
                terminalreporter.write_line(f"beside: {name}: {text}")
        if self.groups:
            terminalreporter.write_line(f"here: {took(self._began)}")


def took(began):
    """Seconds since `began`, and of the processor by this process and those that it waited for."""
    times = os.times()
    return f"{time.monotonic() - began:4.0f} s, processor {sum(times[:4]):4.0f} s"


class Child:
    """Runs what it takes of its group's orders, and writes a line for each report."""

    def __init__(self, folder, number):
        self._folder = folder
        self._number = number
        self._orders = json.loads((folder / "orders").read_text())
        self._file = (folder / f"reports-{os.getpid()}").open("a")
        self._began = time.monotonic()
        self._files = {}

    def pytest_collection(self, session):
        """Finds the files; each is read by the process that takes it, instead of by all of them."""
        self._files = {file.nodeid: file for file in session.perform_collect(genitems=False)}
        return True

    def pytest_runtestloop(self, session):
        for name in dict.fromkeys(nodeid.partition("::")[0] for nodeid in self._orders):
            if not self._takes(name):
                continue
            # Of a file that cannot be read there are no items: its tests are reported as lost, with the log.
            for item, following in pairwise([*self._items(session, self._files[name]), None]):
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        return True

    def _items(self, session, file):
        """The tests of a file that are asked for, in the order of the orders."""
        items = list(session.genitems(file))
        session.config.hook.pytest_collection_modifyitems(session=session, config=session.config, items=items)
        order = {nodeid: place for place, nodeid in enumerate(self._orders)}
        return sorted((item for item in items if item.nodeid in order), key=lambda i: order[i.nodeid])

    def _takes(self, name):
        """Whether none of the group took this file before."""
        taken = self._folder / "-".join(["taken", *name.split("/")])
        while self._number and not taken.exists() and os.getloadavg()[0] > CROWDED * os.cpu_count():
            time.sleep(1)
        try:
            taken.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def pytest_runtest_logreport(self, report):
        data = report._to_json()
        data["$report_type"] = "TestReport"
        self._file.write(json.dumps(data, default=str) + "\n")
        self._file.flush()

    def pytest_sessionfinish(self):
        self._file.close()
        (self._folder / f"times-{os.getpid()}").write_text(took(self._began))


def plugin():
    """The part that this process plays."""
    folder, number = os.environ.pop(CHILD, None), os.environ.pop(NUMBER, "0")  # not for what a test starts
    return Child(Path(folder), int(number)) if folder else Parent()
