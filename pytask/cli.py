"""The command `pytask`.

`--help` must answer at once, so this module imports click, the standard library and our errors; what is
heavy is imported by the command that needs it, and only after gevent has patched the process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

import pytask
from pytask.domain.errors import (
    BadTarget,
    ConfigError,
    Denied,
    Namesake,
    PytaskError,
    ServerNotFound,
    Unavailable,
)

FAILED, USAGE, UNREACHABLE, BAD_CONFIG, INTERRUPTED = 1, 2, 69, 78, 130

# The first class that fits decides.
EXIT_CODES: tuple[tuple[type[PytaskError], int], ...] = (
    (BadTarget, USAGE),
    (ConfigError, BAD_CONFIG),
    (Denied, BAD_CONFIG),
    (ServerNotFound, BAD_CONFIG),
    (Unavailable, UNREACHABLE),
    (PytaskError, FAILED),
)


class ErrorBorder(click.Group):
    """Turns our errors into text on standard error and an exit code; others keep their traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except PytaskError as error:
            click.echo("\n".join([f"pytask: {error}", *getattr(error, "__notes__", ())]), err=True)
            ctx.exit(next(code for kind, code in EXIT_CODES if isinstance(error, kind)))


@click.group(cls=ErrorBorder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(getattr(pytask, "__version__", "?"), prog_name="pytask")
def main() -> None:
    """Long-running tasks on greenlets, their state kept in Redis."""


@main.command()
@click.argument("target")
@click.option(
    "--redis",
    metavar="URL",
    help="Address of Redis: redis://, rediss:// or unix://. Else $PYTASK_REDIS_URL, $REDIS_URL, then"
    " redis://127.0.0.1:6379/0.",
)
@click.option("--embedded", is_flag=True, help="Start a private Redis server, and stop it afterwards.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder in which the embedded server keeps its data.  [default: .pytask]",
)
@click.option("--max-tasks", type=click.IntRange(min=1), metavar="N", help="Tasks that run here at once.")
@click.option("--monitor/--no-monitor", default=True, help="Hand on the tasks of dead workers, or do not.")
@click.option("--name", metavar="TEXT", help="What people call this worker.  [default: host and pid]")
@click.option("--namespace", metavar="TEXT", help="In front of every key and channel.")
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
    default=1,
    metavar="N",
    help="Worker processes under one supervisor, each with --max-tasks places.  [default: 1]",
)
@click.option(
    "--rebalance",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATE",
    help="Hand back up to so many tasks a second while other workers have more room.  [default: none]",
)
@click.option("--supervised", hidden=True)
@click.option("--time-scale", type=click.FloatRange(min=0, min_open=True), hidden=True)
def run(target: str, processes: int, **flags: Any) -> None:
    """Run the tasks of TARGET until SIGTERM or Ctrl-C.

    TARGET is `file.py`, `package.module` or `package.module:app`. Without a PyTask app in it, all Task
    classes that it defines are run.
    """
    if flags["redis"] and flags["embedded"]:
        raise click.UsageError("--redis and --embedded exclude each other: which server is it to be?")
    if flags["data_dir"] and not flags["embedded"]:
        raise click.UsageError("--data-dir is the folder of the embedded server: add --embedded")
    refuse_namesake()
    if processes > 1:
        from pytask.supervisor import supervise

        click.get_current_context().exit(supervise(target, processes, flags))
    patch()
    from pytask.daemon import Flags, serve

    serve(target, Flags(**flags))


@main.command()
@click.option("--for", "seconds", type=click.FloatRange(min=1), metavar="SECONDS", help="End after so long.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data in this folder instead of a temporary one.",
)
def demo(seconds: float | None, data_dir: Path | None) -> None:
    """Show what pytask does: a private server, two workers, one of them killed. Takes half a minute.

    Ends with Ctrl-C, or after --for SECONDS; exit code 0 if all that it shows went right.
    """
    refuse_namesake()
    from pytask.demo import play

    click.get_current_context().exit(play(seconds, data_dir))


@main.command()
@click.argument("role", type=click.Choice(["producer", "watcher", "operator", "worker"]))
@click.option("--namespace", default="", metavar="TEXT", help="In front of every key and channel.")
def acl(role: str, namespace: str) -> None:
    """Print the line for redis-cli that makes a user of least privilege for ROLE.

    Put a password of your own in place of PASSWORD. docs/security.md says what each role may do.
    """
    from pytask.adapters.acl import command

    click.echo(command(role, namespace))


def patch() -> None:
    """Let gevent patch this process, before anything that keeps unpatched functions is imported."""
    # The default resolver shares ten native threads with the tasks; ares has its own sockets.
    os.environ.setdefault("GEVENT_RESOLVER", "ares")
    # The tree is gevent's own record of who spawned whom, with a stack each: we keep our own, smaller one.
    os.environ.setdefault("GEVENT_TRACK_GREENLET_TREE", "0")
    from gevent import monkey

    monkey.patch_all()


def refuse_namesake() -> None:
    """Raise :class:`Namesake` if PyPI's `pytask`, another project, is installed beside ours."""
    from importlib import metadata

    try:
        version = metadata.version("pytask")
    except metadata.PackageNotFoundError:
        return
    raise Namesake(
        f"two projects share the import name `pytask` here: ours, PyPI's `pytaskd`, and the workflow tool"
        f" `pytask` {version}. Each overwrites files of the other. Give them an environment each, or run:"
        " pip uninstall -y pytask pytaskd && pip install pytaskd"
    )
