"""What tasks saved, by the evidence of themselves, against what their next runs began with.

Each run of the task `saver` writes `begin:N`, where N is what it found, then `save:N` after each save.
"""

from itertools import pairwise
from typing import NamedTuple


class Loss(NamedTuple):
    """Saves that the next run did not find."""

    id: str
    run: str
    count: int
    seconds: float  # that the process ran from the first lost save until it was killed
    killed: bool  # its process was killed; else something else ended the run


class Found(NamedTuple):
    after_kill: int  # runs that followed one whose process was killed
    after_other: int  # runs that followed any other end: hand-over, reload, failure, stop
    losses: list


def judge(evidence, killed):
    """Compare each run with the one before it.

    `killed`: pid -> CLOCK_MONOTONIC of its kill, in nanoseconds.
    """
    acts = {}
    for act in evidence.acts():
        if act.kind.startswith(("begin:", "save:")):
            acts.setdefault(act.id, {}).setdefault(act.run, []).append(act)
    after_kill = after_other = 0
    losses = []
    for task_id, runs in acts.items():
        for before, after in pairwise(runs.values()):
            pid = before[-1].pid
            by_kill = pid in killed and after[0].pid != pid
            after_kill += by_kill
            after_other += not by_kill
            saved = [(int(act.kind.partition(":")[2]), act.at) for act in before]
            found, last = int(after[0].kind.partition(":")[2]), saved[-1][0]
            # The act is written after the save: the last one may be missing.
            assert found <= last + 1, f"{task_id}: {found} was never saved, the last was {last}"
            if found < last:
                first_lost = next(at for number, at in saved if number > found)
                until = killed.get(pid, before[-1].at)
                seconds = evidence.ran(pid, first_lost, until)
                losses.append(Loss(task_id, before[-1].run, last - found, seconds, by_kill))
    return Found(after_kill, after_other, losses)


def report(found, kills, renewal):
    """A few lines for people."""
    lost = sorted(loss.seconds for loss in found.losses if loss.killed)
    others = [loss for loss in found.losses if not loss.killed]
    worst = f"{lost[-1]:.2f} s" if lost else "nothing"
    middle = f", the median of those that lost {lost[len(lost) // 2]:.2f} s" if lost else ""
    return (
        f"{kills} kills -9; {found.after_kill} runs followed a killed one: {len(lost)} of them had lost"
        f" saves, at most {worst} of work{middle} (a renewal: {renewal:g} s)\n"
        f"{found.after_other} runs followed a hand-over, a reload, a failure or a stop: {len(others)} lost"
        " anything"
    )


def check(found, bound):
    """Fails on any loss without a kill, and on one of more than `bound` seconds."""
    others = [loss for loss in found.losses if not loss.killed]
    assert not others, f"{len(others)} runs lost saves without a kill, the first: {others[:3]}"
    long = [loss for loss in found.losses if loss.seconds > bound]
    assert not long, f"{len(long)} runs lost more than {bound:g} s, the first: {long[:3]}"
