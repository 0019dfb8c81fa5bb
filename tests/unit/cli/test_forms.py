"""What verbs print, in the forms for people: one form of times, and whole ids."""

import time

from pytask.client import Event
from pytask.commands.watch import show
from pytask.console.output import Printer


def test_watch_prints_its_times_in_utc(tokyo, capsys, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1700000000.5)
    show(Printer("table"), Event(id="a", name="tick", data=[1]))
    assert capsys.readouterr().out == "2023-11-14 22:13:20Z  a  tick  [1]\n"
