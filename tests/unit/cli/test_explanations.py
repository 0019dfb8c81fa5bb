"""`pytask explain`: every code that pytask prints anywhere has a long text."""

import inspect
import re
from pathlib import Path

import pytest

import pytask
from pytask.cli.messages import explanations
from pytask.domain import errors

SOURCES = [
    path
    for path in Path(pytask.__file__).parent.rglob("*")
    if path.suffix in (".py", ".lua") and path.is_file()
]
CODES = {cls.code for _, cls in inspect.getmembers(errors, inspect.isclass)}
PRINTED = {code for path in SOURCES for code in re.findall(r"\bPT\d{3}\b", path.read_text("utf-8"))}


def test_the_table_is_complete_and_has_nothing_else():
    assert set(explanations()) == CODES | PRINTED


def test_no_two_errors_share_a_code():
    own = [
        cls.code
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.PytaskError) and "code" in vars(cls)
    ]
    assert len(own) == len(set(own))


@pytest.mark.parametrize("code", sorted(explanations()))
def test_each_says_what_why_and_the_fix(cli, code):
    title, *lines = explanations()[code].splitlines()
    assert title
    assert len(lines) >= 2
    assert any(line.startswith("  Fix: ") for line in lines)
    assert max(len(line) for line in lines) <= 118
    shown = cli("explain", code)
    assert (shown.exit_code, shown.stdout) == (0, f"{code}  {explanations()[code]}\n")


@pytest.mark.parametrize("written", ["pt051", "[PT051]", "51", "051", "pt51", "PT51"])
def test_a_code_may_be_written_as_people_do(cli, written):
    assert cli("explain", written).stdout.startswith("PT051  No answer from Redis\n")


def test_an_unknown_code_is_a_usage_error_and_none_lists_them(cli):
    assert cli("explain", "PT999").exit_code == 2
    assert len(cli("explain").stdout.splitlines()) == len(explanations())
