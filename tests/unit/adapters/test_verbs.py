"""How many scripts a verb sends."""

import pytest

from pytask.adapters.keys import Keys
from pytask.adapters.redis import verbs
from pytask.adapters.redis.scope import Scope
from pytask.domain.messages import Command
from pytask.domain.record import Verdict

IDS = ("a", "b", "c")


def answered(verb, *replies):
    """The names of the scripts that a verb sends, if these are the replies, and what it returns."""
    names, left = [], list(replies)
    call = next(verb)
    try:
        while True:
            names.append((call.script.name, len(call.words)))
            call = verb.send(left.pop(0))
    except StopIteration as end:
        assert not left
        return [name for name, _ in names], end.value


@pytest.mark.parametrize("command", [Command.STOP, Command.PAUSE])
def test_a_message_for_tasks_that_run_is_one_call(command):
    verb = verbs.control(Scope(Keys()), command, IDS, [0.0] * 3)
    names, found = answered(verb, [b"REQUESTED", b"NOHASH", b"STATE"])
    assert names == [command.value]
    assert found == [Verdict.REQUESTED, Verdict.NOHASH, Verdict.STATE]


@pytest.mark.parametrize("command", [Command.STOP, Command.PAUSE])
def test_only_of_those_that_wait_after_all_the_function_is_read(command):
    verb = verbs.control(Scope(Keys()), command, IDS, [0.0] * 3)
    names, found = answered(verb, [b"NAME", b"REQUESTED", b"NAME"], [b"f", b"g"], [b"OK"], [b"STATE"])
    assert names == [command.value, "functions", command.value, command.value]
    assert found == [Verdict.OK, Verdict.REQUESTED, Verdict.STATE]


def test_ids_for_which_the_work_of_a_call_did_not_suffice_are_asked_for_again():
    verb = verbs.control(Scope(Keys()), Command.STOP, IDS, [0.0] * 3)
    names, found = answered(verb, [b"REQUESTED"], [b"f", b""], [b"OK", b"NOHASH"])
    assert names == ["stop", "functions", "stop"]
    assert found == [Verdict.REQUESTED, Verdict.OK, Verdict.NOHASH]
