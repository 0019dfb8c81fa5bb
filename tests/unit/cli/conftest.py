"""The command line in this process: click's runner, no server, no environment of the machine."""

import os

import pytest
from click.testing import CliRunner

from pytask.cli.main import main


@pytest.fixture
def cli(monkeypatch, tmp_path):
    """`cli(*words, **environment)` in an empty folder; the result has exit_code, stdout and stderr."""
    for name in list(os.environ):
        if name.startswith(("PYTASK_", "REDIS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def call(*words, stdin=None, **environment):
        return CliRunner().invoke(main, [str(word) for word in words], input=stdin, env=environment)

    return call
