"""Naming the task that holds the event loop; the monitor thread is played by the test."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace

import gevent
import pytest
from gevent import events

from pytask.runtime.runs.loop_monitor import BlockedWatch
from tests.unit.runtime.fakes import really_sleep, until


class FakeHub:
    def __init__(self, real):
        self.loop = real.loop
        self.thread_ident = real.thread_ident
        self.watched = 0
        self.killed = []
        self.periodic_monitoring_thread = None

    def start_periodic_monitoring_thread(self):
        self.watched += 1
        self.functions = {}
        self.blocked = None
        self.periodic_monitoring_thread = thread = SimpleNamespace(
            kill=lambda: self.killed.append(True),
            add_monitoring_function=self.functions.__setitem__,
            _greenlet_tracer=SimpleNamespace(did_block_hub=lambda _hub: self.blocked),
        )
        thread.monitor_blocking = "gevent's own look"


@pytest.fixture
def hub(monkeypatch):
    really_sleep(0)  # the real hub runs by now, and starts no thread of its own in here
    hub = FakeHub(gevent.get_hub())
    monkeypatch.setattr(gevent, "get_hub", lambda: hub)
    monkeypatch.setattr(gevent.config, "max_blocking_time", 0.1)
    monkeypatch.setattr(gevent.config, "monitor_thread", False)
    monkeypatch.setattr(gevent.config, "print_blocking_reports", True)
    return hub


@pytest.fixture
def watch(hub):
    watch = BlockedWatch(0.5)
    watch.start()
    yield watch
    watch.stop()


def blocked(hub, run=None):
    greenlet = SimpleNamespace(pytask_run=run)
    tell(events.EventLoopBlocked(greenlet, 1, [], hub=hub))


def tell(event):
    for subscriber in list(events.subscribers):
        subscriber(event)


def a_run():
    return SimpleNamespace(id="order-7", claim=SimpleNamespace(function="resize"))


def test_it_sets_gevent_s_monitor_to_work(watch, hub):
    assert hub.watched == 1
    assert gevent.config.max_blocking_time == 0.5
    assert gevent.config.print_blocking_reports is False


def test_it_reports_who_blocks_and_that_the_loop_responds_again(hub, capfd):
    told = []
    watch = BlockedWatch(0.5, on_blocked=lambda *words: told.append(words))
    watch.start()
    try:
        blocked(hub, a_run())
        ((who, place),) = told
        assert who == "task order-7 (resize)"
        assert re.search(r"\.py:\d+$", place)
        watch._log()
        assert told[1:] == [("", "")]
    finally:
        watch.stop()


def test_its_look_replaces_that_of_gevent_which_reports_all_greenlets_first(watch, hub, capfd):
    assert hub.functions.pop("gevent's own look") is None
    ((look, period),) = hub.functions.items()
    assert period == 0.5
    look(hub)
    assert capfd.readouterr().err == ""
    hub.blocked = (True, SimpleNamespace(pytask_run=a_run()))
    look(hub)
    assert "pytask: task order-7 (resize) blocked the event loop" in capfd.readouterr().err


def test_the_task_and_the_line_are_named_at_once_and_in_the_log(watch, hub, capfd, caplog):
    blocked(hub, a_run())
    text = capfd.readouterr().err
    assert "pytask: task order-7 (resize) blocked the event loop for more than 0.5 s at " in text
    assert "test_loop_monitor.py:" in text
    until(lambda: "[PT041] task order-7 (resize)" in caplog.text)


def library(tmp_path, name):
    """A function of an installed library that calls what it is given."""
    file = tmp_path / "site-packages" / f"{name}.py"
    file.parent.mkdir()
    file.write_text("def call(f, *args):\n    f(*args)\n")
    spec = spec_from_file_location(name, file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.call, f"{file}:2"


@pytest.mark.parametrize(
    ("name", "helps"),
    [("unheard_of", "call gevent.sleep(0) in between"), ("duckdb", "move its calls to a native thread")],
)
def test_the_user_s_own_line_stands_beside_that_of_the_library(
    watch, hub, capfd, caplog, tmp_path, name, helps
):
    call, line = library(tmp_path, name)
    event = events.EventLoopBlocked(SimpleNamespace(pytask_run=a_run()), 1, [], hub=hub)
    call(watch._on_event, event)
    assert f" s at {line}, called from {__file__}:" in capfd.readouterr().err
    until(
        lambda: (
            f"[PT041] task order-7 (resize) blocked the event loop for more than 0.5 s at {line}"
            in caplog.text
        )
    )
    assert f": {helps}" in caplog.text


def test_a_task_that_is_installed_like_a_library_is_the_user_s(watch, hub, capfd, tmp_path):
    call, line = library(tmp_path, "shop")
    run = SimpleNamespace(**vars(a_run()), cls=SimpleNamespace(__module__="shop.tasks"))
    call(watch._on_event, events.EventLoopBlocked(SimpleNamespace(pytask_run=run), 1, [], hub=hub))
    assert f" s at {line};" in capfd.readouterr().err


def test_a_greenlet_of_no_task_is_named_too(watch, hub, capfd):
    blocked(hub)
    assert "greenlet namespace(" in capfd.readouterr().err


def test_one_block_is_reported_once(watch, hub, capfd):
    for _ in range(3):
        blocked(hub, a_run())
    assert capfd.readouterr().err.count("blocked the event loop") == 1


def test_other_hubs_and_other_events_are_not_its_concern(watch, hub, capfd):
    blocked(object(), a_run())
    tell(object())
    assert capfd.readouterr().err == ""


def test_stopped_it_hears_nothing(watch, hub, capfd):
    watch.stop()
    blocked(hub, a_run())
    assert capfd.readouterr().err == ""


def test_the_last_watch_takes_the_thread_with_it(hub):
    first, second = BlockedWatch(0.5), BlockedWatch(0.5)
    first.start()
    second.start()
    first.stop()
    assert hub.killed == []
    second.stop()
    assert (hub.killed, hub.periodic_monitoring_thread) == ([True], None)
