"""Folders for private files of a process: no other user may have write access."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pytask.domain.errors import UnsafeFolder

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
OPTIONS = "--data-dir, --run-dir"


def make_own(path: Path) -> None:
    """Create the folder if it is missing, and check it with :func:`check_own`.  Also raises `OSError`."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_own(path)


def check_own(path: Path) -> None:
    """Raise :class:`UnsafeFolder` if another user owns the folder or the link to it, or may write to it.

    In a folder like /tmp anybody may have created it first, with links to files of other users.
    """
    link, found, user = path.lstat(), path.stat(), os.getuid()
    if link.st_uid not in (user, 0) or found.st_uid != user:  # the link of a service manager belongs to root
        raise UnsafeFolder(f"{path} belongs to another user: choose a folder of your own ({OPTIONS})")
    if found.st_mode & OTHERS_MAY_WRITE:
        raise UnsafeFolder(f"other users may write to {path}: chmod go-w it, or choose another ({OPTIONS})")


def refuse_links(path: Path) -> None:
    """Raise :class:`UnsafeFolder` if the folder contains a symbolic link at any depth."""
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            if (Path(folder) / name).is_symlink():
                raise UnsafeFolder(
                    f"{Path(folder) / name} is a symbolic link, and a server would write where it leads:"
                    f" remove it, or choose another folder ({OPTIONS})"
                )
