"""A plot as SVG, by hand: bars of the drains, and the curves of the costs on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, BAR, LABEL = 900, 22, 210
PANEL_W, PANEL_H, PAD = 430, 240, 52
COLOURS = ("#1b6ca8", "#d1495b")
OWN, OTHER = "#1b6ca8", "#9aa5b1"

Series = dict[str, Sequence[tuple[float, float]]]  # a name: points


def text(x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def bars(title: str, values: dict[str, float], own: Sequence[str]) -> tuple[str, int]:
    """Horizontal bars, the longest first, and their height."""
    parts = [text(0, 18, title, size=15)]
    top = max(values.values())
    for i, (name, value) in enumerate(sorted(values.items(), key=lambda item: -item[1])):
        y, length = 32 + i * BAR, (WIDTH - LABEL - 90) * value / top
        colour = OWN if name in own else OTHER
        parts.append(text(LABEL - 8, y + 13, name, "end"))
        parts.append(
            f'<rect x="{LABEL}" y="{y}" width="{max(length, 1):.1f}" height="{BAR - 6}" fill="{colour}"/>'
        )
        parts.append(text(LABEL + length + 6, y + 13, f"{value:,.0f}"))
    return "".join(parts), 32 + len(values) * BAR


def panel(title: str, series: Series) -> str:
    """Curves over logarithmic axes; a line for each name."""
    points = [point for each in series.values() for point in each if point[1] > 0]
    xs, ys = decades(x for x, _ in points), decades(y for _, y in points)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - xs[0]) / (xs[1] - xs[0]) * (PANEL_W - PAD - 20)
        up = (math.log10(y) - ys[0]) / (ys[1] - ys[0]) * (PANEL_H - PAD - 30)
        return PAD + across, PANEL_H - PAD + 16 - up

    parts = [text(0, 14, title, size=13)]
    for decade in range(xs[0], xs[1] + 1):
        x, y = place(10**decade, 10 ** ys[0])
        parts.append(text(x, y + 16, short(10**decade), "middle", 11))
    for decade in range(ys[0], ys[1] + 1):
        x, y = place(10 ** xs[0], 10**decade)
        parts.append(f'<line x1="{x:.1f}" x2="{PANEL_W - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(text(x - 6, y + 4, short(10**decade), "end", 11))
    for i, (name, each) in enumerate(series.items()):
        spots = [place(*point) for point in each if point[1] > 0]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        colour = COLOURS[i % len(COLOURS)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in spots]
        parts.append(f'<g fill="{colour}">{text(PAD + 8 + i * 120, 30, name, size=11)}</g>')
    return "".join(parts)


def decades(values) -> tuple[int, int]:
    """The powers of ten around all values, at least one decade."""
    logs = [math.log10(value) for value in values]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    return low, max(high, low + 1)


def short(value: float) -> str:
    """1000 as 1k."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def page(drains: tuple[str, int] | None, panels: list[str]) -> str:
    """One picture: the bars above, the panels two in a row below."""
    body, top = [], 20
    if drains:
        body.append(f'<g transform="translate(10,{top})">{drains[0]}</g>')
        top += drains[1] + 30
    for i, each in enumerate(panels):
        x, y = 10 + (i % 2) * (PANEL_W + 20), top + (i // 2) * (PANEL_H + 20)
        body.append(f'<g transform="translate({x},{y})">{each}</g>')
    height = top + (len(panels) + 1) // 2 * (PANEL_H + 20)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 20}" height="{height}" '
        f'font-family="sans-serif" fill="#222"><rect width="100%" height="100%" fill="white"/>'
        + "".join(body)
        + "</svg>\n"
    )
