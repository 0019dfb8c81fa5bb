"""The reference has a section for every public name, and an example on every page."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

import pytask
import pytask.aio
import pytask.client
import pytask.testing
from pytask.client import reader
from pytask.domain import errors as domain_errors

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"
PAGES = {page.name: page.read_text("utf-8") for page in sorted(FOLDER.glob("*.md"))}
SECTIONS = re.findall(r"^::: (\S+)$", "\n".join(PAGES.values()), re.MULTILINE)
IN_WORDS = {"pytask.__version__", "pytask.client.Client"}  # told in the table, and a second name of one


def names():
    yield from (f"pytask.{name}" for name in pytask.__all__)
    yield from (f"pytask.client.{name}" for name in pytask.client.__all__)
    yield "pytask.aio.Client"
    yield from (f"pytask.testing.{name}" for name in pytask.testing.__all__ if name != "Looks")


@pytest.mark.parametrize("name", sorted({*names()} - IN_WORDS))
def test_every_public_name_has_a_section(name):
    assert SECTIONS.count(name) == 1


def test_every_record_that_a_client_returns_has_a_section():
    calls = [call for name, call in inspect.getmembers(pytask.Client, inspect.isfunction) if name[0] != "_"]
    words = {word for call in calls for word in re.findall(r"\w+", str(call.__annotations__.get("return")))}
    found = {f"pytask.client.{word}" for word in words if attrs.has(getattr(reader, word, None))}
    assert {"pytask.client.TaskInfo", "pytask.client.Sample"} <= found <= set(SECTIONS)


def test_the_version_is_reported():
    assert "`pytask.__version__`" in PAGES["README.md"]


@pytest.mark.parametrize("page", sorted(PAGES.keys() - {"README.md"}))
def test_every_page_is_listed_and_has_an_example(page):
    assert f"]({page}" in PAGES["README.md"]
    assert re.search(r"^```python \w+_example\.py$", PAGES[page], re.MULTILINE)


def test_each_field_of_a_record_is_described():
    """The site takes the descriptions from comments: those of settings and times may not be missing."""
    for kind in (pytask.Settings, pytask.Timing):
        source = inspect.getsource(kind)
        fields = re.findall(r"^    (\w+): .*= .*$", source, re.MULTILINE)
        documented = re.findall(r'^    (\w+): [^#]*?(?:  # |\n    """)', source, re.MULTILINE)
        assert fields == documented, kind


def test_errors_have_a_code_and_a_description():
    kinds = [kind for _, kind in inspect.getmembers(pytask.errors, inspect.isclass)]
    assert len(kinds) > 30
    assert all(kind.__doc__ and re.fullmatch(r"PT\d{3}", kind.code) for kind in kinds)


def test_the_example_of_a_test_is_one():
    """In a process of its own: it has to be patched."""
    (text,) = re.findall(
        r"^```python testing_example\.py\n(.*?)^```$", PAGES["testing.md"], re.DOTALL | re.MULTILINE
    )
    program = f"from gevent import monkey\nmonkey.patch_all()\n{text}\ntest_double()\nprint('right')\n"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "right\n"


def test_the_public_modules_are_there_without_an_import_of_their_own():
    code = "import pytask; print(pytask.aio.Client, pytask.errors.TimedOut, pytask.testing.MemoryBackend)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_module_of_errors_has_all_of_them():
    found = vars(domain_errors).values()
    own = {one.__name__ for one in found if isinstance(one, type) and issubclass(one, Exception)}
    assert set(pytask.errors.__all__) == own
