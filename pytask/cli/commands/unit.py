"""`pytask unit`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import click

from pytask.daemon.relaunch import logical_folder

UNIT = """\
# /etc/systemd/system/{name}.service, made by `pytask unit`.
#   sudo systemctl daemon-reload && sudo systemctl enable --now {name}
#   sudo systemctl reload {name}      new code: tasks are handed back, and taken again
#   sudo systemctl kill -s USR1 {name}   what every greenlet does, in the journal
#   sudo pytask health --run-dir /run/{name}   whether it lives and takes tasks, without asking Redis
[Unit]
Description=pytask worker of {target}
After=network-online.target
Wants=network-online.target
# A worker that cannot start is tried for ever: Redis, or the code, may come back.
StartLimitIntervalSec=0

[Service]
# Ready once it takes tasks and listens; the start waits for Redis as long as that takes.
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
{user}WorkingDirectory={folder}
# The folder as given: after a deploy that switches a link in it, a reload goes by the link.
Environment="PWD={pwd}" PYTHONUNBUFFERED=1
# The address, with its password, in a file that only root reads: PYTASK_REDIS_URL=redis://...
EnvironmentFile=-/etc/default/{name}
RuntimeDirectory={name}
# The ping comes from the event loop. The kernel timer ends a hung worker after 70 s, this one after 30.
WatchdogSec=30
# Wrong settings (78) or a wrong target (2) do not mend themselves.
Restart=always
RestartSec=1
RestartPreventExitStatus=2 78
# 25 s to hand all tasks back, and a margin; only the main process gets the signal.
KillMode=mixed
TimeoutStopSec=40
LimitNOFILE=65536
NoNewPrivileges=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""

NAME = re.compile(r"[A-Za-z0-9:_@-][A-Za-z0-9:_.@-]{0,200}")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}\$?")


@click.command()
@click.argument("target")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.option("--name", help="Name of the service.  [default: pytask-TARGET]")
@click.option("--user", help="The user it runs as.")
@click.option(
    "--folder", type=click.Path(file_okay=False), help="Its working directory.  [default: this one]"
)
def command(
    target: str, options: tuple[str, ...], name: str | None, user: str | None, folder: str | None
) -> None:
    """Print a systemd unit that runs TARGET.

    Further OPTIONS behind `--` are those of `pytask run`, as in: pytask unit app.py -- --processes 4
    """
    from pytask.terminal import out, say

    place = Path(logical_folder(), folder or "")
    module = target.partition(":")[0]
    stem = Path(module).stem if target.endswith(".py") else module
    name = name or "pytask-" + re.sub(r"[^A-Za-z0-9:_.-]", "-", stem)
    words = [sys.executable, "-m", "pytask", "run", *options, target]
    _refuse(name, user, [*words, str(place)])
    if not _is_there(module, place):
        say(
            f"there is no {module} in {place}: the unit is printed all the same, as it may be for another"
            " machine"
        )
    out(
        UNIT.format(
            name=name,
            target=target.replace("%", "%%"),
            command=" ".join(_quoted(word) for word in words),
            user=f"User={user}\n" if user else "",
            folder=str(place).replace("%", "%%"),
            pwd=str(place).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%"),
        ),
        nl=False,
    )


def _refuse(name: str, user: str | None, words: Sequence[str]) -> None:
    """What would be a directive of its own, a file elsewhere, or a password that everybody can read."""
    from pytask.adapters.redis.address import hide_password
    from pytask.domain.errors import ConfigError
    from pytask.domain.escaping import escaped

    if not NAME.fullmatch(name):
        raise ConfigError(
            f"--name is {name!r}, and the name of a unit has letters, digits and : _ . @ - only, the first"
            " no dot, as in --name pytask-app"
        )
    if user is not None and not USER.fullmatch(user):
        raise ConfigError(f"--user is {user!r}, and no name of a user")
    for before, word in pairwise(["", *words]):
        if escaped(word) != word:
            raise ConfigError(f"{word!r} has a line break or another control character: a unit takes none")
        option, _, value = word.partition("=") if word.startswith("--") else (before, "", word)
        shown = hide_password(value) if option == "--redis" or "://" in value else value
        if shown != value:
            raise ConfigError(
                f"everybody can read a unit, and {shown!r} has a password: leave it away, and put the address"
                f" into /etc/default/{name} (mode 600): PYTASK_REDIS_URL=redis://..."
            )


def _is_there(module: str, folder: Path) -> bool:
    """Whether `pytask run` would find the file, or the outermost package, without importing anything."""
    if module.endswith(".py"):
        return (folder / module).is_file()
    from importlib.machinery import PathFinder

    return PathFinder.find_spec(module.partition(".")[0], [str(folder), *sys.path]) is not None


def _quoted(word: str) -> str:
    # systemd expands % and $, and splits at spaces.
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if not text or any(char in text for char in " \t'\"\\;") else text
