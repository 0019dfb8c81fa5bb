"""Runs Django's own test cases of `tests/tasks` with this backend: `python of_django.py FOLDER URL REPORT`.

FOLDER has the package `tasks` of Django's source distribution.  The cases of its DummyBackend run while no
worker is there, those of its ImmediateBackend with a worker in this process, by a backend that waits for each
result: so their assertions about results, log lines and exceptions are those of Django.
"""

import warnings

from gevent import monkey

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    monkey.patch_all()

import json
import sys
import time
import unittest
from pathlib import Path

import django
from django.conf import settings

from pytask.django import PytaskBackend, worker_app

PATIENCE = 60.0


class Waiting(PytaskBackend):
    """`enqueue` returns when the task is finished, as that of ImmediateBackend."""

    def enqueue(self, task, args, kwargs):
        result = super().enqueue(task, args, kwargs)
        deadline = time.monotonic() + PATIENCE
        while not result.is_finished:
            assert time.monotonic() < deadline, result
            time.sleep(0.01)
            result.refresh()
        return result


class Listed(PytaskBackend):
    """Lists and removes all results, as DummyBackend."""

    @property
    def results(self):
        return [self.get_result(one.id) for one in self.client.list()]

    def clear(self):
        for one in self.client.list():
            self.client.stop(one.id)
            self.client.remove(one.id)


class Report(unittest.TextTestResult):
    """The outcome of each case by its name, with the last line of what went wrong."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.outcomes = {}

    def _note(self, test, error):
        words = str(error[1]).strip().splitlines() or [""]
        self.outcomes[_name(test)] = f"{error[0].__name__}: {words[0]}"

    def addSuccess(self, test):
        super().addSuccess(test)
        self.outcomes.setdefault(_name(test), "ok")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._note(test, error)

    def addError(self, test, error):
        super().addError(test, error)
        self._note(test, error)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self._note(test, error)


def _name(test):
    return f"{type(test).__name__}.{test._testMethodName}"


def setting(backend, url):
    backend = f"{backend.__module__}.{backend.__qualname__}"
    return {"default": {"BACKEND": backend, "QUEUES": [], "OPTIONS": {"url": url}}}


def main(folder, url, report):
    sys.path.insert(0, folder)
    sys.modules["of_django"] = sys.modules["__main__"]
    Waiting.__module__ = Listed.__module__ = "of_django"
    settings.configure(
        INSTALLED_APPS=["tasks"],
        USE_TZ=True,
        STATIC_URL="/static/",
        TASKS=setting(Listed, url),
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    )
    django.setup()
    from django.test.runner import DiscoverRunner
    from django.test.utils import override_settings
    from tasks import test_dummy_backend as dummy
    from tasks import test_immediate_backend as immediate

    runner = DiscoverRunner(verbosity=0)
    runner.setup_test_environment()
    old = runner.setup_databases()
    outcomes = {}

    def run(cases, backend):
        for case in cases:
            made = type(case.__name__, (case,), {})
            made = override_settings(TASKS=setting(backend, url))(made)
            suite = unittest.defaultTestLoader.loadTestsFromTestCase(made)
            outcomes.update(
                unittest.TextTestRunner(resultclass=Report, verbosity=0, stream=sys.stderr)
                .run(suite)
                .outcomes
            )

    run([dummy.DummyBackendTestCase, dummy.DummyBackendTransactionTestCase], Listed)
    with override_settings(TASKS=setting(Waiting, url)):
        app = worker_app(queues=["default"])
    with app:
        run([immediate.ImmediateBackendTestCase, immediate.ImmediateBackendTransactionTestCase], Waiting)
    runner.teardown_databases(old)
    Path(report).write_text(json.dumps(outcomes, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
