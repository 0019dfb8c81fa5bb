"""Contrast by WCAG 2: 4.5 for text, 3 for outlines; computed from the style sheet."""

import re
from pathlib import Path

import pytest

import pytask.web

FOLDER = Path(pytask.web.__file__).parent
CSS = (FOLDER / "static" / "page.css").read_text()
STATES = ("running", "wait", "ended", "error", "stopped")
TEXT = [
    *((text, ground) for text in ("text", "quiet", "link") for ground in ("ground", "card")),
    ("text", "button"), ("on-primary", "primary"), ("on-serious", "serious"), ("on-good", "good"),
    ("on-bad", "bad"), ("on-bad", "ground"), ("on-bad", "card"),
    *((state, f"{state}-tint") for state in STATES), *((state, "card") for state in ("error", "wait")),
]  # fmt: skip
OUTLINES = [
    *((state, "ground") for state in STATES),
    ("focus", "ground"),
    ("focus", "card"),
    ("quiet", "ground"),
]


def schemes():
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in CSS.split("dark)", 1))
    return {"light": light, "dark": light | dark}


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_outlines_have_enough_contrast(scheme):
    colours = schemes()[scheme]
    low = [
        f"{one} on {other}: {found:.2f}"
        for least, pairs in ((4.5, TEXT), (3.0, OUTLINES))
        for one, other in pairs
        if (found := contrast(colours[one], colours[other])) < least
    ]
    assert not low


def test_colours_are_named_once():
    rules = CSS.partition("* { box-sizing")[2]
    assert not re.findall(r"#[0-9a-f]{3,6}\b", rules)
    assert set(re.findall(r"var\(--([a-z-]+)\)", rules)) <= schemes()["light"].keys()
    assert "focus-visible" in rules
    assert "tabular-nums" in rules


def test_nothing_comes_from_another_host_and_nothing_is_inline():
    for path in [*FOLDER.rglob("*.html"), *FOLDER.glob("static/*.*")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.", text), path
        if path.suffix == ".html":
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on", text), path
            assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), path
            assert "|safe" not in text, path
