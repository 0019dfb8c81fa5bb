"""The metrics of workers, made from their figures."""

import json

import pytest

from pytask.domain import figures, metrics
from pytask.domain.errors import ConfigError
from pytask.domain.figures import MEASURED, WorkerInfo
from pytask.domain.metrics import Histogram, RestartReason, listen_address
from pytask.domain.worker_metrics import Entry, Totals, published


def info(name="w", **figures_):
    return WorkerInfo(session=name, name=name, functions=("a", "b"), started=1.0, **figures_)


def shown(totals, *entries):
    """The series by name and labels."""
    return {
        (family.metric.name, *labels): value
        for family in totals.families(entries)
        for labels, value in family.series.items()
    }


def test_every_series_is_there_before_anything_has_happened():
    found = shown(Totals(), Entry(info()))
    for metric in MEASURED.values():
        known = metrics.known_values(("a", "b"))
        assert metrics.zeros(metric, known).keys() <= {
            labels[1:] for labels in found if labels[0] == metric.name
        }
    assert found["pytask_tasks", "RUNNING", "a"] == 0
    assert {key[2] for key in found if key[:2] == ("pytask_restarts", "b")} == set(RestartReason)
    assert found["pytask_schedule_fires", "overlap"] == 0
    assert set(found["pytask_takeover_seconds",].counts) == {0}


def test_no_label_is_an_id():
    allowed = {"state", "function", "reason", "outcome"}
    assert {label for metric in MEASURED.values() for label in metric.shown_labels} == allowed


def test_workers_are_summed_and_ages_are_those_of_the_worst():
    first = info("v", runs={"a": 2}, lease_age=3.0, tasks=2, max_tasks=5, round_age={"a": 1.0}, lag=0.5)
    second = info("w", runs={"a": 1, "b": 1}, lease_age=1.0, tasks=2, max_tasks=5, round_age={"a": 9.0})
    found = shown(Totals(), Entry(first), Entry(second))
    assert (found["pytask_tasks", "RUNNING", "a"], found["pytask_tasks", "RUNNING", "b"]) == (3, 1)
    assert (found["pytask_slots",], found["pytask_slots_used",]) == (10, 4)
    assert (found["pytask_lease_age_seconds",], found["pytask_loop_lag_seconds",]) == (3.0, 0.5)
    assert (found["pytask_round_age_seconds", "a"], found["pytask_round_age_seconds", "b"]) == (9.0, 0)


def test_the_partitions_of_a_worker_share_its_slots():
    found = shown(Totals(), *(Entry(info(max_tasks=5, tasks=2), at) for at in range(3)))
    assert (found["pytask_slots",], found["pytask_slots_used",]) == (5, 6)


def test_counters_never_go_back_as_workers_come_and_go():
    totals = Totals()
    one = info("v", dropped=5, restarted={"a": {"death": 2}}, rounds=Histogram((1,) * 11, 3.0))
    two = info("w", dropped=1, restarted={"a": {"death": 1}}, rounds=Histogram((1,) * 11, 1.0))
    assert shown(totals, Entry(one), Entry(two))["pytask_events_dropped",] == 6
    found = shown(totals, Entry(two))
    assert (found["pytask_events_dropped",], found["pytask_restarts", "a", "death"]) == (6, 3)
    assert found["pytask_round_seconds",] == Histogram((2,) * 11, 4.0)
    assert shown(totals)["pytask_events_dropped",] == 6
    assert shown(totals, Entry(info("v", dropped=5)))["pytask_events_dropped",] == 11  # it has counted anew


def test_a_silent_worker_has_counted_but_has_no_slots():
    found = shown(Totals(), Entry(info(dropped=5, max_tasks=9, lease_age=80.0), alive=False))
    assert (found["pytask_events_dropped",], found["pytask_slots",]) == (5, 0)


def test_a_new_session_of_a_worker_is_not_counted_twice():
    newer, older = info(dropped=7), info(dropped=5)
    totals = Totals()
    assert shown(totals, Entry(newer), Entry(older, alive=False))["pytask_events_dropped",] == 7
    assert shown(totals, Entry(newer))["pytask_events_dropped",] == 7


def test_histograms_of_another_release_are_left_out():
    assert Histogram((1, 2), 1.0).plus(Histogram((1,), 5.0)) == Histogram((1, 2), 1.0)
    assert sum(shown(Totals(), Entry(info(rounds=Histogram((1,), 5.0))))["pytask_round_seconds",].counts) == 0


def test_what_is_published_comes_back():
    one = info("v", dropped=5, restarted={"a": {"death": 2}}, rounds=Histogram((1,) * 11, 3.0), lag=0.1)
    back = WorkerInfo(**figures.read(json.loads(json.dumps(published(one)))))
    assert shown(Totals(), Entry(back)) == shown(Totals(), Entry(one))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9100", ("127.0.0.1", 9100)),
        (":9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),
        ("[::1]:0", ("::1", 0)),
        ("metrics.local:80", ("metrics.local", 80)),
    ],
)
def test_an_address(text, place):
    assert listen_address(text) == place


@pytest.mark.parametrize("text", ["", "localhost", "9100x", "1:2:", "70000", "*:9100", "::1:port", "٣"])
def test_no_address(text):
    with pytest.raises(ConfigError, match=r"metrics must be a port, or HOST:PORT, not .* such as 9100"):
        listen_address(text)
