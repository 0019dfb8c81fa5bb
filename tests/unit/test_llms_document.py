"""docs/llms.txt: made from the documentation, and its links lead to pages."""

import re
import runpy
from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="the group `test` is not installed")
ROOT = Path(__file__).parents[2]
MADE = runpy.run_path(str(ROOT / "docs" / "make_llms.py"))
TEXT = (ROOT / "docs" / "llms.txt").read_text("utf-8")
LINKS = re.findall(r"^- \[([^\]]+)\]\(([^)]+)\)(?:: (.+))?$", TEXT, re.MULTILINE)


def test_it_is_made_from_the_documentation():
    assert MADE["text"]() == TEXT, "run: python docs/make_llms.py > docs/llms.txt"


def test_it_has_the_form_that_models_are_told_to_expect():
    assert TEXT.startswith("# pytask\n\n> ")
    others = [line for line in TEXT.splitlines()[3:] if line and not line.startswith("- ")]
    assert others
    assert all(line.startswith("## ") for line in others)
    assert len(LINKS) == sum(line.startswith("- ") for line in TEXT.splitlines())


def test_every_link_leads_to_a_page_and_no_page_is_missing():
    pages = [page for _, page, _ in LINKS]
    assert len(pages) == len(set(pages))
    for page in pages:
        assert MADE["source_of"](page).is_file(), page
    nav = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    assert sorted(pages) == sorted(re.findall(r"[\w/-]+\.md", nav))


def test_pages_from_outside_are_those_of_the_site():
    hooks = (ROOT / "docs" / "site_hooks.py").read_text("utf-8")
    listed = hooks.partition("\nPAGES = ")[2].partition("\n}")[0]
    assert dict(re.findall(r'"([\w/]+\.md)": "(\w+\.md)"', listed)) == {
        source: page for page, source in MADE["OUTSIDE"].items()
    }


def test_most_pages_are_described():
    assert sum(bool(said) for _, _, said in LINKS) > len(LINKS) * 0.7


@pytest.mark.parametrize(
    ("markdown", "sentence"),
    [
        ("# A\n\nOne `b.c` here. Two.\n", "One `b.c` here."),
        ("# A\n\n```\ncode\n```\n\n[This](x.md) is **it**. Look\n", "This is it."),
        ("# A\n", ""),
    ],
)
def test_the_first_sentence(markdown, sentence):
    assert MADE["first_sentence"](markdown) == sentence
