"""`pytask run`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytask.cli.name_clash import check_name_clash
from pytask.cli.options import duration

if TYPE_CHECKING:
    from pytask.cli.config import Ambient

FOR_RUN = ("embedded", "data_dir", "monitor", "processes", "log_level", "log_format", "run_dir", "patch")


@click.command()
@click.argument("target")
@click.option(
    "--redis",
    metavar="URL",
    help="Redis address: redis://, rediss://, unix:// or redis+cluster://.  [default: $PYTASK_REDIS_URL,"
    " $REDIS_URL, pytask.toml, then redis://127.0.0.1:6379/0]",
)
@click.option(
    "--embedded", is_flag=True, default=None, help="Start a private Redis server and stop it at exit."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data directory of the embedded server.  [default: .pytask]",
)
@click.option(
    "--max-tasks", type=click.IntRange(min=1), metavar="N", help="Maximum number of concurrent tasks."
)
@click.option(
    "--monitor/--no-monitor",
    default=None,
    help="Run a monitor, which requeues the tasks of dead workers.  [default: --monitor]",
)
@click.option("--name", metavar="TEXT", help="Display name of this worker.  [default: host and pid]")
@click.option(
    "--namespace",
    metavar="TEXT",
    help="Prefix of every key and channel. Deployments that share a server need different ones.",
)
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of partitions of the namespace, for Redis Cluster.",
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
    help="Worker processes under one supervisor, each with --max-tasks slots.  [default: 1]",
)
@click.option(
    "--rebalance",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATE",
    help="Release at most RATE tasks per second to less loaded workers.  [default: none]",
)
@click.option(
    "--start-rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATE",
    help="Start at most RATE tasks per second; the rest stay in the queue.  [default: no limit]",
)
@click.option(
    "--drain",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="At shutdown, wait SECONDS for tasks to end by themselves, then requeue the rest.  [default: 0]",
)
@click.option(
    "--failover",
    metavar="SECONDS",
    callback=duration,
    help="Stop tasks after SECONDS (15 to 60) without Redis; the shorter, the sooner"
    " tasks of a dead worker continue elsewhere.  [default: 60]",
)
@click.option(
    "--task-logs",
    type=click.IntRange(min=0, max=10_000),
    metavar="N",
    help="Store the last N log lines of each task for `pytask logs`.  [default: 0, none]",
)
@click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    help="Serve /metrics for Prometheus; without HOST for this machine only. With --processes one page for"
    " all.  [default: on the health socket only]",
)
@click.option(
    "--traces",
    is_flag=True,
    default=None,
    help="Make OpenTelemetry spans of runs, and export them to $OTEL_EXPORTER_OTLP_ENDPOINT.",
)
@click.option("--config", metavar="FILE", help="Configuration file.  [default: pytask.toml, if present]")
@click.option(
    "--run-dir",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Directory of the socket for `pytask health`.  [default: the user's runtime directory]",
)
@click.option(
    "--patch",
    metavar="NAME=on|off,...",
    help="What gevent patches, as arguments of its `patch_all`; see docs/patching.md.  [default: gevent's]",
)
@click.option("--check", is_flag=True, help="Import TARGET, read the settings, and exit.")
@click.option("--supervised", hidden=True)
@click.option("--standby", is_flag=True, hidden=True)
@click.option("--private", type=bool, hidden=True)
@click.option("--time-scale", type=click.FloatRange(min=0, min_open=True), hidden=True)
def command(target: str, config: str | None, check: bool, **flags: Any) -> None:
    """Run the tasks of TARGET until SIGTERM or Ctrl-C.

    TARGET is `file.py`, `package.module` or `package.module:app`. If it contains no PyTask app, all Task
    classes that it defines are run.

    \b
    SIGTERM, SIGINT  requeue all tasks and exit; a second one exits at once.
                     With --drain: take no more tasks and wait for the
                     running ones; a second one requeues them, a third
                     exits at once
    SIGHUP           restart in place with new code and settings; tasks
                     are requeued meanwhile. The new code is first tested
                     with --check; if that fails, the old code keeps running
    SIGTSTP          take no more tasks, keep running ones; SIGCONT resumes
    SIGUSR1          print the stack of every greenlet and coroutine with its
                     task, and the busiest tasks

    The process is patched by gevent. Host names are resolved in native threads by the system's resolver
    (hosts, nsswitch.conf, a changed resolv.conf); $GEVENT_RESOLVER selects another gevent resolver.
    """  # noqa: D301 - tells click not to rewrap the next paragraph
    from pytask.daemon.flags import HANDED_URL

    if flags["supervised"] or check:
        flags["redis"] = flags["redis"] or os.environ.get(HANDED_URL)
    if flags["redis"] and flags["embedded"]:
        raise click.UsageError("--redis and --embedded cannot be combined")
    if flags["data_dir"] and not flags["embedded"]:
        raise click.UsageError("--data-dir applies to the embedded server only: add --embedded")
    check_name_clash()
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

    if flags["standby"]:
        serve.prepare(Flags(**flags))
        ambient = Ambient(config)  # the file may have changed meanwhile
    ambient.check()
    of_the_app = {name: value for name, value in ambient.given().items() if name not in FOR_RUN}
    begin = serve.check if check else serve.serve
    begin(target, Flags(**flags, ambient=of_the_app))


def _settle(ambient: Ambient, flags: dict[str, Any]) -> int:
    """Add the daemon's settings from file and environment to `flags`; returns the number of processes."""
    # In a supervised child the parent has already started the server and the other children.
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
    # gevent's own greenlet tree keeps a stack for each spawn; pytask keeps a smaller one.
    os.environ.setdefault("GEVENT_TRACK_GREENLET_TREE", "0")
    from pytask.runtime.process import patched

    patched.patch(patched.read(changes))
    from pytask.runtime.process.resolver import use_own_resolver

    use_own_resolver()  # before the target is imported, which may resolve host names
