"""Words on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytask.domain.messages import MAX_ID_BYTES, Command, IdFault, read_command, read_id


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "42",
        "a b",
        "ü",
        "日本",
        "🙂",
        "a:b",
        "{tag}:1",
        "x-control",
        "new-task2",
        "New-task",
        "pytask",
        " ",
    ],
)
def test_ids_that_can_be_tasks(text):
    assert read_id(text.encode()) == text


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", IdFault.EMPTY),
        (b"a" * 513, IdFault.LONG),
        ("ü".encode() * 257, IdFault.LONG),
        (b"\xff", IdFault.ENCODING),
        (b"a\xc3", IdFault.ENCODING),
        (b"\xed\xa0\x80", IdFault.ENCODING),
        (b"a\nb", IdFault.CONTROL),
        (b"\x00", IdFault.CONTROL),
        (b"a\x7f", IdFault.CONTROL),
        ("a\u0085b".encode(), IdFault.CONTROL),
        ("a\u2028b".encode(), IdFault.CONTROL),
        ("\u2029".encode(), IdFault.CONTROL),
        (b"new-task", IdFault.RESERVED),
        (b"pytask:", IdFault.RESERVED),
        (b"pytask:runs", IdFault.RESERVED),
    ],
)
def test_ids_that_cannot(raw, fault):
    assert read_id(raw) is fault


@given(st.binary(max_size=600))
def test_whatever_is_pushed_is_an_id_or_a_reason(raw):
    found = read_id(raw)
    if isinstance(found, IdFault):
        return
    assert found.encode() == raw
    assert 0 < len(raw) <= MAX_ID_BYTES
    assert len(found.splitlines()) == 1
    assert not found.startswith("pytask:")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=100))
def test_plain_text_is_an_id(text):
    if not text.startswith("pytask:") and text != "new-task":
        assert read_id(text.encode()) == text


def test_the_longest_id():
    assert read_id(b"a" * MAX_ID_BYTES) == "a" * MAX_ID_BYTES


@pytest.mark.parametrize("command", list(Command))
def test_the_three_commands(command):
    assert read_command(command.value.encode()) is command


@pytest.mark.parametrize(
    "payload", [b"", b"STOP", b"stop\n", b" stop", b"halt", b'"stop"', b"\xff", "stop", None, 1]
)
def test_anything_else_is_no_command(payload):
    assert read_command(payload) is None
