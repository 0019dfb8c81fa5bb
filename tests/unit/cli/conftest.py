"""The command line in this process: click's runner, no server, no environment of the machine."""

import pytest

from tests.support.fixtures import invoked, without_settings


@pytest.fixture
def cli(monkeypatch, tmp_path):
    """`cli(*words, **environment)` in an empty folder; the result has exit_code, stdout and stderr."""
    without_settings(monkeypatch, tmp_path)

    def call(*words, stdin=None, **environment):
        return invoked(*words, input=stdin, env=environment)

    return call
