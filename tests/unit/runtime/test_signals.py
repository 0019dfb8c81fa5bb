"""SIGTERM and SIGINT, delivered to this very process."""

import os
import signal

import gevent
import pytest

from pytask.runtime.process.signals import Signals
from tests.unit.runtime.fakes import switch, until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_is_noted_and_wakes_the_loop(number):
    with Signals() as signals:
        assert not signals._flag.is_set()
        signal.raise_signal(number)
        until(signals._flag.is_set)
        assert signals.received == number
        assert signals.wait(0)


def test_a_second_ends_at_once(monkeypatch):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with Signals():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert codes == [128 + signal.SIGINT]


def test_of_a_drain_the_second_is_the_end_and_the_third_ends_at_once(monkeypatch):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with Signals(patient=True) as signals:
        signal.raise_signal(signal.SIGTERM)
        assert not signals.hurried
        signal.raise_signal(signal.SIGINT)
        assert signals.hurried
        assert (signals.received, codes) == (signal.SIGTERM, [])
        signal.raise_signal(signal.SIGTERM)
    assert codes == [128 + signal.SIGTERM]


@pytest.mark.parametrize(
    "error", [gevent.GreenletExit(), gevent.Timeout(1), SystemExit(1), SystemError("from C code")]
)
def test_what_tasks_throw_at_the_main_greenlet_does_not_end_the_wait(error, caplog):
    with Signals() as signals:
        waiter = gevent.spawn(signals.wait)
        switch()
        gevent.get_hub().loop.run_callback(waiter.throw, error)
        switch()
        assert not waiter.dead
        assert "thrown into the main greenlet" in caplog.text
        signals.wake()
        assert waiter.get() is True
        assert signals.thrown is None


def test_anything_else_ends_it_and_is_kept():
    error = KeyboardInterrupt()
    with Signals() as signals:
        waiter = gevent.spawn(signals.wait)
        switch()
        gevent.get_hub().loop.run_callback(waiter.throw, error)
        assert waiter.get() is True
        assert signals.thrown is error


def test_woken_without_a_signal():
    with Signals() as signals:
        signals.wake()
        assert signals.wait(0)
        assert signals.received is None


def test_what_was_there_is_put_back():
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    with Signals():
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
    assert signal.set_wakeup_fd(fd) == fd


def test_a_foreign_handler_is_replaced_and_a_hangup_that_is_ignored_stays_so(monkeypatch):
    monkeypatch.setattr("pytask.runtime.process.signals.LOOK", 0.01)
    called = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals(on_hangup=lambda: called.append("hangup")) as signals:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            polite = signal.getsignal(signal.SIGUSR1)
            for number in (signal.SIGTERM, signal.SIGUSR1):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            until(lambda: signal.getsignal(signal.SIGTERM) == signals._handle)
            assert signal.getsignal(signal.SIGUSR1) == polite
            signal.raise_signal(signal.SIGTERM)
            until(signals._flag.is_set)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert called == []


def test_a_hangup_is_passed_on_each_time():
    called = []
    with Signals(on_hangup=lambda: called.append("hangup")) as signals:
        for count in (1, 2):
            signal.raise_signal(signal.SIGHUP)
            until(lambda count=count: len(called) == count)
        assert signals.received is None
        signals.end(signal.SIGTERM)
        assert signals.wait(0)
