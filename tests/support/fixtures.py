"""Fixtures of several folders: a real server, a view of it, and the command line in this process."""

import os

import pytest
import redis
from click.testing import CliRunner

from tests.support.servers import start_server


@pytest.fixture(scope="module")
def store(request):
    """A real server for the tests of the command line, one a module."""
    with start_server("valkey", appendonly=getattr(request.module, "APPENDONLY", False)) as server:
        yield server


@pytest.fixture
def client(store):
    """A person's view of it; it is empty at the start of each test."""
    with redis.Redis.from_url(store.url, decode_responses=True) as made:
        made.flushall()
        yield made


def without_settings(monkeypatch, folder):
    """Neither the environment nor the current folder sets anything."""
    for name in list(os.environ):
        if name.startswith(("PYTASK_", "REDIS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)


def invoked(*words, **options):
    """The command line in this process: `exit_code`, `stdout`, `stderr`."""
    from pytask.cli.main import main

    return CliRunner().invoke(main, [str(word) for word in words], **options)
