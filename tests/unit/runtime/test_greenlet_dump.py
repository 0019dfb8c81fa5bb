"""What every greenlet does, and whose it is."""

import os

import gevent

from pytask.runtime.process.greenlet_dump import report, write
from pytask.runtime.tree import Service, end_services
from tests.unit.runtime.fakes import really_sleep


class Claimed:
    def __init__(self, task_id, function):
        self.id = task_id
        self.claim = self
        self.function = function


def wait_here():
    really_sleep(1000)


def test_greenlets_with_one_stack_stand_together_with_their_tasks():
    made = [gevent.spawn(wait_here) for _ in range(3)]
    for number, greenlet in enumerate(made[:2]):
        greenlet.pytask_run = Claimed(f"t{number}", "waiter")
    made[2].name = "mine"
    unborn = Service(wait_here)
    unborn.name = "unborn"
    unborn.start()
    really_sleep(0)
    try:
        text = report()
        lines = text.splitlines()
        assert lines[0].startswith("--- ")
        assert f"greenlets of process {os.getpid()} at " in lines[0]
        at = lines.index("2 x task waiter: t0 t1")
        assert any("test_greenlet_dump.py" in line and "wait_here" in line for line in lines[at + 1 : at + 9])
        assert "1 x greenlet mine" in text
        assert any("in test_greenlets_with_one_stack" in line for line in lines), "the current one"
        assert lines[-1] == "--- end of greenlets"
    finally:
        gevent.killall(made)
        end_services([unborn], timeout=1)
    assert "task waiter" not in report()


def test_it_goes_to_standard_error_past_the_log(capfd):
    write("caf\udce9 " * 3 + "\n")
    assert capfd.readouterr().err == "caf\\udce9 " * 3 + "\n"


def test_names_of_others_steer_no_terminal_and_make_no_line(capfd):
    greenlet = gevent.spawn(wait_here)
    greenlet.pytask_run = Claimed("a\x1b[2J", "f\n--- end of greenlets\u202e")
    really_sleep(0)
    try:
        text = report()
    finally:
        gevent.killall([greenlet])
    assert "1 x task f\\x0a--- end of greenlets\\u202e: a\\x1b[2J\n" in text
    write("one\x1b[2J\ntwo\n")
    assert capfd.readouterr().err == "one\\x1b[2J\ntwo\n"
