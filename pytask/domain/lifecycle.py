"""The life of a task: five states and every legal move between them, declared once.

The machine below is the only place where a state may be named.  It is never given a model: a plain
table is read off it at import, and that table serves the process, the in-memory store and (as
arguments) the Lua scripts.  The diagram in ARCHITECTURE.md is printed from it by :func:`diagram`.
"""

from __future__ import annotations

from enum import StrEnum

from transitions import Machine

from pytask.domain.errors import IllegalMove


class State(StrEnum):
    """What the `state` field of a task's hash says.  A hash that was never claimed counts as WAIT."""

    RUNNING = "RUNNING"
    ENDED = "ENDED"
    ERROR = "ERROR"
    STOPPED = "STOPPED"
    WAIT = "WAIT"

    @classmethod
    def read(cls, word: str | None) -> State:
        """The state a hash field stands for; nothing, and any word we do not know, is WAIT."""
        return cls.__members__.get(word or "", cls.WAIT)


class Trigger(StrEnum):
    """What moves a task.  The comment names the row of the protocol's table of transitions."""

    CLAIM = "claim"  # E1: a worker takes the id from the queue
    RENEW = "renew"  # E2: the owner's heartbeat
    END = "end"  # E3: start() and its greenlets are done
    FAIL = "fail"  # E4: an exception, or input that cannot be run
    STOP = "stop"  # E5: stopped on request, the run is dead
    RELEASE = "release"  # E6: handed back, the run is dead or never began
    EXPIRE = "expire"  # E7: the lease was silent for too long
    EXPIRE_STOPPED = "expire_stopped"  # E7 of a run that was asked to stop
    POISON = "poison"  # E7 for the fourth time: it kills its workers
    RELOAD = "reload"  # E8: a new run in place of the old
    CANCEL = "cancel"  # E9: stop before it ran
    START = "start"  # E10: start it again
    REQUEST = "request"  # E11: a wish is written down for the owner
    ADOPT = "adopt"  # E12: the owner re-asserts a run that Redis forgot
    PARK = "park"  # A7: no such function here; kept for a worker that has it
    REPAIR = "repair"  # E16: it says RUNNING, and nobody runs it
    REFUSE = "refuse"  # E17: a reload is not begun, its data does not fit


RUNNING, ENDED, ERROR, STOPPED, WAIT = State
RESTING: tuple[State, State, State, State] = (WAIT, STOPPED, ENDED, ERROR)
"""The states without a live run, in the order in which their indexes travel to the scripts."""

MACHINE = Machine(
    model=None,
    states=State,
    initial=WAIT,
    auto_transitions=False,
    transitions=[
        # trigger                 from                              to
        [Trigger.CLAIM, [WAIT, STOPPED, ENDED, ERROR], RUNNING],
        [Trigger.RENEW, [RUNNING], RUNNING],
        [Trigger.END, [RUNNING], ENDED],
        [Trigger.FAIL, [RUNNING], ERROR],
        [Trigger.STOP, [RUNNING], STOPPED],
        [Trigger.RELEASE, [RUNNING], WAIT],
        [Trigger.EXPIRE, [RUNNING], WAIT],
        [Trigger.EXPIRE_STOPPED, [RUNNING], STOPPED],
        [Trigger.POISON, [RUNNING], ERROR],
        [Trigger.RELOAD, [RUNNING], RUNNING],
        [Trigger.CANCEL, [WAIT], STOPPED],
        [Trigger.START, [STOPPED, ENDED, ERROR], WAIT],
        [Trigger.REQUEST, [RUNNING], RUNNING],
        [Trigger.ADOPT, [WAIT, STOPPED, ENDED, ERROR, RUNNING], RUNNING],
        [Trigger.PARK, [WAIT, STOPPED, ENDED, ERROR], WAIT],
        [Trigger.REPAIR, [RUNNING], WAIT],
        [Trigger.REFUSE, [RUNNING], RUNNING],
    ],
)


def _read_table(machine: Machine) -> dict[tuple[State, Trigger], State]:
    return {
        (State[source], Trigger(name)): State[str(move.dest)]
        for name, event in machine.events.items()
        for source, moves in event.transitions.items()
        for move in moves
    }


TABLE: dict[tuple[State, Trigger], State] = _read_table(MACHINE)


def next_state(state: State, trigger: Trigger) -> State:
    """The state after `trigger`; raises :class:`IllegalMove` where the machine has no such move."""
    try:
        return TABLE[state, trigger]
    except KeyError:
        raise IllegalMove(state, trigger) from None


def sources(trigger: Trigger) -> tuple[State, ...]:
    """The states from which `trigger` may move a task."""
    return tuple(state for state in State if (state, trigger) in TABLE)


DESTINATIONS = {trigger: state for (_, trigger), state in TABLE.items()}


def destination(trigger: Trigger) -> State:
    """The one state to which `trigger` leads (each has exactly one: a test holds it)."""
    return DESTINATIONS[trigger]


def diagram() -> str:
    """The lifecycle as text, a line a move, for the documents."""
    rows = [f"{' | '.join(sources(t)):<40} --{t:->16}--> {destination(t)}" for t in Trigger]
    return "\n".join(rows)
