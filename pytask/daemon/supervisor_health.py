"""Reports the health of a supervisor's children to the service manager and to `pytask health`.

The children report to it once a second over their lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytask.daemon.supervisor_metrics import SupervisorMetrics
from pytask.domain.wording import counted
from pytask.logger import get_logger
from pytask.metrics import http
from pytask.runtime.process.systemd import Notifier
from pytask.runtime.process.unix_socket import bind

log = get_logger(__name__)

SILENT = 10.0  # seconds without a report after which a child's event loop counts as blocked
PATIENCE = 30.0  # seconds by which a start extends its timeout with each report
Child = tuple[dict[str, Any] | None, float]
"""The last report of a child (None: none yet), and its age in seconds."""


def summary(children: Sequence[Child]) -> dict[str, Any]:
    """The combined health: live while one child responds, ready while one takes tasks.

    A child that hangs is ended by its kernel timer and restarted; the others must not be ended for it.
    """
    turning = [said for said, age in children if said is not None and age < SILENT and said.get("live")]
    ready = [said for said in turning if said.get("ready")]
    why = [f"{len(children) - len(turning)} of {len(children)} children do not answer"]
    why = why if len(turning) < len(children) else []
    for said in turning:
        why += [f"{said.get('name')}: {reason}" for reason in said.get("why", ())]
    return {
        "pid": os.getpid(),
        "name": "supervisor",
        "live": bool(turning) or all(said is None for said, _ in children),
        "ready": bool(ready),
        "why": why,
        "running": sum(said.get("running", 0) for said in turning),
        "max_tasks": sum(said.get("max_tasks", 0) for said in turning),
        "children": [said for said, _ in children if said is not None],
    }


class SupervisorHealth:
    """The supervisor's socket, and its notifications to the service manager."""

    def __init__(self, path: Path | None, notifier: Notifier) -> None:
        self._notifier = notifier
        self._path = path
        self._announced = False
        self._reloading = False
        self._leaving = False
        self._notified_at = -PATIENCE
        self.metrics = SupervisorMetrics()
        self.listener = _listen(path) if path is not None else None
        watchdog = notifier.watchdog
        self.pause = min(1.0, watchdog / 3) if watchdog else 1.0 if notifier.wanted else None
        """Maximum seconds until the next turn; None: no periodic reports."""

    def turn(self, children: Sequence[Child]) -> None:
        """Send due notifications."""
        if not self._notifier.wanted:
            return
        seen = summary(children)
        if self._notifier.watchdog and seen["live"]:
            self._notifier.alive()
        now = time.monotonic()
        if self._leaving or self._reloading:
            return
        everyone = all(said is not None and said.get("ready") for said, _ in children)
        running = counted(seen["running"], "task")
        status = f"{running} running in {counted(len(children), 'process', 'processes')}"
        if everyone and not self._announced:
            self._announced = True
            self._notifier.ready(status)
        elif not self._announced and now - self._notified_at > PATIENCE / 3:
            self._notified_at = now
            self._notifier.waiting("; ".join(seen["why"]) or status, PATIENCE)
        elif self._announced and now - self._notified_at > PATIENCE:
            self._notified_at = now
            self._notifier.send(f"STATUS={status}")

    def answer(self, children: Sequence[Child]) -> None:
        """Answer requests on the socket; never blocks."""
        if self.listener is None:
            return
        with contextlib.suppress(OSError):
            line, _ = self.listener.accept()
            if http.is_request(line):
                self.metrics.answer(line)
                return
            with line:
                line.settimeout(0)
                line.sendall(json.dumps(summary(children)).encode())

    def reload(self, *, done: bool, how: str = "reloaded") -> None:
        """The children are replaced one after the other, or have been."""
        self._reloading = not done
        if done:
            self._notifier.ready(how)
        else:
            self._notifier.reloading()

    def leave(self, drain: float = 0.0) -> None:
        """All children release their tasks after `drain` seconds."""
        if not self._leaving:
            self._leaving = True
            self._notifier.stopping()
            if drain:
                self._notifier.waiting("the children take no more tasks", drain + PATIENCE)

    def close(self) -> None:
        """Close the sockets."""
        self.metrics.close()
        if self.listener is None:
            return
        self.listener.close()
        if self._path is not None:  # otherwise nothing was bound
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


def _listen(path: Path) -> socket.socket | None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bind(listener, path)
        listener.settimeout(0)
    except OSError as error:
        listener.close()
        log.warning("`pytask health` will not find this supervisor: %s: %s", path, error)
        return None
    return listener
