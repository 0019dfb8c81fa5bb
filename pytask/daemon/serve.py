"""`pytask run` in the patched process: flags, address, server, monitor, worker."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

import attrs

from pytask import files
from pytask.adapters.redis.address import DEFAULT_URL
from pytask.app import PyTask
from pytask.daemon.flags import Flags, Value
from pytask.daemon.hangup import Hangup
from pytask.daemon.health_socket import socket_of_this_process
from pytask.daemon.interrupt import INTERRUPTED
from pytask.daemon.private_server import DATA_DIR, private_url
from pytask.daemon.relaunch import Launch
from pytask.daemon.target import ended, find_app
from pytask.domain.errors import ConfigError, Denied, StoreError
from pytask.domain.timing import Timing
from pytask.logger import get_logger
from pytask.metrics import page
from pytask.runtime import tracing
from pytask.runtime.foreground import Daemon
from pytask.runtime.monitor import Monitor
from pytask.runtime.process import debugger, life_lock, log_format
from pytask.runtime.settings import Settings, changed
from pytask.runtime.standby import Standby, await_begin
from pytask.runtime.supervised import SupervisorLink

log = get_logger(__name__)

STACK = signal.SIGUSR2  # on standby: print the stack of the thread with the event loop


def serve(target: str, flags: Flags) -> None:
    """Run the target until a signal.  Raises :class:`PytaskError` if it cannot be run."""
    hangup = Hangup(launch := Launch.recorded())
    with _ended_by_signals(), ExitStack() as servers:
        app = _found(target, flags)
        link = SupervisorLink.parse(flags.supervised) if flags.supervised else None
        app.settings = _settings(app.settings, flags, link)
        _set_up_logging(app, flags)
        if app.settings.traces:
            tracing.set_up(app.settings.name, os.environ)
            servers.callback(tracing.flush)
        files.raise_limit(app.settings.max_tasks + app.settings.redis_connections)
        if flags.monitor:
            _add_monitor(app)
        _connect(app, flags, servers)
        if link is not None:
            # The supervisor answers health requests and handles SIGHUP.
            daemon = Daemon(link=link, standby=Standby() if flags.standby else None)
        else:
            daemon = Daemon(hangup=hangup, health_path=socket_of_this_process(flags.run_dir, "this worker"))
        debugger.install()
        try:
            ended_by = app.serve(daemon)
        except Denied as error:
            _deny(error, app)
    if ended_by == signal.SIGHUP:
        log.info("restarted by SIGHUP")
        life_lock.leave()
        logging.shutdown()
        launch.again(sys.argv[1:])


def _found(target: str, flags: Flags) -> PyTask:
    try:
        return find_app(target)
    except SystemExit as error:
        if flags.standby:  # where that is to be said with file and line
            raise ended(error, target) from None
        raise


def prepare(flags: Flags) -> None:
    """On standby: load what every worker needs, report that, and wait for the word to import the target."""
    # What is imported at the first use elsewhere, and takes most of the time of a start.
    import redis  # noqa: F401
    from gevent import _monitor  # noqa: F401 - of the watch for a blocked loop

    from pytask.adapters.redis import backend

    backend.prepare_scripts()
    if flags.supervised and not await_begin(int(flags.supervised.partition(":")[0])):
        raise SystemExit(0)
    # Bytecode of the target would lie in the project, and be taken for that of a second save within the same
    # second.  That of packages is written before: an installer may have left that to us.
    faulthandler.register(
        STACK, all_threads=False
    )  # where Python code runs, even in a call that never returns
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def check(target: str, flags: Flags) -> None:
    """Import the target and read the settings, as `serve` does; raises the same errors."""
    app = find_app(target)
    app.settings = _settings(app.settings, flags, None)
    if app.settings.metrics is not None:
        page.require()
    if flags.monitor:
        _add_monitor(app)
    app.check_prestarted()
    with ExitStack() as servers:
        if not flags.embedded:
            _connect(app, flags, servers)


def _settings(own: Settings, flags: Flags, link: SupervisorLink | None) -> Settings:
    """Apply file and environment, unless overridden by the app or a flag; then the flags."""
    default = Settings()
    free = [
        field.name
        for field in attrs.fields(Settings)
        if getattr(own, field.name) == getattr(default, field.name)
        and getattr(flags, field.name, None) is None
    ]
    ambient = {name: flags.ambient[name] for name in free if name in flags.ambient}
    try:
        settings = changed(own, {name: value.value for name, value in ambient.items()})
    except ConfigError as error:
        for name, value in ambient.items():
            error.add_note(f"  {name} = {value.shown} ({value.origin})")
        raise
    settings = changed(settings, _given(flags))
    if link is None:
        return settings
    # Host and pid, unless a name was given: the pid of the remaining process.
    name = f"{socket.gethostname()}-{os.getppid()}" if settings.name == default.name else settings.name
    return attrs.evolve(settings, name=f"{name}-{link.number}")


def _given(flags: Flags) -> dict[str, Any]:
    """The settings given by flags."""
    names = (
        "max_tasks", "name", "namespace", "partitions", "rebalance", "start_rate", "drain", "task_logs",
        "failover", "metrics", "traces",
    )  # fmt: skip
    given = {name: getattr(flags, name) for name in names if getattr(flags, name) is not None}
    if flags.time_scale is not None:
        given["timing"] = Timing().scaled(flags.time_scale)
    return given


def _set_up_logging(app: PyTask, flags: Flags) -> None:
    root = logging.root
    if root.handlers and not (flags.log_level or flags.log_format):
        log_format.name_tasks(app.settings.name)  # the target has configured logging
        return
    for handler in list(root.handlers):
        root.removeHandler(handler)
    log_format.set_up(app.settings.name, flags.log_level or "info", flags.log_format or "console")


def _add_monitor(app: PyTask) -> None:
    if Monitor.Config.NAME not in app.prestarted:
        app.add_task(Monitor)
        app.pre_start_task(Monitor.Config.NAME)


# -- the address --------------------------------------------------------------------------------------------


def _connect(app: PyTask, flags: Flags, servers: ExitStack) -> None:
    chosen = _source(app, flags, servers)
    if chosen.private and app.settings.embargo is None:
        # A private server has no failover, and each write is in its file before it is acknowledged.
        app.settings = attrs.evolve(app.settings, embargo=False)
    app.configure(chosen.value, origin=chosen.origin)
    try:
        log.debug("the address: %s", app.address)  # raises for an invalid address
    except (ConfigError, StoreError) as error:
        error.add_note(f"  the address is {chosen.origin}")
        raise


def _source(app: PyTask, flags: Flags, servers: ExitStack) -> Value:
    """The address (None: the app's own) and its origin."""
    if flags.embedded:
        folder = (flags.data_dir or DATA_DIR).absolute()
        return Value(private_url(folder, servers), f"the embedded server of {folder}", private=True)
    if flags.redis:
        if flags.private:
            return Value(flags.redis, "the embedded server of the supervisor", private=True)
        return Value(flags.redis, "from --redis")
    if app.chose_address:
        return Value(None, "from the app itself")
    unset = "the default, as neither --redis nor $PYTASK_REDIS_URL nor $REDIS_URL is given"
    return flags.ambient.get("redis_url") or Value(DEFAULT_URL, unset)


def _deny(error: Denied, app: PyTask) -> NoReturn:
    error.add_note(
        f"  server: {app.address}. Give a valid user and password with the rights for pytask's"
        " commands (`pytask acl worker` prints the rules): redis://user:password@host:port/0"
    )
    raise error


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Make SIGTERM and Ctrl-C unwind the stack before the worker handles them, so that the server is stopped.

    The hub would print a KeyboardInterrupt, but not SystemExit.
    """
    codes = {signal.SIGTERM: 0, signal.SIGINT: INTERRUPTED}

    def end(number: int, _frame: object) -> NoReturn:
        raise SystemExit(codes[signal.Signals(number)])

    before = {number: signal.signal(number, end) for number in codes}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
