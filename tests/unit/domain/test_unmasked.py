"""Edited data in which secrets were masked."""

import pytest

from pytask.domain.secrets import MASK, masked, unmasked

ORIGINAL = {"key": "sesame", "n": 1, "api": {"token": "t", "url": "u"}, "list": [{"key": "a"}, {"key": "b"}]}
FIELDS = ("key", "api.token")


def test_what_was_left_as_it_was_shown_is_the_secret_again():
    assert unmasked(masked(ORIGINAL, FIELDS), ORIGINAL, FIELDS) == ORIGINAL


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        ({"key": "new"}, {"key": "new"}),
        ({"key": MASK, "n": 2}, {"key": "sesame", "n": 2}),
        ({"n": MASK}, {"n": MASK}),  # no secret field
        ({"api": {"token": MASK, "url": MASK}}, {"api": {"token": "t", "url": MASK}}),
        ({"list": [{"key": MASK}]}, {"list": [{"key": "a"}]}),
        ({"list": 3 * [{"key": MASK}]}, {"list": [{"key": "a"}, {"key": "b"}, {"key": MASK}]}),
        ({"other": {"key": MASK}}, {"other": {"key": MASK}}),  # nothing was there
        ([MASK], [MASK]),
        ("text", "text"),
    ],
)  # fmt: skip
def test_edits(edited, expected):
    assert unmasked(edited, ORIGINAL, FIELDS) == expected


def test_without_secret_fields_nothing_changes():
    assert unmasked({"key": MASK}, ORIGINAL, ()) == {"key": MASK}
