"""The error of code that cannot run, as one line."""

import pytest

from pytask.dev.complaint import MOST, complaint

TRACEBACK = """\
pytask: [PT026] tasks.py cannot be imported; it raised:
  Traceback (most recent call last):
    File "/app/tasks.py", line 3, in <module>
      import feeds
    File "/app/feeds.py", line 7, in <module>
      limit = int("many")
  ValueError: invalid literal for int() with base 10: 'many'
"""
NUMBER = "/app/feeds.py:7: ValueError: invalid literal for int() with base 10: 'many'"
SYNTAX = """\
pytask: [PT026] tasks.py cannot be imported; it raised:
    File "/app/tasks.py", line 4
      def start(self:
               ^
  SyntaxError: '(' was never closed
"""
REFUSED = """\
loading
pytask: [PT021] two classes are called 'tick'
  raised at /app/tasks.py, line 12
"""


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (TRACEBACK, NUMBER),
        (SYNTAX, "/app/tasks.py:4: SyntaxError: '(' was never closed"),
        (REFUSED, "/app/tasks.py:12: [PT021] two classes are called 'tick'"),
        (REFUSED + TRACEBACK, NUMBER),
        ("pytask: [PT020] max_tasks must be positive\n", "[PT020] max_tasks must be positive"),
        (TRACEBACK.partition("\n")[2], NUMBER),
        ("one\ntwo\n\nthree\nfour\n", "was killed by SIGSEGV; two; three; four"),
        ("", "was killed by SIGSEGV"),
    ],
)  # fmt: skip
def test_it_names_file_line_and_error(printed, expected):
    assert complaint(printed, "was killed by SIGSEGV") == expected


def test_it_is_short_whatever_is_raised():
    assert len(complaint(f"pytask: {'x' * 10_000}", "")) == MOST
