"""`pytask run`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytask.cli.name_clash import refuse_namesake

if TYPE_CHECKING:
    from pytask.cli.config import Ambient

FOR_RUN = ("embedded", "data_dir", "monitor", "processes", "log_level", "log_format", "run_dir", "patch")


@click.command()
@click.argument("target")
@click.option(
    "--redis",
    metavar="URL",
    help="Address of Redis: redis://, rediss://, unix:// or redis+cluster://. Else $PYTASK_REDIS_URL,"
    " $REDIS_URL, pytask.toml, then redis://127.0.0.1:6379/0.",
)
@click.option(
    "--embedded", is_flag=True, default=None, help="Start a private Redis server, and stop it afterwards."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder in which the embedded server keeps its data.  [default: .pytask]",
)
@click.option("--max-tasks", type=click.IntRange(min=1), metavar="N", help="Tasks that run here at once.")
@click.option(
    "--monitor/--no-monitor",
    default=None,
    help="Hand on the tasks of dead workers, or do not.  [default: do]",
)
@click.option("--name", metavar="TEXT", help="What people call this worker.  [default: host and pid]")
@click.option(
    "--namespace",
    metavar="TEXT",
    help="In front of every key and channel. Each deployment on a server needs its own.",
)
@click.option(
    "--partitions", type=click.IntRange(min=1), metavar="N", help="Parts of the namespace, for a cluster."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    help="[default: info]",
)
@click.option("--log-format", type=click.Choice(["console", "json"]), help="[default: console]")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Worker processes under one supervisor, each with --max-tasks places.  [default: 1]",
)
@click.option(
    "--rebalance",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATE",
    help="Hand back up to so many tasks a second while other workers have more room.  [default: none]",
)
@click.option(
    "--start-rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATE",
    help="Start up to so many tasks a second; the others stay in the queue.  [default: no limit]",
)
@click.option(
    "--drain",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="At the end, let tasks end by themselves for so long, and then hand them back.  [default: 0]",
)
@click.option(
    "--task-logs",
    type=click.IntRange(min=0, max=10_000),
    metavar="N",
    help="Keep the last N lines that each task logs, for `pytask logs`.  [default: 0, none]",
)
@click.option("--config", metavar="FILE", help="File of settings.  [default: pytask.toml, if there]")
@click.option(
    "--run-dir",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Folder of the socket that `pytask health` asks.  [default: the user's own]",
)
@click.option(
    "--patch",
    metavar="NAME=on|off,...",
    help="What gevent replaces, by the arguments of its `patch_all`; see docs/patching.md."
    "  [default: gevent's]",
)
@click.option("--check", is_flag=True, help="Import TARGET, read the settings, and end.")
@click.option("--supervised", hidden=True)
@click.option("--private", type=bool, hidden=True)
@click.option("--time-scale", type=click.FloatRange(min=0, min_open=True), hidden=True)
def command(target: str, config: str | None, check: bool, **flags: Any) -> None:
    """Run the tasks of TARGET until SIGTERM or Ctrl-C.

    TARGET is `file.py`, `package.module` or `package.module:app`. Without a PyTask app in it, all Task
    classes that it defines are run.

    \b
    SIGTERM, SIGINT  hand all tasks back and end; a second one ends now.
                     With --drain: take no more tasks, let those that
                     run end; a second one hands them back, a third
                     ends now
    SIGHUP           restart in place: new code, new settings; tasks are
                     handed back for that time. Tried first with --check:
                     if that fails, the old code goes on
    SIGTSTP          take no more tasks, keep those that run; SIGCONT ends that
    SIGUSR1          print what every greenlet does, with its task, and the busiest tasks

    The process is patched by gevent, and looks up names in native threads of its own, as the system does
    (hosts, nsswitch.conf, a changed resolv.conf); $GEVENT_RESOLVER chooses another resolver of gevent's.
    """  # noqa: D301 - a mark for click: what follows is not to be wrapped
    from pytask.daemon.flags import HANDED_URL

    if flags["supervised"] or check:
        flags["redis"] = flags["redis"] or os.environ.get(HANDED_URL)
    if flags["redis"] and flags["embedded"]:
        raise click.UsageError("--redis and --embedded exclude each other: which server is it to be?")
    if flags["data_dir"] and not flags["embedded"]:
        raise click.UsageError("--data-dir is the folder of the embedded server: add --embedded")
    refuse_namesake()
    from pytask.cli.config import Ambient

    ambient = Ambient(config)
    processes = _settle(ambient, flags)
    if processes > 1 and not check:
        from pytask.daemon.supervise import supervise

        ambient.check()
        given = {"config": config} if config else {}
        click.get_current_context().exit(supervise(target, processes, flags | given))
    _patch(flags.pop("patch") or "")
    from pytask.daemon import serve
    from pytask.daemon.flags import Flags

    ambient.check()
    of_the_app = {name: value for name, value in ambient.given().items() if name not in FOR_RUN}
    begin = serve.check if check else serve.serve
    begin(target, Flags(**flags, ambient=of_the_app))


def _settle(ambient: Ambient, flags: dict[str, Any]) -> int:
    """Put what file and environment say about the daemon into `flags`; the number of processes."""
    # Of a supervised child the parent has started the server, and the siblings.
    settled = {"processes"} if flags["supervised"] else set()
    settled |= {"embedded", "data_dir"} if flags["supervised"] or flags["redis"] else set()
    for name in FOR_RUN:
        value = ambient.get(name, flags[name])
        flags[name] = value.value if value.given and name not in settled else None
    flags["data_dir"] = Path(flags["data_dir"]) if flags["data_dir"] else None
    flags["embedded"] = bool(flags["embedded"])
    flags["monitor"] = flags["monitor"] is not False
    return int(flags.pop("processes") or 1)


def _patch(changes: str) -> None:
    """Let gevent patch this process, before anything that keeps unpatched functions is imported."""
    # The tree is gevent's own record of who spawned whom, with a stack each: we keep our own, smaller one.
    os.environ.setdefault("GEVENT_TRACK_GREENLET_TREE", "0")
    from pytask.runtime.process import patched

    patched.patch(patched.read(changes))
    from pytask.runtime.process.resolver import use_own_resolver

    use_own_resolver()  # before the target is imported, which may look up names
