"""The options that verbs share, as decorators.  Imports click alone: `--help` needs no more."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from pytask.domain.errors import StoreError

FORMS = ("table", "wide", "json", "jsonl", "id")
Function = TypeVar("Function", bound=Callable[..., Any])


def id_text(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
    """For ids: an empty text begins them all, and means none; bytes that are no text are none, too."""
    for word in value if isinstance(value, tuple) else (value,):
        if word == "":
            raise click.BadParameter("an id is not empty")
        try:
            (word or "").encode()
        except UnicodeEncodeError:
            raise click.BadParameter(f"an id is UTF-8, not {word!r}") from None
    return value


def remote(function: Function) -> Function:
    """Address options; the verb gets a :class:`pytask.cli.connection.Remote` as `remote`."""
    explain = click.option(
        "--explain", is_flag=True, help="Only print the redis-cli commands that this stands for."
    )
    return explain(_addressed(function, ("explain",)))


def settings_of(function: Function) -> Function:
    """The same without `--explain`, for a verb that sends nothing to Redis."""
    return _addressed(function, ())


def _addressed(function: Function, more: tuple[str, ...]) -> Function:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        from pytask.cli.connection import Remote
        from pytask.cli.messages import REMOTE

        names = ("redis", "namespace", "partitions", "config", *more)
        remote = Remote(**{name: kwargs.pop(name) for name in names})
        click.get_current_context().meta[REMOTE] = remote
        try:
            return function(*args, remote=remote, **kwargs)
        except StoreError as error:
            remote.place(error)
            raise

    options = (
        click.option("--redis", metavar="URL", help="Address of Redis; see `pytask config`."),
        click.option("--namespace", metavar="TEXT", help="In front of every key and channel."),
        click.option("--partitions", type=click.IntRange(min=1), metavar="N", help="Parts of the namespace."),
        click.option("--config", metavar="FILE", help="File of settings.  [default: pytask.toml, if there]"),
    )
    for option in reversed(options):
        call = option(call)
    return call  # type: ignore[return-value]


def form(function: Function) -> Function:
    """`-o`; the verb gets a :class:`pytask.cli.printer.Printer` as `printer`."""

    @wraps(function)
    def call(*args: Any, output: str | None, **kwargs: Any) -> Any:
        from pytask.cli.printer import Printer

        wanted = output or kwargs["remote"].setting("output").value
        return function(*args, printer=Printer(wanted), **kwargs)

    option = click.option(
        "-o", "--output", type=click.Choice(FORMS), help="Form of the answer.  [default: table]"
    )
    return option(call)  # type: ignore[return-value]


def one_task(function: Function) -> Function:
    """`ID`, as `task_id`, with the options of the address and `-o`."""
    return click.argument("task_id", metavar="ID", callback=id_text)(remote(form(function)))


def yes(function: Function) -> Function:
    """`-y`, for verbs that change many tasks at once; see :func:`sure`."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(function)


def sure(question: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere `-y` must have been given.  Ends with 1 where the answer is no."""
    if yes:
        return
    import sys

    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody can be asked here: add -y if so.")
    if not click.confirm(question, err=True):
        click.get_current_context().exit(1)
