"""`/metrics` of real workers: one, four under a supervisor, and over the health socket."""

import json
import os
import re
import signal
import socket
import urllib.request

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from pytask import Client
from pytask.domain.figures import MEASURED
from tests.support.cli_tools import ECHO, SLEEPER, Started, kept_port, pytask, until, write
from tests.support.servers import HOST, start_server

pytestmark = pytest.mark.slow

TASKS = f"""
    from pytask import Restart
{SLEEPER}
{ECHO}
    class Loop(Task):
        class Config:
            NAME = "loop"
        def start(self):
            from pytask import run_loop
            run_loop(lambda: None, 0.05)

    class Flaky(Task):
        class Config:
            NAME = "flaky"
            RESTART = Restart("failure")
        def start(self):
            raise self.Error("down")
"""


@pytest.fixture(scope="module")
def store():
    with start_server("valkey") as server:
        yield server


@pytest.fixture
def daemon(store, tmp_path):
    started = []

    with redis.Redis.from_url(store.url) as client:
        client.flushall()

    def start(*flags):
        write(tmp_path / "tasks.py", TASKS)
        words = pytask("run", "tasks.py", "--redis", store.url, f"--run-dir={tmp_path}", *flags)
        started.append(Started(words, tmp_path, tmp_path))
        return started[-1].__enter__()

    yield start
    for one in started:
        one.__exit__(None, None, None)


def place_of(daemon):
    """Where it says that its page is."""
    found = until(lambda: re.search(r"metrics at (http://\S+)", daemon.output), lambda: daemon.output)
    return found[1]


def samples(text):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return samples(answer.read().decode())


def names(found):
    return {re.sub(r"_(total|bucket|count|sum)$", "", key[0]) for key in found}


def test_a_worker_serves_all_series_from_the_start_and_counts(daemon, store):
    worker = daemon("--metrics=0", "--max-tasks=50", "--time-scale=0.1")
    url = place_of(worker)
    assert url.startswith("http://127.0.0.1:")  # a port alone: this machine only
    found = scrape(url)
    assert names(found) == {metric.name for metric in MEASURED.values()}
    assert found["pytask_tasks", "sleeper", "RUNNING"] == 0
    assert found["pytask_restarts_total", "flaky", "death"] == 0
    with Client(store.url) as client:
        client.start_many([("sleeper", None)] * 3 + [("loop", None), ("echo", {"a": 1})])
        flaky = client.start("flaky")
        until(lambda: scrape(url)["pytask_tasks", "sleeper", "RUNNING"] == 3, lambda: scrape(url))
        until(lambda: scrape(url)["pytask_restarts_total", "flaky", "failure"] >= 1, lambda: scrape(url))
        until(lambda: scrape(url)["pytask_round_seconds_count",] > 3, lambda: scrape(url))
        found = scrape(url)
        assert found["pytask_slots",] == 50
        assert found["pytask_slots_used",] >= 4
        assert found["pytask_start_latency_seconds_count",] >= 6
        assert found["pytask_lease_age_seconds",] < 6
        client.stop(flaky)
        # The same figures as those that other clients read.
        (shown,) = [one for one in client.workers() if one.alive]
        assert shown.starts is not None
        assert set(shown.runs) <= {"sleeper", "loop", "pytask/monitor", "flaky"}


def test_the_health_socket_serves_it_too_and_still_answers(daemon, tmp_path):
    worker = daemon("--time-scale=0.1")
    path = tmp_path / f"{worker.process.pid}.sock"
    until(path.exists, lambda: worker.output)

    def say(request):
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(30)
            line.connect(str(path))
            line.sendall(request)
            return b"".join(iter(lambda: line.recv(65536), b""))

    head, _, body = say(b"GET /metrics HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert names(samples(body.decode())) == {metric.name for metric in MEASURED.values()}
    for request in (b"health\n", b""):  # an earlier release says nothing
        assert json.loads(say(request))["pid"] == worker.process.pid


def test_four_processes_have_one_page(daemon, store, tmp_path):
    with kept_port() as port:
        parent = daemon(f"--metrics={port}", "--processes=4", "--max-tasks=5", "--time-scale=0.1")
        assert place_of(parent).endswith(f":{port}/metrics")
        url = place_of(parent)
        until(lambda: scrape(url)["pytask_slots",] == 20, lambda: (scrape(url), parent.output))
        with Client(store.url) as client:
            client.start_many([("sleeper", None)] * 12)
            until(lambda: scrape(url)["pytask_tasks", "sleeper", "RUNNING"] == 12, lambda: scrape(url))
            before = scrape(url)
            started = before["pytask_start_latency_seconds_count",]
            children = json.loads(_health(tmp_path, parent))["children"]
            os.kill(children[0]["pid"], signal.SIGKILL)
            # What the dead child has counted stays, and the takeovers of its tasks are counted elsewhere.
            until(lambda: scrape(url)["pytask_takeover_seconds_count",] >= 1, lambda: scrape(url))
            until(lambda: scrape(url)["pytask_tasks", "sleeper", "RUNNING"] == 12, lambda: scrape(url))
            until(lambda: scrape(url)["pytask_slots",] == 20, lambda: scrape(url))
            after = scrape(url)
            assert after["pytask_start_latency_seconds_count",] > started
            assert after["pytask_restarts_total", "sleeper", "death"] >= 1
            assert after["pytask_takeover_seconds_sum",] < 60


def _health(folder, parent):
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(30)
        line.connect(str(folder / f"{parent.process.pid}.sock"))
        line.sendall(b"health\n")
        return b"".join(iter(lambda: line.recv(65536), b""))


def test_an_address_in_use_ends_no_worker_and_is_tried_again(daemon):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        worker = daemon(f"--metrics={taken.getsockname()[1]}", "--time-scale=0.1")
        until(lambda: "[PT206] no metrics at 127.0.0.1:" in worker.output, lambda: worker.output)
        until(lambda: "takes tasks from" in worker.output, lambda: worker.output)
    scrape(place_of(worker))


def test_a_place_that_is_none_is_refused(daemon):
    worker = daemon("--metrics=here")
    until(lambda: worker.process.poll() is not None, lambda: worker.output)
    assert worker.process.returncode == 78
    assert "metrics must be a port, or HOST:PORT, not 'here'" in worker.output
