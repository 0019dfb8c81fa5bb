"""The text of a page, and how a scrape is answered."""

import socket
import sys
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pytask.domain.errors import MissingExtra
from pytask.domain.figures import WorkerInfo
from pytask.domain.metrics import Histogram
from pytask.domain.worker_metrics import Entry, Totals
from pytask.metrics import http, page

INFO = WorkerInfo(
    session="s", functions=("a", 'b"\n\\'), runs={"a": 2}, restarted={"a": {"death": 3}}, max_tasks=7,
    rounds=Histogram((1, 0, 2, *(0,) * 8), 0.25), fires={"started": 4}, dropped=5,
)  # fmt: skip


def families():
    return Totals().families([Entry(INFO)])


def samples(text):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_a_page_in_the_text_format():
    text, kind = page.write(families())
    found = samples(text)
    assert kind.startswith("text/plain; version=")
    assert found["pytask_tasks", "a", "RUNNING"] == 2
    assert found["pytask_tasks", 'b"\n\\', "RUNNING"] == 0
    assert found["pytask_restarts_total", "a", "death"] == 3
    assert found["pytask_schedule_fires_total", "started"] == 4
    assert found["pytask_events_dropped_total",] == 5
    assert found["pytask_round_seconds_bucket", "0.025"] == 1
    assert found["pytask_round_seconds_bucket", "+Inf"] == found["pytask_round_seconds_count",] == 3
    assert found["pytask_round_seconds_sum",] == 0.25
    assert b"_created" not in text


def test_openmetrics_for_those_who_ask():
    text, kind = page.write(families(), "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_a_name_that_is_no_text_does_not_spoil_the_page():
    odd = WorkerInfo(session="s", functions=("\udcff",), runs={"\udcff": 1})
    text, _ = page.write(Totals().families([Entry(odd)]))
    assert samples(text)["pytask_tasks", "?", "RUNNING"] == 1


def test_without_the_extra_the_fix_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtra, match=r"PT195\].*pip install 'pytaskd\[metrics\]'"):
        page.require()
    assert ask(b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 501 ")


def ask(request, collect=families):
    """What is answered to these bytes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        served = threading.Thread(target=http.answer, args=(theirs, collect))
        served.start()
        ours.sendall(request)
        ours.shutdown(socket.SHUT_WR)
        served.join()
        theirs.close()
        answered = b""
        while chunk := ours.recv(65536):
            answered += chunk
    return answered


def test_a_scrape_over_http():
    head, _, body = ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\naccept: */*\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain")
    assert f"Content-Length: {len(body)}".encode() in head
    assert samples(body)["pytask_slots",] == 7
    shown, _, nothing = ask(b"HEAD / HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert (shown, nothing) == (head, b"")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /other HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics?x=1 HTTP/1.1\r\n\r\n", b"200"),
        (b"", b"405"),
        (b"\xff" * 9_000, b"405"),
    ],
)
def test_other_requests(request_, status):
    assert ask(request_).startswith(b"HTTP/1.1 " + status)


def test_a_fault_of_ours_is_logged_and_answered(caplog):
    assert ask(b"GET /metrics HTTP/1.1\r\n\r\n", lambda: 1 / 0).startswith(b"HTTP/1.1 500 ")
    assert "could not be made" in caplog.text


def test_who_speaks_http():
    for text, speaks in (
        (b"GET / HTTP/1.1\r\n", True),
        (b"HEAD /", True),
        (b"health\n", False),
        (b"", False),
    ):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(text)
            assert http.is_request(theirs) is speaks
            if not speaks:  # it was read: what is not would take the answer with it
                theirs.close()
                assert ours.recv(9) == b""
