"""The unix socket on which a process answers `pytask health`, with or without gevent."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

BACKLOG = 16


def bind(listener: Any, path: Path) -> None:
    """Bind `listener` to `path`; `OSError` if another process answers there.

    It is renamed to `path` once it listens, so that an existing path always accepts connections.
    """
    if answers(path):  # processes of two containers may have the same pid and share the directory
        raise OSError(
            errno.EADDRINUSE, "another process answers there; choose another directory with --run-dir"
        )
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    listener.bind(str(new))
    listener.listen(BACKLOG)
    new.replace(path)  # replaces that of a dead process with our pid


def answers(path: Path) -> bool:
    """Whether a process listens on a socket; True if uncertain."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.setblocking(False)  # noqa: FBT003 - the method's own word
        try:
            line.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
