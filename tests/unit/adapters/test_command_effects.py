"""What a command means for its connection."""

from math import inf

import pytest

from pytask.adapters.redis import command_effects


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        (("GET", "BLPOP"), 0),
        (("BLPOP", "a", "b", 0), inf),
        (("blpop", "a", 2.5), 2.5),
        ((b"BRPOPLPUSH", b"a", b"b", b"3"), 3),
        (("BLMPOP", 1.5, 1, "a", "LEFT"), 1.5),
        (("WAIT", 1, 500), 0.5),
        (("WAITAOF", 1, 0, 0), inf),
        (("XREAD", "COUNT", 1, b"BLOCK", b"2000", b"STREAMS", "s", "$"), 2),
        (("XREAD", "STREAMS", "BLOCK", "0"), 0),
        (("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s", ">"), inf),
        (("BLPOP", "a", "soon"), 0),
        (("BLMPOP",), 0),
    ],
)
def test_how_long_the_server_may_take(command, seconds):
    assert command_effects.waits(command) == seconds


def test_a_look_that_is_repeated_ends_when_the_first_one_would_have():
    assert command_effects.shortened(("XREAD", "BLOCK", 2000, "STREAMS", "s", "0"), 1.5)[2] == 500
    assert command_effects.shortened(("XREAD", "BLOCK", b"2000", "STREAMS", "s", "0"), 3)[2] == 1
    for others in (("XREAD", "BLOCK", 0, "STREAMS", "s", "0"), ("XREAD", "STREAMS", "s", "0"), ("GET", "a")):
        assert command_effects.shortened(others, 1.5) == others


READS = [
    [("GET", "a")],
    [("get", "a"), (b"HGETALL", "b")],
    [("MULTI",), ("GET", "a"), ("EXEC",)],
    [("SCRIPT", "EXISTS", "sha")],
    [("CLIENT LIST",)],
    [("XREAD", "STREAMS", "s", "0-0")],
]
WRITES = [
    [("SET", "a", "1")],
    [("GET", "a"), ("INCR", "b")],
    [("MULTI",), ("GET", "a"), ("INCR", "a"), ("EXEC",)],
    [("EXEC",)],
    [("SCRIPT", "FLUSH")],
    [("XREAD", "STREAMS", "s", "$")],
    [("BLPOP", "a", 0)],
    [("NO", "SUCH")],
]


@pytest.mark.parametrize("package", ["redis", "valkey"])
def test_what_may_be_done_twice(package):
    assert [one for one in READS if not command_effects.only_reads(one, package)] == []
    assert [one for one in WRITES if command_effects.only_reads(one, package)] == []


DECIDED = {"GET": True, b"get": True, "INCR": False, "NOSUCH": False}
OPEN = ["BLPOP", "blmpop", "XREAD", "WAIT", "SELECT", "WATCH", "EXEC", "SUBSCRIBE", "CLIENT", "OBJECT"]


@pytest.mark.parametrize(("word", "reads"), [*DECIDED.items(), *((word, None) for word in OPEN)])
def test_what_the_first_word_decides(word, reads):
    assert command_effects.plain(word, "redis") is reads


def test_what_is_done_as_a_whole_or_not_at_all():
    assert command_effects.is_one_step([("INCR", "a")])
    assert command_effects.is_one_step([("MULTI",), ("INCR", "a"), ("EXEC",)])
    assert not command_effects.is_one_step([("INCR", "a"), ("INCR", "a")])


def test_what_makes_a_connection_unlike_the_others():
    assert all(
        map(command_effects.sets_state, [("SELECT", 1), ("CLIENT SETNAME", "a"), ("CLIENT", "REPLY", "OFF")])
    )
    assert not any(map(command_effects.sets_state, [("GET", "SELECT"), ("CLIENT LIST",), ("CLIENT", "ID")]))
