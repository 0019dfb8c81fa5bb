"""`pytask run --processes N`: the command line of children, the log, the server."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from pytask.daemon.child import Command, Slot
from pytask.daemon.flags import HANDED_URL
from pytask.daemon.health_socket import socket_of_this_process
from pytask.daemon.relaunch import Launch
from pytask.daemon.rolling_restart import RollingRestart
from pytask.daemon.supervisor import Supervisor
from pytask.daemon.supervisor_health import SupervisorHealth
from pytask.domain.escaping import escaped, in_json
from pytask.domain.wording import counted
from pytask.logger import get_logger
from pytask.runtime.process.systemd import Notifier, take_from

log = get_logger(__name__)


def arguments(target: str, flags: Mapping[str, Any]) -> list[str]:
    """The command line of `pytask run` for the given flags."""
    words = ["run"]
    for name, value in flags.items():
        option = name.replace("_", "-")
        if name == "monitor":
            words += [] if value else ["--no-monitor"]
        elif value is True and name == "traces":
            words.append("--traces")
        elif value is not None and value is not False:
            words += [f"--{option}={value}"]
    return [*words, "--", target]


def supervise(target: str, number: int, flags: Mapping[str, Any]) -> int:
    """Run `number` workers until a signal; returns the exit code.  The parent owns an embedded server."""
    launch = Launch.recorded()
    flags = dict(flags)
    embedded, folder, run_dir = (flags.pop(name, None) for name in ("embedded", "data_dir", "run_dir"))
    _set_up_logging(flags)
    with ExitStack() as servers:
        if embedded:
            from pytask.daemon.private_server import private_url

            flags |= {"redis": private_url(folder, servers), "private": True}
        log.info("supervisor %d runs %s of %s", os.getpid(), counted(number, "worker"), target)
        health = SupervisorHealth(socket_of_this_process(run_dir, "this supervisor"), Notifier())
        if url := flags.pop("redis", None):
            # Command lines, with the password, are readable by all users; an environment only by its owner.
            os.environ[HANDED_URL] = url
        words = arguments(target, flags)
        environ = dict(os.environ)
        take_from(environ)  # only the parent notifies the service manager
        slots = [Slot(place + 1) for place in range(number)]
        restart = RollingRestart(slots, health, partial(launch.check, words), launch.folder)
        command = Command([*launch.program, *words], launch.folder, environ)
        code = Supervisor(command, slots, health, restart).run()
        log.info("all children have ended")
        return code


class ConsoleLines(logging.Formatter):
    """Times in UTC, as in the children."""

    converter = staticmethod(time.gmtime)
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The message on one line: it may contain text of children."""
        return escaped(super().formatMessage(record))


class JsonLines(logging.Formatter):
    """The format of the children, whose implementation needs gevent."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{when}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "worker": "supervisor",
            "task": "-",
            "message": record.getMessage(),
        }
        return in_json(json.dumps(line, ensure_ascii=False))


def _set_up_logging(flags: Mapping[str, Any]) -> None:
    handler = logging.StreamHandler()
    console = "%(asctime)s %(levelname)-7s [supervisor] %(name)s: %(message)s"
    handler.setFormatter(JsonLines() if flags.get("log_format") == "json" else ConsoleLines(console))
    root = logging.root
    root.addHandler(handler)
    root.setLevel((flags.get("log_level") or "info").upper())
