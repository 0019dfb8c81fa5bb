"""`pytask unit`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pytask.console.launch import logical_folder

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
    place = Path(logical_folder(), folder or "")
    module = target.partition(":")[0]
    if not _is_there(module, place):
        click.echo(
            f"pytask: there is no {module} in {place}: the unit is printed all the same, as it may be for"
            " another machine",
            err=True,
        )
    stem = Path(target.partition(":")[0]).stem if target.endswith(".py") else target.partition(":")[0]
    words = [sys.executable, "-m", "pytask", "run", *options, target]
    click.echo(
        UNIT.format(
            name=name or f"pytask-{stem}",
            target=target,
            command=" ".join(_quoted(word) for word in words),
            user=f"User={user}\n" if user else "",
            folder=str(place).replace("%", "%%"),
            pwd=str(place).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%"),
        ),
        nl=False,
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
