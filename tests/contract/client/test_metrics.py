"""The page of the fleet's metrics."""

import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pytask.domain import lifecycle as life
from pytask.domain.errors import MissingExtra, Unavailable
from pytask.domain.figures import MEASURED, WorkerInfo
from pytask.domain.lifecycle import State
from pytask.metrics import wsgi
from tests.contract.client.faces import populate


def samples(page):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def announce(both, name, **figures):
    info = WorkerInfo(session=name, name=name, host="h", pid=1, functions=("f", "g"), started=1.0, **figures)
    both.bench.store.announce(info)


@pytest.mark.wire
def test_the_page_counts_all_tasks_by_state_and_function(both):
    made = populate(both)
    announce(both, "w", runs={"f": 1}, dropped=3, max_tasks=9)
    found = samples(both.client.metrics()[0])
    by_state = dict.fromkeys(State, 0)
    for (name, *labels), value in found.items():
        if name == "pytask_tasks":
            by_state[labels[1]] += value
    count = both.client.count()
    assert by_state == count.states
    assert by_state[life.ENDED] == len(made[life.ENDED])
    # Those of which the function was read, and those that a worker tells.
    assert found["pytask_tasks", "f", life.RUNNING] == 1
    assert sum(value for key, value in found.items() if key[::2] == ("pytask_tasks", life.ERROR)) > 0
    assert found["pytask_tasks", "g", life.ERROR] == found["pytask_tasks", "g", life.WAIT] == 0
    assert found["pytask_slots",] == 9
    assert {metric.name for metric in MEASURED.values()} <= {
        key[0].removesuffix("_total").removesuffix("_count") for key in found
    }


def test_the_functions_of_what_waits_and_has_failed_are_read(both):
    for number in range(3):
        both.bench.push(f"w{number}", function="f")
    both.bench.push("p", function="unknown")
    both.bench.claim(both.bench.ref("p"))
    both.bench.store.park("p", "unknown", b"{}")
    found = samples(both.client.metrics()[0])
    assert found["pytask_tasks", "f", life.WAIT] == 3
    assert found["pytask_tasks", "unknown", life.WAIT] == 1
    assert found["pytask_tasks", "", life.WAIT] == 0


def test_the_oldest_lease_is_that_of_all_runs(both):
    both.bench.running("a")
    both.bench.running("b")
    both.bench.set_lease("a", both.bench.now() - 50_000_000)
    assert 50 <= samples(both.client.metrics()[0])["pytask_lease_age_seconds",] < 80


def test_counters_stay_when_a_worker_leaves(both):
    announce(both, "v", dropped=3)
    announce(both, "w", dropped=4)
    assert samples(both.client.metrics()[0])["pytask_events_dropped_total",] == 7
    both.bench.store.leave("v")
    assert samples(both.client.metrics()[0])["pytask_events_dropped_total",] == 7


def test_an_empty_fleet_has_a_page(both):
    found = samples(both.client.metrics()[0])
    assert found["pytask_slots",] == found["pytask_events_dropped_total",] == 0
    assert found["pytask_tasks", "", life.WAIT] == 0


def test_more_than_are_read_have_no_function(real):
    real.bench.raw.zadd(real.bench.keys.index(life.ERROR), {f"t{number}": number for number in range(1500)})
    found = samples(real.client.metrics()[0])
    assert found["pytask_tasks", "", life.ERROR] == 1500


# -- WSGI ---------------------------------------------------------------------------------------------


def ask(page, method="GET", **environ):
    told = []
    body = b"".join(wsgi.app(page)({"REQUEST_METHOD": method, **environ}, lambda *words: told.append(words)))
    ((status, headers),) = told
    return status, dict(headers), body


def test_as_a_wsgi_application():
    seen = []

    def page(accept):
        seen.append(accept)
        return b"# nothing\n", "text/plain; version=0.0.4"

    status, headers, body = ask(page, HTTP_ACCEPT="text/plain")
    assert (status, body, seen) == ("200 OK", b"# nothing\n", ["text/plain"])
    assert headers == {"Content-Type": "text/plain; version=0.0.4", "Content-Length": "10"}
    assert ask(page, "HEAD")[2] == b""
    assert ask(page, "POST")[0].startswith("405")


@pytest.mark.parametrize(("error", "status"), [(Unavailable("away"), "503"), (MissingExtra("pip"), "501")])
def test_a_scrape_that_fails_says_why(error, status):
    def page(_accept):
        raise error

    found, _, body = ask(page)
    assert found.startswith(status)
    assert str(error) in body.decode()


def test_the_extra_is_needed(monkeypatch):
    import pytask

    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtra, match="prometheus-client"):
        pytask.Client("redis://127.0.0.1:1").metrics()
