"""The table of docs/libraries.md, made from the measurements."""

from __future__ import annotations

from typing import Any

from benchmarks.libraries.measure import ENDS, RETURNED, TASKS, WAIT, Facts, holds
from benchmarks.libraries.registry import ROWS, Case

BEGIN, END = "<!-- measured: python -m benchmarks.libraries --write -->", "<!-- end -->"
HEAD = (
    "| library | against | lets others run | the task ends | after a stop | what to do |\n"
    "| --- | --- | --- | --- | --- | --- |"
)
SOON = 1.0  # seconds within which a killable task is STOPPED


def table(found: dict[str, Facts], versions: dict[str, str]) -> str:
    """All measured rows in the order of the registry; coroutines have a table of their own."""
    names = [name for name in ROWS if name in found and not ROWS[name].coroutine]
    return "\n".join([HEAD, *(row(ROWS[name], found[name], versions) for name in names)])


def row(case: Case, facts: Facts, versions: dict[str, str]) -> str:
    """One line."""
    cells = [
        title(case, versions),
        case.against,
        cooperates(case, facts),
        ends(facts),
        after(case, facts),
        case.do or "-",
    ]
    return f"| {' | '.join(cells)} |"


def title(case: Case, versions: dict[str, str]) -> str:
    """The name, and the version of the library itself."""
    return f"{case.name} {versions[case.packages[0]]}" if case.packages else case.name


def cooperates(case: Case, facts: Facts) -> str:
    """Whether the loop ran while tasks waited, and they waited concurrently."""
    if facts["once"] == "ERROR":
        return f"fails: {short(facts['error'])}"
    if "gap" not in facts:
        return "**no, for ever**"
    if holds(facts):
        return "**no, while it works**" if case.work else "**no, while it waits**"
    if facts["once"] != "ENDED":
        return "yes"  # the effects of its stop are listed under "after a stop"
    if facts["errors"]:
        return f"one only: {short(facts['errors'][0])}"
    if unusable(facts):
        return "**wrong answers**"
    if facts.get("span", 0) > TASKS * WAIT / 2:
        return "yes, one after the other"
    return "yes"


def unusable(facts: Facts) -> bool:
    """Whether its calls return wrong replies without any stop."""
    return not holds(facts) and not facts["errors"] and facts["right"] < TASKS


def ends(facts: Facts) -> str:
    """Whether a task that used it ends."""
    if facts["once"] == "ENDED":
        return "yes"
    if facts["once"] == "ERROR":
        return "-"
    return "**no**, its threads go on" if facts.get("kept by") else f"**no**, not in {ENDS:g} s"


def after(case: Case, facts: Facts) -> str:
    """The effects of a stop during a call."""
    if "gap" not in facts or (facts["once"] and unusable(facts)):
        return "-"
    if holds(facts):
        return "when the call returns" if facts["stop"] is None or facts["stop"] > SOON else "at once"
    if "stop" in facts and facts["stop"] is None:
        return "**does not stop**"
    notes = [*harm(facts), *left(case, facts)]
    return "; ".join(notes) if notes else "clean"


def harm(facts: Facts) -> list[str]:
    """The effects on other tasks."""
    notes = []
    if not {*facts.get("others", ())} <= {*RETURNED}:
        notes.append("**others fail**")
    if not all(works(facts[name]) for name in ("later", "after kills") if name in facts):
        notes.append("**it does not work any more**")
    if facts.get("answers", {}).get("wrong"):
        notes.append("**wrong answers**")
    return notes


def works(result: list[Any]) -> bool:
    """Whether a call returned the right reply."""
    return bool(result[0] in RETURNED and result[1][2])


def left(case: Case, facts: Facts) -> list[str]:
    """The connections that it left."""
    if "connections" not in facts:
        return []
    before, now = facts["connections"]
    notes = ["stopped after {:.0f} s".format(facts["stop"])] if facts["stop"] > SOON else []
    if before > 1 and now >= before and not case.shared:  # a pool replaces closed connections
        notes.append("its connection stays open")
    if facts.get("statements"):
        notes.append("its statement goes on")
    return notes


def short(error: str) -> str:
    """The beginning of an error."""
    return error.rpartition(": ")[2][:60].replace("|", "/")
