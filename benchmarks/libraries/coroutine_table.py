"""The second table of docs/libraries.md: libraries for asyncio, in tasks with `async def`."""

from __future__ import annotations

from benchmarks.libraries.measure import CANCELS, RETURNED, TASKS, Facts
from benchmarks.libraries.registry import ROWS, Case
from benchmarks.libraries.table import cooperates, ends, left, title, works

BEGIN, END = "<!-- measured in coroutines -->", "<!-- end of coroutines -->"
COLUMNS = (
    "library", "against", "lets others run", "the task ends", "stop", "left behind", "reload", "hand-over",
    f"{CANCELS} cancels", "what to do",
)  # fmt: skip
HEAD = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"


def table(found: dict[str, Facts], versions: dict[str, str]) -> str:
    """All measured rows in the order of the registry."""
    names = [name for name in ROWS if name in found and ROWS[name].coroutine]
    return "\n".join([HEAD, *(row(ROWS[name], found[name], versions) for name in names)])


def row(case: Case, facts: Facts, versions: dict[str, str]) -> str:
    """One line."""
    if "missing" in facts:
        cells = [f"not measured: there is no {facts['missing']}", *["-"] * 6]
    else:
        cells = [
            cooperates(case, facts), ends(facts), stop(facts), left_behind(case, facts), reload(facts),
            hand_over(facts), cancels(facts),
        ]  # fmt: skip
    name = title(case, versions).replace(" in `async def`", "")
    return f"| {' | '.join([name, case.against, *cells, case.do or '-'])} |"


def stop(facts: Facts) -> str:
    """How long the stop of a waiting task took."""
    if "stop" not in facts:
        return "-"
    return "**does not stop**" if facts["stop"] is None else f"{facts['stop']:.2f} s"


def left_behind(case: Case, facts: Facts) -> str:
    """What a stop left, and what it did to others."""
    if "others" not in facts:
        return "-"
    notes = left(case, facts) if facts["stop"] is not None else []
    if not {*facts["others"]} <= {*RETURNED}:
        notes.append("**others fail**")
    if not works(facts["later"]):
        notes.append("**it does not work any more**")
    return "; ".join(notes) or "nothing"


def reload(facts: Facts) -> str:
    """How long it took until the new run had its answer."""
    if "reloaded" not in facts:
        return "-"
    return f"{facts['reload seconds']:.2f} s" if works(facts["reloaded"]) else "**fails**"


def hand_over(facts: Facts) -> str:
    """How long the worker took to end, and how many of its tasks got their answers in the next one."""
    if "code" not in facts:
        return "-"
    if facts["code"] or facts["back"] < TASKS:
        return f"**{facts['back']} of {TASKS} released, exit code {facts['code']}**"
    answers = facts.get("handed", 0)
    return f"{facts['handed seconds']:.1f} s" if answers == TASKS else f"**{answers} of {TASKS} answers**"


def cancels(facts: Facts) -> str:
    """The answers while others were cancelled in their calls."""
    if "answers" not in facts:
        return "-"
    answers = facts["answers"]
    notes = [f"{answers.get('right', 0):,} right"]
    if answers.get("errors"):
        notes.append(f"{answers['errors']} errors")
    if answers.get("wrong"):
        notes.append(f"**{answers['wrong']} wrong**")
    if not works(facts["after kills"]):
        notes.append("**it does not work any more**")
    return ", ".join(notes)
