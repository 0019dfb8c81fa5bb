"""The machine against a second table, written by hand: a wrong table agrees with itself."""

import ast
import re
from itertools import product
from pathlib import Path

import pytest

import pytask.domain
from pytask.domain import lifecycle
from pytask.domain.errors import IllegalMove
from pytask.domain.lifecycle import (
    RESTING,
    TABLE,
    State,
    Trigger,
    destination,
    diagram,
    next_state,
    sources,
)

PACKAGE = Path(pytask.domain.__file__).parents[1]

# The state after each trigger, from each state; "-" for an invalid transition.
SECOND_TABLE = """
                  RUNNING   ENDED     ERROR     STOPPED   WAIT
claim             -         RUNNING   RUNNING   RUNNING   RUNNING
renew             RUNNING   -         -         -         -
end               ENDED     -         -         -         -
fail              ERROR     -         -         -         -
stop              STOPPED   -         -         -         -
release           WAIT      -         -         -         -
expire            WAIT      -         -         -         -
expire_stopped    STOPPED   -         -         -         -
poison            ERROR     -         -         -         -
reload            RUNNING   -         -         -         -
cancel            -         -         -         -         STOPPED
start             -         WAIT      WAIT      WAIT      -
request           RUNNING   -         -         -         -
adopt             RUNNING   RUNNING   RUNNING   RUNNING   RUNNING
park              -         WAIT      WAIT      WAIT      WAIT
repair            WAIT      -         -         -         -
refuse            RUNNING   -         -         -         -
roll_back         WAIT      -         -         -         -
delay             -         WAIT      WAIT      WAIT      WAIT
retry             WAIT      -         -         -         -
start_now         -         -         -         -         WAIT
schedule          -         WAIT      WAIT      WAIT      WAIT
pause             -         -         -         -         WAIT
resume            -         -         -         -         WAIT
hold              RUNNING   -         -         -         -
go_on             RUNNING   -         -         -         -
limit             -         WAIT      WAIT      WAIT      WAIT
"""


def second_table():
    head, *rows = (line.split() for line in SECOND_TABLE.strip().splitlines())
    return {(state, trigger): to for trigger, *cells in rows for state, to in zip(head, cells, strict=True)}


EXPECTED = second_table()


def test_the_second_table_is_complete():
    assert set(EXPECTED) == set(product(map(str, State), map(str, Trigger)))
    assert len(EXPECTED) == 5 * 27


@pytest.mark.parametrize(("state", "trigger"), list(product(State, Trigger)))
def test_every_pair(state, trigger):
    expected = EXPECTED[state, trigger]
    if expected == "-":
        with pytest.raises(IllegalMove, match=rf"{state} cannot {trigger}"):
            next_state(state, trigger)
        assert state not in sources(trigger)
    else:
        assert next_state(state, trigger) == expected
        assert destination(trigger) == expected
        assert state in sources(trigger)


def test_the_states_are_those_that_were_promised():
    assert [str(state) for state in State] == ["RUNNING", "ENDED", "ERROR", "STOPPED", "WAIT"]
    assert set(RESTING) == set(State) - {State.RUNNING}


@pytest.mark.parametrize("trigger", Trigger)
def test_each_trigger_leads_to_one_state(trigger):
    assert len({to for (_, name), to in TABLE.items() if name is trigger}) == 1


def ways_into(state):
    return {trigger for (source, trigger), to in TABLE.items() if to is state and source is not state}


def test_running_is_the_only_state_that_is_monitored():
    """RUNNING: the task is active, and to be monitored."""
    for trigger in (Trigger.EXPIRE, Trigger.EXPIRE_STOPPED, Trigger.POISON, Trigger.REPAIR):
        assert sources(trigger) == (State.RUNNING,)


def test_ended_is_reached_by_success_alone():
    """ENDED: the task ended successfully."""
    assert ways_into(State.ENDED) == {Trigger.END}


def test_error_is_reached_by_errors_alone():
    """ERROR: the task had an error."""
    assert ways_into(State.ERROR) == {Trigger.FAIL, Trigger.POISON}


def test_stopped_is_intentional_and_not_monitored():
    """STOPPED: the task was intentionally stopped, no monitoring occurs."""
    assert ways_into(State.STOPPED) == {Trigger.STOP, Trigger.CANCEL, Trigger.EXPIRE_STOPPED}
    leave = {trigger for (source, trigger) in TABLE if source is State.STOPPED}
    monitored = {Trigger.EXPIRE, Trigger.EXPIRE_STOPPED, Trigger.POISON, Trigger.REPAIR}
    assert not leave & monitored


def test_wait_is_where_lost_tasks_are_requeued():
    """The stopped tasks will be requeued."""
    requeue = {Trigger.EXPIRE, Trigger.RELEASE, Trigger.REPAIR, Trigger.START}
    assert requeue <= ways_into(State.WAIT)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("RUNNING", State.RUNNING),
        ("ENDED", State.ENDED),
        ("ended", State.WAIT),
        ("", State.WAIT),
        (None, State.WAIT),
    ],
)
def test_unknown_words_count_as_wait(word, state):
    assert State.read(word) is state


def test_the_diagram_shows_every_move():
    lines = diagram().splitlines()
    assert len(lines) == len(Trigger)
    drawn = set()
    for line in lines:
        left, arrow, to = line.partition(">")
        assert arrow
        from_states, _, trigger = left.partition("--")
        for source in from_states.split("|"):
            drawn.add(((source.strip(), trigger.strip("-")), to.strip()))
    assert drawn == {((str(s), str(t)), str(to)) for (s, t), to in TABLE.items()}


# -- the names of states stand in one file -----------------------------------------------------------------

NAMES = {str(state) for state in State}


def test_no_script_names_a_state():
    scripts = sorted((PACKAGE / "adapters" / "redis" / "scripts").glob("*.lua"))
    assert len(scripts) >= 14
    for script in scripts:
        code = "\n".join(line.partition("--")[0] for line in script.read_text("utf-8").splitlines())
        quoted = set(re.findall(r"""['"]([^'"]*)['"]""", code))
        assert not quoted & NAMES, script.name


def string_literals(source):
    """The strings of a module, without docstrings: they may explain."""
    tree = ast.parse(source)
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents
    ]


def test_no_other_module_names_a_state():
    modules = [path for path in PACKAGE.rglob("*.py") if path != Path(lifecycle.__file__)]
    assert modules
    for path in modules:
        for literal in string_literals(path.read_text("utf-8")):
            # A sentence for a person may name one; a word on its own would be a second table.
            assert literal.strip() not in NAMES, f"{path.name}: {literal!r}"
            assert not any(f'"{name}"' in literal or f"'{name}'" in literal for name in NAMES), path.name
