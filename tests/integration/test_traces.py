"""Traces of a real worker, as a real OTLP receiver gets them (oteltap)."""

import json
import sys

import pytest
import redis

from pytask import Client
from tests.support.cli_tools import SLEEPER, Started, kept_port, pytask, until, write
from tests.support.servers import start_server

pytest.importorskip("oteltap", reason="no OTLP receiver is installed")
pytestmark = pytest.mark.slow

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TASKS = f"""
{SLEEPER}
    class Loop(Task):
        class Config:
            NAME = "loop"
        def start(self):
            from pytask import run_loop
            run_loop(self.one, 0.1)
        def one(self):
            self.rounds = getattr(self, "rounds", 0) + 1
            if self.rounds == 3:
                raise LookupError("nothing there")
"""


@pytest.fixture
def store():
    with start_server("valkey") as server, redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield server


def spans(receiver):
    """Those that arrived, by name."""
    found = {}
    for line in receiver.output.splitlines():
        if line.startswith("{"):
            for one in _spans(json.loads(line)):
                found.setdefault(one["name"], []).append(one)
    return found


def _spans(value):
    if isinstance(value, dict) and "spanId" in value and "name" in value:
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _spans(inner)


def test_a_receiver_gets_the_start_the_rounds_and_the_end_with_its_error(store, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    tap = [sys.executable, "-u", "-m", "oteltap", "--port"]
    with kept_port() as port, Started([*tap, str(port)], tmp_path, tmp_path) as receiver:
        words = pytask("run", "tasks.py", "--redis", store.url, "--traces", f"--run-dir={tmp_path}")
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with Started(words, tmp_path, tmp_path, **env) as worker, Client(store.url) as client:
            client.start("sleeper", traceparent=PARENT)
            client.start("loop")
            until(lambda: "stop loop" in spans(receiver), lambda: (receiver.output, worker.output))
            found = spans(receiver)
            assert len(found["round loop"]) == 3
            assert "stop sleeper" not in found
            (stop,) = found["stop loop"]
            attributes = {one["key"]: one["value"].get("stringValue") for one in stop["attributes"]}
            assert attributes["error.type"] == "LookupError"
            assert attributes["messaging.system"] == "pytask"
            until(lambda: "run sleeper" in spans(receiver), lambda: receiver.output)
            (begun,) = spans(receiver)["run sleeper"]
            assert len(begun["links"]) == 1
        # The end of the worker is exported as well.
        until(lambda: "stop sleeper" in spans(receiver), lambda: receiver.output)
