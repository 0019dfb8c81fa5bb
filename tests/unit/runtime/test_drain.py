"""How long a worker that is to end lets its tasks run."""

from types import SimpleNamespace

import pytest

from pytask.domain.errors import ConfigError
from pytask.runtime.drain import drain
from pytask.runtime.settings import Settings


class Signals:
    """Those of a run(), by the clock of the test: `at(now)` is asked at every look."""

    def __init__(self, worker, at=lambda now: None):
        self.worker, self.at = worker, at
        self.patient, self.hurried, self.thrown = True, False, None

    def wait_again(self, timeout):
        self.worker.time += timeout
        self.at(self)


class Worker(SimpleNamespace):
    def __init__(self, queued=3):
        super().__init__(queued=queued, failed=None, time=0.0, drained=False)

    def now(self):
        return self.time

    def drain(self):
        self.drained = True


@pytest.mark.parametrize(
    ("seconds", "happens", "over_at"),
    [
        (0, lambda signals: None, 0),
        (60, lambda signals: None, 60),
        (60, lambda signals: setattr(signals.worker, "queued", 0), 0.1),
        (60, lambda signals: setattr(signals, "hurried", True), 0.1),
        (60, lambda signals: setattr(signals, "thrown", KeyboardInterrupt()), 0.1),
        (60, lambda signals: setattr(signals.worker, "failed", OSError()), 0.1),
    ],
)
def test_until_none_is_left_or_time_is_over_or_somebody_hurries(seconds, happens, over_at):
    worker = Worker()
    signals = Signals(worker, happens)
    drain(worker, signals, seconds)
    assert worker.time == pytest.approx(over_at)
    assert worker.drained is bool(seconds)
    assert not signals.patient  # from now on a signal is the end


@pytest.mark.parametrize("seconds", [-1, True, "2", float("inf"), float("nan"), None])
def test_what_is_no_number_of_seconds_is_refused(seconds):
    with pytest.raises(ConfigError, match="drain must be a number of seconds, 0 for none"):
        Settings(drain=seconds)
