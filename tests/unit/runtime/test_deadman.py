"""The kernel's timer."""

import signal

import pytest

from pytask.domain.errors import ConfigError
from pytask.runtime.deadman import Deadman


def test_armed_and_disarmed(timer):
    deadman = Deadman(hard=True)
    assert not deadman.armed
    deadman.arm(70)
    assert deadman.armed
    deadman.arm(None)
    assert not deadman.armed
    assert timer == [70, 0.0]


def test_off_it_never_touches_the_kernel(timer):
    deadman = Deadman(hard=False)
    deadman.arm(70)
    deadman.arm(None)
    assert timer == []
    assert deadman.armed  # there is nothing left to arm


def test_a_program_that_handles_sigalrm_is_refused():
    old = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        with pytest.raises(ConfigError, match="hard_deadline=False"):
            Deadman(hard=True)
        Deadman(hard=False)
    finally:
        signal.signal(signal.SIGALRM, old)


def test_of_several_apps_the_earliest_deadline_counts(timer, monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    first, second = Deadman(hard=True), Deadman(hard=True)
    first.arm(30)
    second.arm(None)  # it has no runs: the other's timer stays
    second.arm(60)
    second.arm(20)
    second.arm(None)
    first.arm(None)
    assert timer == [30, 30, 20, 30, 0.0]
