"""Pictures, as SVG without styles or scripts of their own."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import NamedTuple

from markupsafe import Markup

from pytask.domain import lifecycle as life
from pytask.domain.history import Transition
from pytask.domain.lifecycle import TABLE, State
from pytask.domain.wording import ago
from pytask.web.text import shown

WIDTH = 1000  # units of a bar
LEAST = 6  # units of a part that is there, however small

BOX_WIDTH, BOX_HEIGHT = 104, 36
PLACES: dict[State, tuple[int, int]] = {
    life.WAIT: (70, 100),
    life.RUNNING: (280, 100),
    life.ENDED: (510, 40),
    life.STOPPED: (510, 100),
    life.ERROR: (510, 160),
}  # the middle of each box


def bar(parts: Sequence[tuple[str, int]]) -> Markup:
    """Numbers as the parts of a bar."""
    total = sum(number for _, number in parts)
    there = [(name, number) for name, number in parts if number]
    sizes = [max(LEAST, WIDTH * number / total) for _, number in there]
    return _bar(
        10,
        [
            Part(name.lower(), f"{name} {number:,}", size)
            for (name, number), size in zip(there, sizes, strict=True)
        ],
    )


class Part(NamedTuple):
    """A part of a bar: its colour, its text, its size beside the others."""

    name: str
    text: str
    size: float


def _bar(height: int, parts: Sequence[Part]) -> Markup:
    if not parts:
        return Markup("")
    scale, left, found = WIDTH / sum(part.size for part in parts), 0.0, []
    for part in parts:
        width = part.size * scale
        rect = '<rect class="fill-{}" x="{:.1f}" y="0" width="{:.1f}" height="{}"><title>{}</title></rect>'
        found.append(Markup(rect).format(part.name, left, max(1.0, width - 2), height, shown(part.text)))  # noqa: S704
        left += width
    return Markup(
        '<svg class="bar{}" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(" tall" if height > 10 else "", WIDTH, height, Markup("").join(found))


def lifecycle(now: State, *, paused: bool = False) -> Markup:
    """The states with the moves between them, the current one marked."""
    edges: dict[tuple[State, State], list[str]] = {}
    for (source, trigger), target in TABLE.items():
        if source is not target and _is_drawn(source, target):
            edges.setdefault((source, target), []).append(str(trigger))
    lines = [_arrow(source, target, names) for (source, target), names in edges.items()]
    boxes = [_box(state, current=state is now, paused=paused) for state in PLACES]
    return Markup(
        '<svg class="lifecycle" viewBox="0 0 580 196" role="img" aria-label="{}">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
        ' orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>{}{}</svg>'
    ).format(f"The life cycle: the task is {now}", Markup("").join(lines), Markup("").join(boxes))


def _is_drawn(source: State, target: State) -> bool:
    # A task at rest that is pushed by hand is claimed without waiting first; drawn, it would hide the rest.
    return target is not life.RUNNING or source is life.WAIT


def _box(state: State, *, current: bool, paused: bool) -> Markup:
    x, y = PLACES[state]
    classes = f"box fill-{state.lower()}{' now' if current else ''}"
    label = f"{state}{' (paused)' if current and paused else ''}"
    return Markup(
        '<g class="{}"><rect x="{}" y="{}" width="{}" height="{}" rx="6"/>'
        '<text x="{}" y="{}" text-anchor="middle">{}</text></g>'
    ).format(classes, x - BOX_WIDTH // 2, y - BOX_HEIGHT // 2, BOX_WIDTH, BOX_HEIGHT, x, y + 5, label)


def _arrow(source: State, target: State, names: Sequence[str]) -> Markup:
    return Markup('<path class="move" d="{}" marker-end="url(#tip)"><title>{}</title></path>').format(
        _path(source, target), f"{source} to {target}: {', '.join(names)}"
    )


def _path(source: State, target: State) -> str:
    (x1, y1), (x2, y2) = PLACES[source], PLACES[target]
    right, half = x2 > x1, BOX_WIDTH // 2
    if {source, target} == {life.WAIT, life.RUNNING}:  # there and back: one line beside the other
        shift = -8 if right else 8
        ends = (x1 + half, x2 - half) if right else (x1 - half, x2 + half)
        return f"M{ends[0]} {y1 + shift}L{ends[1]} {y2 + shift}"
    if source is life.RUNNING:
        return f"M{x1 + half} {y1}L{x2 - half} {y2}"
    # Around RUNNING: above from ENDED, below from the others.
    above = life.ENDED in (source, target)
    lane = 8 if above else 130 if life.STOPPED in (source, target) else 188
    edge = -BOX_HEIGHT // 2 if above else BOX_HEIGHT // 2
    slip = {life.ENDED: 0, life.STOPPED: 12, life.ERROR: -12}[source if target is life.WAIT else target]
    slip += 12 if right else 0
    return f"M{x1 + slip} {y1 + edge}L{x1 + slip} {lane}L{x2 + slip} {lane}L{x2 + slip} {y2 + edge}"


class Owner(NamedTuple):
    """A stretch of a task's history: in one state, with one worker."""

    state: str
    who: str
    since: float
    until: float | None  # None: still


def owners(moves: Sequence[Transition]) -> list[Owner]:
    """The stretches that a history tells of, oldest first."""
    found: list[Owner] = []
    for move in moves:
        who = move.who if move.target == life.RUNNING and move.trigger != life.Trigger.REQUEST else ""
        last = found[-1] if found else None
        if last is not None and last.state == move.target and (not who or last.who == who):
            continue
        if last is not None:
            found[-1] = last._replace(until=move.at)
        found.append(Owner(move.target, who, move.at, None))
    return found


def timeline(moves: Sequence[Transition], now: float) -> Markup:
    """The stretches of a history as a bar; their lengths are logarithms, so that short ones show."""
    parts = []
    for one in owners(moves):
        length = max(0.001, (one.until or now) - one.since)
        told = f"{one.state}{f' on {one.who}' if one.who else ''} for {ago(length)}"
        name = one.state.lower() if one.state in set(State) else "unknown"
        parts.append(Part(name, told, 3 + log2(1 + length)))
    return _bar(22, parts)


def lines(series: Sequence[Sequence[float]]) -> Markup:
    """Several lines over the same times, from 0 upwards."""
    highest = max((value for values in series for value in values), default=0.0) or 1.0
    found = []
    for number, values in enumerate(series, 1):
        step = WIDTH / max(1, len(values) - 1)
        points = " ".join(
            f"{at * step:.1f},{98 - 96 * value / highest:.1f}" for at, value in enumerate(values)
        )
        found.append(Markup('<polyline class="line-{}" points="{}"/>').format(number, points))
    return Markup(
        '<svg class="lines" viewBox="0 0 {} 100" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(WIDTH, Markup("").join(found))
