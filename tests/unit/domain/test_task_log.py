"""Log lines and progress reports: which values are accepted, and what is cut."""

import math

import pytest

from pytask.domain.errors import BadData
from pytask.domain.secrets import MASK
from pytask.domain.task_log import CUT, NOTE_MOST, TEXT_MOST, amounts, progress_of, shortened, with_short_note


def test_what_fits_is_left_as_it_is():
    for text in ("", "x", "ü" * TEXT_MOST):
        assert shortened(text) == text


def test_of_what_is_too_long_the_beginning_and_the_end_are_kept():
    cut = shortened("a" * 5000 + "the end")
    assert len(cut) <= TEXT_MOST
    assert cut.startswith("aaa")
    assert cut.endswith("aaathe end")
    assert CUT in cut


@pytest.mark.parametrize(
    ("given", "expected", "text"),
    [
        ((3,), {"done": 3}, "3"),
        ((3, 10), {"done": 3, "total": 10}, "3/10 (30 %)"),
        ((0.25, 1, "half of the half"), {"done": 0.25, "total": 1, "note": "half of the half"}, None),
        ((0, 0), {"done": 0, "total": 0}, "0/0"),
        ((12, 10), {"done": 12, "total": 10}, "12/10 (120 %)"),
        ((1, None, "x" * 500), {"done": 1, "note": "x" * 500}, None),
        ((1, None, "\ud800"), {"done": 1, "note": "?"}, "1 ?"),
    ],
)
def test_a_progress(given, expected, text):
    assert progress_of(*given) == expected
    if text is not None:
        assert amounts(expected) == text


def test_a_note_is_masked_before_it_is_cut():
    report = progress_of(1, None, "x" * (NOTE_MOST - 3) + "secret-value" + "y" * 500)
    note = with_short_note(report, ("secret-value",))["note"]
    assert note == ("x" * (NOTE_MOST - 3) + MASK)[:NOTE_MOST]
    assert "sec" not in note
    assert with_short_note({"done": 1}, ("1",)) == {"done": 1}


@pytest.mark.parametrize(
    "given",
    [("3",), (True,), (-1,), (math.nan,), (math.inf,), (None,), (2**60,), (1, "2"), (1, -2), (1, 2, 3)],
)
def test_what_is_no_progress_says_so(given):
    with pytest.raises(BadData, match="progress"):
        progress_of(*given)
