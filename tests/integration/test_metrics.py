"""`/metrics` of real workers: one, four under a supervisor, of the fleet, and over the health socket.

And what is made of the names: the dashboard, the alerts, and the recipe for scaling.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request

import promql_parser
import pytest
import redis
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pytask import Client
from pytask.domain.figures import MEASURED
from tests.support.cli_tools import ECHO, ROOT, SLEEPER, Started, kept_port, pytask, until, write
from tests.support.servers import HOST, start_server

pytestmark = pytest.mark.slow

SHIPPED = ROOT / "pytask" / "metrics"

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
            client.start_many([("sleeper", None)] * 20)  # each of them has some
            until(lambda: scrape(url)["pytask_tasks", "sleeper", "RUNNING"] == 20, lambda: scrape(url))
            before = scrape(url)
            started = before["pytask_start_latency_seconds_count",]
            children = json.loads(_health(tmp_path, parent))["children"]
            os.kill(children[0]["pid"], signal.SIGKILL)
            # What the dead child has counted stays, and the takeovers of its tasks are counted elsewhere.
            until(lambda: scrape(url)["pytask_takeover_seconds_count",] >= 1, lambda: scrape(url))
            until(lambda: scrape(url)["pytask_tasks", "sleeper", "RUNNING"] == 20, lambda: scrape(url))
            until(lambda: scrape(url)["pytask_slots",] == 20, lambda: scrape(url))
            after = scrape(url)
            assert after["pytask_start_latency_seconds_count",] > started
            assert after["pytask_restarts_total", "sleeper", "death"] >= 1
            assert after["pytask_takeover_seconds_sum",] > 0


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


# -- the dashboard, the alerts, and scaling -----------------------------------------------------------------


def shipped():
    """The expressions of the dashboard and of the alerts, by title."""
    board = json.loads((SHIPPED / "grafana.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")
    for group in yaml.safe_load((SHIPPED / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"].keys() == {"summary", "description"}
            yield rule["alert"], rule["expr"]


def selectors(expression):
    """The series that an expression selects."""
    found = []

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def matches(labels, selector):
    """Whether the labels of a series match, as Prometheus does it."""
    for one in selector.matchers.matchers:
        if one.name == "job":  # Prometheus adds it
            continue
        value, op = labels.get(one.name, ""), str(one.op).rpartition(".")[2]
        same = re.fullmatch(one.value, value) is not None if op in ("Re", "NotRe") else one.value == value
        if same is op.startswith("Not"):
            return False
    return True


def series(text):
    return [one for family in text_string_to_metric_families(text) for one in family.samples]


def test_every_name_of_the_dashboard_and_the_alerts_is_on_live_pages(daemon, store):
    url = place_of(daemon("--metrics=0", "--time-scale=0.1"))
    with urllib.request.urlopen(url, timeout=30) as answer:
        own = series(answer.read().decode())
    with Client(store.url) as client:
        fleet = series(client.metrics()[0].decode())
    seen = 0
    for title, expression in shipped():
        for selector in selectors(expression):
            seen += 1
            names = {one.name for one in own}
            assert selector.name in names, (title, selector.name)
            # What only the fleet knows is on its page.
            assert any(one.name == selector.name and matches(one.labels, selector) for one in fleet), title
    assert seen > 30


def needed(client, query):
    """What the query of the recipe says, from the page of the fleet: how many workers."""
    expression = promql_parser.parse(query)
    (selector,) = selectors(query)
    found = [one for one in series(client.metrics()[0].decode()) if one.name == selector.name]
    return sum(one.value for one in found if matches(one.labels, selector)) / expression.rhs.val


def test_scaling_in_is_a_sigterm_and_harmless(daemon, store):
    """As KEDA would do it with docs/recipes/keda.md, here with 10 slots for each worker."""
    text = (ROOT / "docs" / "recipes" / "keda.md").read_text()
    files = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (scaled,) = (found for found in files if "ScaledObject" in found)
    (trigger,) = yaml.safe_load(scaled)["spec"]["triggers"]
    query = trigger["metadata"]["query"].replace("/ 80", "/ 8")
    workers = [daemon("--max-tasks=10", "--time-scale=0.1") for _ in range(3)]
    with Client(store.url) as client, redis.Redis.from_url(store.url) as raw:
        client.start_many([("sleeper", None)] * 12)
        until(lambda: client.count()["RUNNING"] == 15, client.count)  # three of them are monitors
        # The list is empty while all is well: who scales by its length removes the workers.
        assert raw.llen("new-task") == 0
        until(lambda: needed(client, query) == 1.5, lambda: needed(client, query))  # two workers are enough
        workers[0].process.send_signal(signal.SIGTERM)
        until(lambda: workers[0].process.poll() is not None, lambda: workers[0].output)
        assert workers[0].process.returncode == 0
        until(lambda: client.count()["RUNNING"] == 14, client.count)
        assert needed(client, query) == 1.5  # also while tasks move: they wait, or run
        pages = samples(client.metrics()[0].decode())
        assert pages["pytask_takeover_seconds_count",] == 0  # nobody waited for a timeout
        assert pages["pytask_slots",] == 20


def test_pytask_web_serves_the_page_of_the_fleet(daemon, store, tmp_path):
    daemon("--max-tasks=7", "--time-scale=0.1")
    words = pytask("web", "--port", "0")
    with Started(words, tmp_path, tmp_path, PYTASK_REDIS_URL=store.url) as page:
        found = until(lambda: re.search(r"pytask web: (http://\S+)", page.output), lambda: page.output)
        url = f"{found[1].rstrip('/')}/metrics"
        until(lambda: scrape(url)["pytask_slots",] == 7, lambda: page.output)
        assert scrape(url)["pytask_tasks", "sleeper", "WAIT"] == 0


# -- by Prometheus' own tool ------------------------------------------------------------------------------


PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool of Prometheus is not installed")
# Alert -> a series in steps of a minute that makes it fire by the end of the first hour, and a silent one.
FIRING = {
    "PytaskAbsent": ("pytask_slots", "0x60", "10x60"),
    "PytaskLeaseOld": ("pytask_lease_age_seconds", "30x60", "5x60"),
    "PytaskTakeover": ("pytask_takeover_seconds_count", "0x55 1+1x4", "0x60"),
    "PytaskTakeoverSlow": ('pytask_takeover_seconds_bucket{le="+Inf"}', "0+1x60", "0x60"),
    "PytaskFull": ("pytask_slots_used", "10x60", "5x60"),
    "PytaskWaiting": ('pytask_tasks{state="WAIT"}', "3x60", "0x60"),
    "PytaskErrors": ('pytask_tasks{state="ERROR",function="feed"}', "0+1x60", "5x60"),
    "PytaskRestarting": ('pytask_restarts_total{reason="failure",function="feed"}', "0+2x60", "0x60"),
    "PytaskDeaf": ('pytask_round_age_seconds{function="feed"}', "0+60x60", "5x60"),
    "PytaskLoopLag": ("pytask_loop_lag_seconds", "0.9x60", "0.01x60"),
    "PytaskStartSlow": ('pytask_start_latency_seconds_bucket{le="+Inf"}', "0+1x60", "0x60"),
    "PytaskRedisSlow": ("pytask_redis_seconds", "0.5x60", "0.001x60"),
    "PytaskTimersLate": ('pytask_timers_due_late_seconds_bucket{le="+Inf"}', "0+1x60", "0x60"),
    "PytaskOccurrencesSkipped": ('pytask_schedule_fires_total{outcome="late"}', "0+1x60", "0x60"),
    "PytaskEventsDropped": ("pytask_events_dropped_total", "0+1x60", "0x60"),
}
# What an expression reads beside the series of the alert; None: with the same values.  The lowest bucket of a
# histogram is empty, or its quantile would be below the threshold.
BESIDE = {
    "PytaskFull": {"pytask_slots": "10x60"},
    "PytaskWaiting": {
        "pytask_slots": "10x60", "pytask_slots_used": "4x60", "pytask_tasks_backing_off": "0x60",
    },
    "PytaskTakeoverSlow": {
        'pytask_takeover_seconds_bucket{le="120"}': "0x60", 'pytask_takeover_seconds_bucket{le="240"}': None,
    },
    "PytaskStartSlow": {
        'pytask_start_latency_seconds_bucket{le="5"}': "0x60",
        'pytask_start_latency_seconds_bucket{le="10"}': None,
    },
    "PytaskTimersLate": {
        'pytask_timers_due_late_seconds_bucket{le="10"}': "0x60",
        'pytask_timers_due_late_seconds_bucket{le="60"}': None,
    },
}  # fmt: skip


def promtool(*words, given=None):
    return subprocess.run(
        [PROMTOOL, *map(str, words)], capture_output=True, text=True, input=given, check=False, timeout=60
    )


@needs_promtool
def test_promtool_accepts_the_alerts():
    done = promtool("check", "rules", SHIPPED / "alerts.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_finds_nothing_in_a_live_page(daemon):
    url = place_of(daemon("--metrics", f"{HOST}:0"))
    with urllib.request.urlopen(url, timeout=30) as answer:
        done = promtool("check", "metrics", given=answer.read().decode())
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def given_series(alert, values):
    beside = {name: other or values for name, other in BESIDE.get(alert, {}).items()}
    all_of_them = {FIRING[alert][0]: values} | beside
    return [{"series": name, "values": shown} for name, shown in all_of_them.items()]


@needs_promtool
@pytest.mark.parametrize("alert", FIRING)
def test_each_alert_fires_and_is_silent(tmp_path, alert):
    rules = [
        rule
        for group in yaml.safe_load((SHIPPED / "alerts.yaml").read_text())["groups"]
        for rule in group["rules"]
        if rule["alert"] == alert
    ]
    assert len(rules) == 1
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": rules}]}))
    for values, firing in zip(FIRING[alert][1:], (1, 0), strict=True):
        asked = {
            "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
            "eval_time": "1h",
            "exp_samples": [{"labels": "{}", "value": firing}],
        }
        one = {"interval": "1m", "input_series": given_series(alert, values), "promql_expr_test": [asked]}
        tests = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [one]}
        (tmp_path / "test.yaml").write_text(yaml.safe_dump(tests))
        done = promtool("test", "rules", tmp_path / "test.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
