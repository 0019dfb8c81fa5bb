"""`pytask dev`."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytask.cli.name_clash import check_name_clash

if TYPE_CHECKING:
    from pytask.daemon.child import Command

LOG_LINES = 200  # of each task, for `pytask logs` and the page


@click.command()
@click.argument("target")
@click.option(
    "--watch",
    "more",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="Also watch this folder or file; may be repeated.",
)
@click.option("--redis", metavar="URL", help="Use this Redis instead of a private one with temporary data.")
@click.option("--web", "page", is_flag=True, help="Also serve the page (pytask web).")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    help="[default: info]",
)
@click.option("--config", metavar="FILE", help="Configuration file.  [default: pytask.toml, if present]")
@click.option(
    "--patch",
    metavar="NAME=on|off,...",
    help="What gevent patches, as arguments of its `patch_all`; see docs/patching.md.  [default: gevent's]",
)
def command(
    target: str,
    *,
    more: tuple[Path, ...],
    redis: str | None,
    page: bool,
    log_level: str,
    config: str | None,
    patch: str | None,
) -> None:
    """Run the tasks of TARGET while you edit them: on every save they continue with the new code.

    TARGET as for `run`. The Python files of its folder are watched. After a save a new worker process imports
    the code; if that works, the running tasks are handed over to it, under the same ids and with what they
    saved. If not, the error is printed, and the old code keeps running. Needs pytaskd[dev].

    \b
    Ctrl-C           stops the tasks and everything that was started; a
                     second one ends it at once
    """  # noqa: D301 - tells click not to rewrap the next paragraph
    check_name_clash()
    from pytask.dev import sources

    sources.require()
    if page:
        from pytask.web import require

        require()
    roots = [sources.folder_of(target, Path.cwd()), *(path.resolve() for path in more)]
    from pytask.cli.dev_screen import screen
    from pytask.dev.loop import Loop, Parts, Signals
    from pytask.dev.orphans import PRIVATE_SECONDS, SECONDS, Orphans
    from pytask.dev.page import Page
    from pytask.dev.server import private_server

    # Tasks that are drained would keep the old code.
    flags = [f"--log-level={log_level}", f"--task-logs={LOG_LINES}", "--drain=0"]
    flags += [f"--config={config}"] if config else []
    flags += [f"--patch={patch}"] if patch else []
    with ExitStack() as stack:
        signals = stack.enter_context(closing(Signals()))
        orphans = stack.enter_context(closing(Orphans(SECONDS if redis else PRIVATE_SECONDS)))
        url = redis or stack.enter_context(private_server(Path.cwd(), orphans))
        shown = stack.enter_context(closing(screen()))
        made = _command(target, flags, url, private=redis is None)
        served = stack.enter_context(closing(Page(made, orphans))) if page else None
        shown.message(f"watching {', '.join(map(str, roots))}")
        if line := _found_by(url, config, private=redis is None):
            shown.message(line)
        parts = Parts(command=made, url=url, roots=roots, screen=shown, orphans=orphans, page=served)
        code = Loop(parts, signals).run()
    click.get_current_context().exit(code)


def _found_by(url: str, config: str | None, *, private: bool) -> str:
    """Which other commands find the server, and what to type for those that do not."""
    from pytask.cli.config import Ambient

    export = f"export PYTASK_REDIS_URL={url}"
    others = Ambient(config, dev=True).get("redis_url")
    if not private:  # its address may contain a password
        used = f"other pytask commands here use {others.shown} ({others.origin})"
        return "" if others.value == url else f"{used}: give them the --redis of this one, too"
    if others.value == url:
        return f"a private server runs: other pytask commands in this folder find it; elsewhere: {export}"
    return f"a private server runs, but pytask commands here use {others.shown} ({others.origin}): {export}"


def _command(target: str, flags: list[str], url: str, *, private: bool) -> Command:
    """The command line of workers, which need no file of the project folder but its code."""
    from pytask.daemon.child import Command
    from pytask.daemon.flags import HANDED_URL
    from pytask.daemon.relaunch import Launch
    from pytask.runtime.process.systemd import take_from

    launch = Launch.recorded()
    # Command lines, with a password, are readable by all users; an environment only by its owner.
    environ = {**os.environ, HANDED_URL: url, "PYTASK_REDIS_URL": url, "PYTHONUNBUFFERED": "1"}
    take_from(environ)
    words = [*launch.program, "run", "--standby", *flags]
    words += ["--private=true"] if private else []
    return Command([*words, "--", target], launch.folder, environ)
