"""What the worker's own greenlets and its event loop have to bear."""

import io
import signal

import gevent
import pytest

from pytask.runtime.tree import Service, end_services
from tests.unit.runtime.fakes import switch


class Held:
    """Stands for a run."""

    hidden = ()


@pytest.fixture
def thrown(monkeypatch):
    """What gevent would raise in the main greenlet."""
    thrown = []
    monkeypatch.setattr(gevent.get_hub(), "handle_system_error", lambda kind, *_: thrown.append(kind))
    return thrown


@pytest.mark.parametrize("began", [True, False])
@pytest.mark.parametrize(
    "kill",
    [
        lambda service: service.kill(block=False),
        lambda service: gevent.killall([service], block=False),
        gevent.kill,
        lambda service: gevent.get_hub().loop.run_callback(service.throw),
    ],
)
def test_a_service_is_killed_by_its_worker_alone(kill, began, gate):
    service = Service.spawn(gate.wait)
    if began:
        switch()
    kill(service)
    switch()
    assert not service.dead
    end_services([service], timeout=1)
    assert service.dead


def test_a_service_that_outlives_its_kill_is_named(gate, caplog):
    """And nothing is raised: a worker that stops would lose the rest of its clean-up."""

    def deaf():
        try:
            gate.wait()
        except gevent.GreenletExit:
            gate.wait()

    service = Service.spawn(deaf)
    service.name = "pytask deaf"
    switch()
    end_services([service], timeout=0.01)
    assert "did not end within 0.01 s: pytask deaf" in caplog.text


def test_a_timeout_of_its_own_reaches_a_service(gate):
    def wait():
        with gevent.Timeout(0.001, False):
            gate.wait()
        return "went on"

    assert Service.spawn(wait).get() == "went on"


def test_the_event_loop_outlives_the_kill_of_all_greenlets():
    hub = gevent.get_hub()
    gevent.killall([hub, gevent.spawn(switch)], block=False)
    switch()
    assert not hub.dead


@pytest.mark.parametrize("kind", [SystemExit, SystemError, KeyboardInterrupt])
@pytest.mark.parametrize("linked", [False, True])
def test_an_error_under_a_run_does_not_reach_the_main_greenlet(thrown, kind, linked, capsys, monkeypatch):
    monkeypatch.setattr("pytask.runtime.tree.getsignal", lambda _: print)
    source = gevent.Greenlet()
    source.pytask_run = Held()
    gevent.get_hub().handle_error((print, source) if linked else source, kind, kind("x"), None)
    assert thrown == []
    assert (kind.__name__ in capsys.readouterr().err) is (kind is not SystemExit)


def test_ctrl_c_in_a_program_that_leaves_it_to_python_is_for_the_program(thrown, monkeypatch):
    monkeypatch.setattr("pytask.runtime.tree.getsignal", lambda _: signal.default_int_handler)
    source = gevent.Greenlet()
    source.pytask_run = Held()
    gevent.get_hub().handle_error(source, KeyboardInterrupt, KeyboardInterrupt(), None)
    assert thrown == [KeyboardInterrupt]


def test_an_error_of_the_program_itself_is_raised_where_gevent_raises_it(thrown):
    gevent.get_hub().handle_error(gevent.Greenlet(), SystemExit, SystemExit(), None)
    assert thrown == [SystemExit]


def test_an_error_that_cannot_be_shown_is_no_other_error(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    gevent.get_hub().handle_error(gevent.Greenlet(), ValueError, ValueError(), None)
