"""Tables and texts on a narrow terminal: no word is broken, and nothing is cut off."""

import pytest

from pytask.cli.columns import rows_of, widths
from pytask.cli.messages import explanations, unfilled

NAMES = ["web-worker-7f9c-12345", "ip-10-0-0-12.eu-west-1.compute.internal", "short"]


@pytest.mark.parametrize("width", [200, 80, 60, 46])
def test_what_is_too_broad_goes_on_in_the_next_line(width):
    lines = [["ID", "NAME", "HOST"], *(["0f3b2c1d4e5f60718293a4b0", name, NAMES[1]] for name in NAMES)]
    fitting = widths(lines, [True, False, False], width)
    for line in lines:
        drawn = rows_of(line, fitting)
        assert "".join(part[0] for part in drawn).strip() == line[0]
        assert len({part[0].strip() for part in drawn} - {""}) == 1  # an id stays on one line
        for at, cell in enumerate(line):
            pieces = [part[at].strip() for part in drawn if part[at].strip()]
            assert "".join(pieces) == cell
            assert all(piece[-1] in "-." for piece in pieces[:-1])
        assert all(len("  ".join(part)) <= width for part in drawn)
    assert fitting[0] == 24


def test_a_title_is_never_broken():
    assert widths([["MONITOR", "HOST"], ["yes", "a-b-c-d-e"]], [False, False], 10) == [7, 4]


@pytest.mark.parametrize("code", sorted(explanations()))
def test_a_text_that_is_filled_again_has_the_same_words_and_its_commands_on_lines_of_their_own(code):
    text = explanations()[code]
    found = unfilled(text)
    assert found.split() == text.split()
    starts = [line.strip() for line in text.split("\n") if line.strip().startswith(("Fix:", "then: "))]
    assert all(any(line.strip().startswith(start[:20]) for line in found.split("\n")) for start in starts)
