"""Libraries that hold the loop, named at the start of a worker."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from pytask import PyTask
from pytask.adapters.memory.backend import MemoryBackend
from pytask.runtime.runs import blocking_libraries


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    blocking_libraries.warn_of_blockers.cache_clear()
    for name in blocking_libraries.REMEDIES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    blocking_libraries.warn_of_blockers.cache_clear()


def test_an_imported_one_is_named_once_with_what_helps(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pycurl", ModuleType("pycurl"))
    for _ in range(2):
        with PyTask(MemoryBackend()):
            pass
    (said,) = [text for text in caplog.messages if "PT046" in text]
    assert "[PT046] pycurl is imported: while one of its calls waits, all tasks of this process wait" in said
    assert "Fix: use requests or httpx" in said


@pytest.mark.parametrize(
    ("name", "module", "remedied"),
    [
        ("psycopg2", "psycopg2.extensions", SimpleNamespace(get_wait_callback=lambda: print)),
        ("zmq", "zmq.green", ModuleType("green")),
        ("grpc", "grpc.experimental.gevent", ModuleType("gevent")),
    ],
)
def test_one_that_the_program_has_remedied_is_not_named(monkeypatch, name, module, remedied):
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "psycopg2.extensions", SimpleNamespace(get_wait_callback=lambda: None))
    assert blocking_libraries.imported() == [name]
    monkeypatch.setitem(sys.modules, module, remedied)
    assert blocking_libraries.imported() == []


def test_no_watch_no_warning(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pycurl", ModuleType("pycurl"))
    with PyTask(MemoryBackend(), block_limit=None):
        pass
    assert "PT046" not in caplog.text
