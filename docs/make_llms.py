"""Generates the list of pages for language models: `python docs/make_llms.py > docs/llms.txt`.

The order and the titles are those of the site (`nav` in mkdocs.yml), each sentence the first of its page.
The links lead to the Markdown that the site has beside each page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent
# Pages from outside of docs/, as docs/site_hooks.py adds them.
OUTSIDE = {
    "index.md": "README.md",
    "architecture.md": "ARCHITECTURE.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "benchmarks.md": "benchmarks/RESULTS.md",
    "conformance.md": "conformance/README.md",
}
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
FENCED = re.compile(r"^(`{3,}).*?^\1$", re.DOTALL | re.MULTILINE)
LONGEST = 300  # characters of a sentence


def source_of(page: str) -> Path:
    """The file that a page of the site is made from."""
    return DOCS.parent / OUTSIDE[page] if page in OUTSIDE else DOCS / page


def text() -> str:
    """The whole file."""
    site = yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text("utf-8"))
    head = [f"# {site['site_name']}", "", f"> {site['site_description']}", ""]
    return "\n".join([*head, *_sections(site["nav"])]).rstrip("\n") + "\n"


def _sections(nav: list[Any]) -> Iterator[str]:
    """Pages at the top stand in a section of their own, before the others."""
    pages = [one for entry in nav for one in entry.items()]
    yield from ("## Start", "")
    for title, page in pages:
        if isinstance(page, str):
            yield _line(title, page)
    for title, section in pages:
        if not isinstance(section, str):
            yield from ("", f"## {title}", "")
            yield from _lines(title, section)


def _lines(title: str, entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield _line(title, entry)
            continue
        for name, page in entry.items():
            if isinstance(page, str):
                yield _line(name, page)
            else:
                yield from _lines(name, page)


def _line(title: str, page: str) -> str:
    said = first_sentence(source_of(page).read_text("utf-8"))
    return f"- [{title}]({page}): {said}" if said else f"- [{title}]({page})"


def first_sentence(markdown: str) -> str:
    """The first sentence of the first paragraph below the title; "" without one."""
    paragraphs = FENCED.sub("", markdown).partition("\n")[2].split("\n\n")
    plain = (part.strip() for part in paragraphs)
    words = next((part for part in plain if part and (part[0].isalnum() or part[0] in '`*["')), "")
    shown = " ".join(LINK.sub(r"\1", words).replace("**", "").split())
    found = re.split(r"(?<=[.!?]) (?=[A-Z`\[])", shown)[0].rstrip(":")
    return found if len(found) <= LONGEST else ""


if __name__ == "__main__":
    print(text(), end="")
