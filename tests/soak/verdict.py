"""What a soak found: the rows of its report, and the violations.  Pure, but for the clock in the head."""

import json
from statistics import median

from tests.soak.flat import EXACT, flatness

ONLY_SHOWN = (
    "runs",
    "greenlets",
    "queue",
    "rejected",
    "index of ENDED",
    "connected_clients",
    "used_memory_dataset",
    "objects",
)


def compare(series, windows, lives):
    """Flatness of every series that has samples in both windows, a process being its own."""
    found = []
    for (owner, figure), samples in sorted(series.items(), key=str):
        label = f"{lives[owner]} (pid {owner})" if owner in lives else str(owner)
        exact = figure in EXACT or figure.startswith(("keys of local", "keys of long"))
        row = flatness(f"{label}: {figure}", samples, windows, 0 if exact else 0.02)
        if row:
            found.append((row, figure in ONLY_SHOWN or small(row, exact)))
    return found


def small(row, exact):
    """A handful of things has no percentage; WAIT and STOPPED hold what is on its way."""
    return not exact and max(row.first, row.second) < 50


def violations(facts, flat, bar):
    """All that must not be, in words."""
    found = [
        f"not flat: {row.name}: {row.first:g} -> {row.second:g}"
        for row, shown in flat
        if not shown and not row.holds
    ]
    lines = {
        "acts of older runs beside newer ones": facts["overlaps"],
        "short tasks lost": facts["lost_short"],
        "long tasks not running at the end": facts["lost_long"],
        "processes that ended without a reason": facts["unexpected_exits"],
        "troubles of the soak itself": facts["troubles"],
        "not as it must be at rest": facts["rest"],
        "events `ended` not heard though Redis was there": facts["unheard"],
    }
    found += [f"{name}: {len(what)}: {what[:5]}" for name, what in lines.items() if what]
    for label, missing, _seconds, beyond in facts["takeovers"]:
        if missing:
            found.append(f"{label}: {len(missing)} tasks never came back: {missing[:5]}")
        if beyond and max(beyond) > bar:
            found.append(
                f"{label}: back after {max(beyond):.1f} s, without pauses after crashes; the bar is {bar:g} s"
            )
    if not facts["acts"]:
        found.append("no evidence: the soak proves nothing")
    if facts["finished"] and not any("w1 (" in row.name and "rss" in row.name for row, _ in flat):
        found.append("w1 did not live through the second half: nothing was measured over a process's life")
    return found


def markdown(facts, flat, found):
    """The report."""
    state = (
        "finished" if facts["finished"] else f"running, minute {facts['minute']:.1f} of {facts['minutes']:g}"
    )
    out = [f"# Soak: {state}", "", f"{'**VIOLATIONS**' if found else 'No violation.'}", ""]
    out += [f"- {line}" for line in found]
    out += ["", "## Figures", "", "| figure | value |", "|---|---|"]
    plain = {
        k: len(v) if isinstance(v, (list, tuple)) else v
        for k, v in facts.items()
        if k not in ("faults", "takeovers")
    }
    out += [
        f"| {name} | {value if not isinstance(value, dict) else json.dumps(value)} |"
        for name, value in plain.items()
    ]
    out += ["", "## Faults", "", "| at, s | kind | target | exit of the process |", "|---|---|---|---|"]
    out += ["| {at:.0f} | {kind} | {target} | {exits} |".format(**fault) for fault in facts["faults"]]
    out += [
        "",
        "## Takeovers (seconds from the fault to the next act elsewhere)",
        "",
        "| fault | tasks | median | max | max without the pause after counted crashes | missing |",
    ]
    out += ["|---|---|---|---|---|---|"]
    for label, missing, seconds, beyond in facts["takeovers"]:
        figures = [f"{f(s):.1f}" if s else "-" for f, s in ((median, seconds), (max, seconds), (max, beyond))]
        out.append(f"| {label} | {len(seconds) + len(missing)} | {' | '.join(figures)} | {len(missing)} |")
    out += [
        "",
        "## Flat",
        "",
        RULE,
        "",
        "| figure | Q3 | Q4 | growth | samples | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for row, shown in flat:
        verdict = "only shown" if shown else "flat" if row.holds else "**GROWS**"
        out.append(
            f"| {row.name} | {row.first:g} | {row.second:g} | {row.growth:+.2%} | {row.samples} | {verdict} |"
        )
    return "\n".join(out) + "\n"


RULE = (
    "Medians of two calm windows, at the end of the third and of the fourth quarter, without faults and"
    " control requests, the load rebalanced before each. Counts (descriptors, connections, greenlets outside"
    " of runs) must not increase; other figures may increase by 2 %. A decrease is not a leak. `objects`,"
    " `runs` and `greenlets` depend on the number of tasks of a worker, so they are only shown."
)
