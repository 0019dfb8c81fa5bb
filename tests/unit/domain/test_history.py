"""Lines of a task's history: written as one word each, read whatever stands there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytask.domain.history import (
    MOST_BYTES,
    Facts,
    Transition,
    added,
    escaped,
    expired_because,
    parked_because,
    read,
    tail,
    why,
)
from pytask.domain.lifecycle import ENDED, ERROR, RUNNING, STOPPED, WAIT, Trigger

TEXTS = st.text("aZ09 %-\n\r\t\x00\x1b\x7f\x9b\u2028\u202eä€😀", max_size=300)


def test_there_and_back():
    line = tail("RUNNING", "WAIT", "expire", "yew 1", "lease of 100% lärch\nsilent")
    assert line == "RUNNING WAIT expire yew%201 lease%20of%20100%25%20l%C3%A4rch%0Asilent"
    (one,) = read(added(b"", 1_700_000_000_123, line, 16).decode())
    assert one == Transition(
        at=1_700_000_000.123, source="RUNNING", target="WAIT", trigger="expire", who="yew 1",
        why="lease of 100% lärch\N{REPLACEMENT CHARACTER}silent",
    )  # fmt: skip


@given(TEXTS, TEXTS)
def test_any_text_is_one_word_and_never_steers_a_terminal(who, reason):
    (one,) = read(added(b"", 1, tail("a", "b", "c", who, reason), 1).decode())
    assert (one.source, one.target, one.trigger) == ("a", "b", "c")
    assert (one.who + one.why).isprintable()


@given(TEXTS)
def test_whatever_stands_there_is_read(text):
    assert all(one.at >= 0 for one in read(text))


@given(st.integers(1, 20), st.lists(TEXTS, max_size=40))
def test_bounded_in_lines_and_bytes(kept, reasons):
    lines = b""
    for at, reason in enumerate(reasons):
        lines = added(lines, at, tail("a", "b", "c", "w", reason), kept)
        assert len(lines) <= MOST_BYTES
        assert lines.count(b"\n") <= kept
        assert read(lines.decode())[-1].at == at / 1000


@pytest.mark.parametrize(
    "line", ["", "1 2 3", "x a b c - -", "-1 a b c - -", "1" * 14 + " a b c - -", "² a b c - -"]
)
def test_no_line(line):
    assert read(line) == ()


def test_reasons():
    assert escaped("", 9) == "-"
    assert escaped("a" * 9, 4) == "aaaa"
    assert parked_because("watch-ulr", ["watch-url"]).endswith("`watch-ulr` (did you mean watch-url?)")
    assert parked_because("f") == "no such task on the worker: `f`"
    assert expired_because("larch", 90.9) == "lease of larch silent for 90 s"
    assert expired_because(None, None) == "lease of ? silent for ? s"


def told(moves=(), **facts):
    state = facts.pop("state")
    return why(Facts(id="a", state=state, **facts), moves)


def move(target, trigger, who="yew", reason=""):
    return Transition(at=1.0, source="RUNNING", target=target, trigger=trigger, who=who, why=reason)


def test_why_it_waits():
    lease = move(WAIT, Trigger.EXPIRE, reason="lease of larch silent for 90 s")
    assert told(state=WAIT, place=3) == "WAIT: it waits for a worker; number 3 in the queue"
    assert told([lease], state=WAIT, crashes=2) == (
        "WAIT: it waits for a worker, put back by yew: lease of larch silent for 90 s; workers died under it"
        " (2), so a worker takes one such task at a time"
    )
    parked = move(WAIT, Trigger.PARK, reason=parked_because("watch-ulr", ["watch-url"]))
    assert "parked until a worker knows its function" in told([lease, parked], state=WAIT)
    assert "did you mean watch-url?" in told([lease, parked], state=WAIT)


def test_why_it_runs():
    assert told(state=RUNNING, worker="larch", silent=4.0) == "RUNNING: it runs on larch"
    assert "silent for 50 s; a monitor hands it on in about 40 s" in told(state=RUNNING, silent=50.0)
    assert "at any moment, if a monitor runs" in told(state=RUNNING, silent=100.0)
    assert "asked to stop, which has not been carried out yet" in told(state=RUNNING, control="stop")


def test_why_it_rests():
    assert told(state=ENDED).startswith("ENDED: its start() returned")
    assert told(state=ERROR, error="boom\nTraceback") == "ERROR: it failed: boom"
    assert told([move(STOPPED, Trigger.STOP)], state=STOPPED) == "STOPPED: it was stopped by yew"
    assert told(state=None).startswith("there is no task 'a'")
