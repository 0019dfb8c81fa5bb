"""Lines of a task's history: one word per part when written; any text can be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytask.domain.history import (
    MOST_BYTES,
    Transition,
    added,
    died_because,
    escaped,
    expired_because,
    parked_because,
    read,
    tail,
)

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
    assert died_because("larch") == "death of larch"
    assert died_because(None) == "death of ?"
