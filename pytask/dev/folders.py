"""The folders with the data of private servers: how another command finds the server of its folder.

What every command of the command line imports, so it loads the rest only if `pytask dev` runs somewhere.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

PREFIX = "pytask-dev-"


def running(project: Path) -> str | None:
    """The URL of the private server that runs for this folder, of several the last one; None without one."""
    found = folders()
    if not found:
        return None
    from pytask.adapters.embedded import running_url

    beginning = name_of(project)
    ours = [folder for folder in found if folder.name.startswith(beginning)]
    return next((url for folder in reversed(ours) if (url := running_url(folder))), None)


def name_of(project: Path) -> str:
    """How the names of the folders for this project begin."""
    from hashlib import sha256

    return f"{PREFIX}{sha256(os.fsencode(project.resolve())).hexdigest()[:16]}-"


def folders() -> list[Path]:
    """Those of this user, the newest last."""
    from tempfile import gettempdir

    found: list[tuple[float, Path]] = []
    with suppress(OSError), os.scandir(gettempdir()) as entries:
        for entry in entries:
            with suppress(OSError):  # removed meanwhile
                if entry.name.startswith(PREFIX) and _own(info := entry.stat(follow_symlinks=False)):
                    found.append((info.st_mtime, Path(entry.path)))
    return [folder for _, folder in sorted(found)]


def _own(info: os.stat_result) -> bool:
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid()
