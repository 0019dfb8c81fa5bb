"""The kernel's timer."""

import signal
from types import SimpleNamespace

import pytest

from pytask.domain.errors import ConfigError, RunsAsInit
from pytask.runtime.process import kill_timer
from pytask.runtime.process.kill_timer import KillTimer


def test_armed_and_disarmed(timer):
    one = KillTimer(hard=True)
    assert not one.armed
    one.arm(70)
    assert one.armed
    one.arm(None)
    assert not one.armed
    assert timer == [70, 0.0]


def test_off_it_never_touches_the_kernel(timer):
    one = KillTimer(hard=False)
    one.arm(70)
    one.arm(None)
    assert timer == []
    assert one.armed  # there is nothing left to arm


def test_where_sigalrm_must_do_a_program_that_handles_it_is_refused(monkeypatch, caplog):
    monkeypatch.delattr("time.CLOCK_BOOTTIME", raising=False)
    monkeypatch.setattr(kill_timer, "_timers", {})
    KillTimer(hard=True)
    assert "using SIGALRM, which tasks must not use" in caplog.text
    monkeypatch.setattr(kill_timer, "_timers", {})
    old = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        with pytest.raises(ConfigError, match="hard_deadline=False"):
            KillTimer(hard=True)
        KillTimer(hard=False)
    finally:
        signal.signal(signal.SIGALRM, old)


def test_the_init_of_a_container_is_refused(monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 1)
    with pytest.raises(RunsAsInit, match="docker run --init"):
        KillTimer(hard=True)
    KillTimer(hard=False)


def test_a_forked_child_has_a_timer_of_its_own_and_none_of_the_deadlines(timer, monkeypatch):
    parent = KillTimer(hard=True)
    parent.arm(5)
    made = []
    monkeypatch.setattr(kill_timer, "timer", lambda: SimpleNamespace(set=made.append))
    monkeypatch.setattr("os.getpid", lambda: 4_000_000)
    KillTimer(hard=True).arm(70)
    assert timer == [5]
    assert made == [70]


def test_of_several_apps_the_earliest_deadline_counts(timer, monkeypatch):
    monkeypatch.setattr(kill_timer, "steady", lambda: 1000.0)
    first, second = KillTimer(hard=True), KillTimer(hard=True)
    first.arm(30)
    second.arm(None)  # it has no runs: the other's timer stays
    second.arm(60)
    second.arm(20)
    second.arm(None)
    first.arm(None)
    assert timer == [30, 30, 20, 30, 0.0]
