"""A worker that has the process, put together from fakes."""

from types import SimpleNamespace

import pytest

from pytask.domain.errors import PytaskError
from pytask.runtime import foreground
from pytask.runtime.foreground import Daemon, Foreground
from pytask.runtime.settings import Settings


@pytest.fixture
def process(monkeypatch):
    """What would change this very process is left out."""
    for name in ("use_own_resolver", "calm_collector"):
        monkeypatch.setattr(foreground, name, lambda: None)
    monkeypatch.setattr(foreground.thread_owners, "note_all", lambda: None)


def test_a_service_that_dies_while_the_worker_starts_ends_the_run(process):
    settings = Settings(hard_deadline=False)

    def raise_failure():
        raise PytaskError("a service of the worker died")

    worker = SimpleNamespace(
        settings=settings, lanes=[], living=[], queued=0, failed=OSError(), now=lambda: 0.0,
        raise_failure=raise_failure,
    )  # fmt: skip
    stopped = []

    def start(ports):
        ports.on_failed()
        return worker

    def stop():
        stopped.append(True)
        return True

    with pytest.raises(PytaskError, match="a service of the worker died"):
        Foreground(settings, Daemon(), start=start, stop=stop).run()
    assert stopped == [True]
