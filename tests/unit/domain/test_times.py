"""Times as people read them."""

import pytest

from pytask.domain.wording import ago, at


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (0.9, "0s"),
        (-5, "0s"),
        (60, "1m"),
        (3 * 3600 + 1260, "3h21m"),
        (4 * 86400 + 7300, "4d2h"),
        (float("inf"), "2932896d23h"),
        (float("-inf"), "0s"),
    ],
)
def test_a_span_has_two_figures(seconds, text):
    assert ago(seconds) == text


def test_a_time_is_shown_in_utc_whatever_somebody_wrote_there():
    assert at(1700000000.9) == "2023-11-14 22:13:20Z"
    assert at(1700000000.0456, millis=True) == "2023-11-14 22:13:20.045Z"
    assert at(0) is None
    assert at(float("nan")) == "nan s after 1970"
    assert at(-1.0, millis=True) == "-1 s after 1970"
    assert at(2.0**53 - 1) == "9007199254740991 s after 1970"
