"""`pytask why` tells the moves that a task's hash remembers."""

from pytask.client.records import read_task
from pytask.console.reasons import Facts, reasons


def test_the_last_moves_are_told_the_newest_last():
    lines = b"1700000000000 RUNNING WAIT expire yew%201 lease%20of%20larch%20silent%20for%2090%20s\n"
    lines += b"1700000007000 WAIT STOPPED cancel - -\n"
    task = read_task("a", {"state": b"STOPPED", "function": b"f", "history": lines})
    assert reasons(task, Facts(now=1700000010.0))[-2:] == [
        "2023-11-14 22:13:20Z RUNNING -> WAIT, expire by yew 1: lease of larch silent for 90 s",
        "2023-11-14 22:13:27Z WAIT -> STOPPED, cancel",
    ]


def test_without_any_nothing_is_told():
    task = read_task("a", {"state": b"STOPPED", "function": b"f", "history": b"\x1b[2J no line\n"})
    assert not any("\x1b" in line or "->" in line for line in reasons(task, Facts(now=1700000010.0)))
