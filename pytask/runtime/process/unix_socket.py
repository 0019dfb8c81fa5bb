"""The unix socket at which a process answers `pytask health`, with or without gevent."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

BACKLOG = 16


def bind(listener: Any, path: Path) -> None:
    """Let `listener` answer at `path`; `OSError` where another process answers there.

    It gets its name once it listens, so that whoever finds it can connect to it.
    """
    if answers(path):  # processes of two containers may have one number, and a folder in common
        raise OSError(errno.EADDRINUSE, "another process answers there; give this one a folder: --run-dir")
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    listener.bind(str(new))
    listener.listen(BACKLOG)
    new.replace(path)  # of a dead process with our number, if there is one


def answers(path: Path) -> bool:
    """Whether somebody listens at a socket; also where that cannot be seen for certain."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.setblocking(False)  # noqa: FBT003 - the method's own word
        try:
            line.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
