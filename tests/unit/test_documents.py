"""What the documents show is what the code says."""

import json
import re
import runpy
from importlib.metadata import distribution
from pathlib import Path

import pytest

import pytask.__main__
import pytask.entry
from pytask.domain.lifecycle import diagram
from pytask.domain.messages import Event
from pytask.domain.timing import Timing

ROOT = Path(__file__).parents[2]


def test_the_diagram_in_the_architecture_is_printed_from_the_table():
    assert f"```\n{diagram()}\n```" in (ROOT / "ARCHITECTURE.md").read_text()


def test_the_files_that_the_architecture_names_exist():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    names = {path.name for path in (ROOT / "pytask").rglob("*") if path.suffix in (".py", ".lua")}
    named = set(re.findall(r"\b([a-z_]+\.(?:py|lua))\b", text))
    assert len(named) > 30
    assert named <= names


def test_the_readme_lists_exactly_the_events_of_the_life_cycle():
    rows = re.findall(
        r"^\| `([a-z-]+)` \|", (ROOT / "README.md").read_text().split("| event |")[1], re.MULTILINE
    )
    assert rows == [str(event) for event in Event]


def test_the_times_in_the_readme_are_the_defaults():
    text = (ROOT / "README.md").read_text()
    timing = Timing()
    recovery = timing.expiry + 2 * timing.sweep + timing.heartbeat
    for seconds in (timing.lease, timing.kill, timing.expiry, recovery):
        assert f"{seconds:g} s" in text


def test_the_distribution_is_named_apart_from_the_other_pytask():
    ours = distribution("pytaskd").entry_points
    found = {script.name: script.load() for script in ours if script.group == "console_scripts"}
    assert found == {"pytask": pytask.__main__.main, "pytaskd": pytask.entry.main}


def test_the_data_in_the_readme_is_json():
    (data,) = re.findall(r"data '(\{.*?\})'", (ROOT / "README.md").read_text())
    assert json.loads(data) == {"name": "kitchen"}


def test_the_page_of_the_command_line_is_made_from_the_program():
    made = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))["manual"]()
    assert (ROOT / "docs" / "cli.md").read_text() == made, "run: python docs/make_cli.py > docs/cli.md"


def test_patching_is_written_as_it_works_everywhere():
    """`import gevent; gevent.monkey.patch_all()` raises AttributeError in a fresh interpreter."""
    folders = ("docs", "examples", "pytask", "conformance", "benchmarks")
    files = [
        path for name in folders for path in (ROOT / name).rglob("*") if path.suffix in (".md", ".py", ".txt")
    ]
    for path in [ROOT / "README.md", *files]:
        assert "gevent.monkey.patch_all" not in path.read_text("utf-8"), path


def test_the_glossary_defines_each_term_once():
    rows = re.findall(
        r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE
    )
    terms = [term for row in rows for term in row.split(", ") if term not in ("term", "---")]
    assert len(terms) == len(set(terms))
    services = {
        "consumer",
        "executor",
        "committer",
        "controller",
        "heartbeat",
        "presence",
        "prestart",
        "monitor",
    }
    assert services <= set(terms)
    assert {"run", "claim", "lease", "epoch", "fencing", "embargo", "quarantine", "poison"} <= set(terms)


DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_is_listed_and_names_tests_that_are_there(page):
    text = page.read_text("utf-8")
    assert f"]({page.name})" in (ROOT / "docs" / "decisions" / "README.md").read_text("utf-8")
    named = re.findall(r"^- `(tests/\w+)`: `(\w+)`$", text, re.MULTILINE)
    assert named
    for folder, name in named:
        sources = (path.read_text("utf-8") for path in (ROOT / folder).rglob("test_*.py"))
        assert any(f"def {name}(" in source for source in sources), name


def test_the_files_that_contributors_are_sent_to_are_there():
    named = re.findall(r"`([\w./-]+/[\w./-]*)`", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    made = {"build/site", "build/release"}  # by dev.py
    assert len(named) > 20
    for path in {*named} - made:
        assert (ROOT / path).exists() or (ROOT / "pytask" / path).exists(), path
