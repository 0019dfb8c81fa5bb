"""Shared options as decorators.  Imports only click, to keep `--help` fast."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from pytask.domain.errors import StoreError

FORMS = ("table", "wide", "json", "jsonl", "id")
Function = TypeVar("Function", bound=Callable[..., Any])


def id_text(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
    """Validate an id: not empty (an empty prefix would match every id), and valid UTF-8."""
    for word in value if isinstance(value, tuple) else (value,):
        if word == "":
            raise click.BadParameter("an id must not be empty")
        try:
            (word or "").encode()
        except UnicodeEncodeError:
            raise click.BadParameter(f"an id must be UTF-8, not {word!r}") from None
    return value


def completed(kind: str) -> Any:
    """The `shell_complete` of a parameter; `kind`: a key of `pytask.cli.candidates.KINDS`."""

    def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        from pytask.cli.candidates import candidates

        return candidates(kind, ctx.params, incomplete)

    return complete


def duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Seconds of a duration such as 90, 10m, 1h30m."""
    from pytask.domain.start_time import read_duration

    return _read(read_duration, value)


def moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Seconds since 1970 of a time with a zone."""
    from pytask.domain.start_time import read_moment

    return _read(read_moment, value)


def _read(reader: Callable[[str], float], value: str | None) -> float | None:
    from pytask.domain.errors import BadData

    try:
        return None if value is None else reader(value)
    except BadData as error:
        raise click.BadParameter(str(error.args[0])) from None


def remote(function: Function) -> Function:
    """Connection options; the command gets a :class:`pytask.cli.connection.Remote` as `remote`."""
    explain = click.option(
        "--explain", is_flag=True, help="Print the equivalent redis-cli commands and do nothing else."
    )
    return explain(_addressed(function, ("explain",)))


def settings_of(function: Function) -> Function:
    """The same without `--explain`, for a command that sends nothing to Redis."""
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
        click.option("--redis", metavar="URL", help="Redis address; see `pytask config`."),
        click.option("--namespace", metavar="TEXT", help="Prefix of every key and channel."),
        click.option("--partitions", type=click.IntRange(min=1), metavar="N", help="Number of partitions."),
        click.option(
            "--config",
            metavar="FILE",
            shell_complete=_file,
            help="Configuration file.  [default: pytask.toml, if present]",
        ),
    )
    for option in reversed(options):
        call = option(call)
    return call  # type: ignore[return-value]


def _file(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> Any:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def form(function: Function) -> Function:
    """`-o`; the command gets a :class:`pytask.cli.printer.Printer` as `printer`."""

    @wraps(function)
    def call(*args: Any, output: str | None, **kwargs: Any) -> Any:
        from pytask.cli.printer import Printer

        wanted = output or kwargs["remote"].setting("output").value
        return function(*args, printer=Printer(wanted), **kwargs)

    option = click.option("-o", "--output", type=click.Choice(FORMS), help="Output format.  [default: table]")
    return option(call)  # type: ignore[return-value]


def one_task(function: Function) -> Function:
    """`ID`, as `task_id`, with the connection options and `-o`."""
    return click.argument("task_id", metavar="ID", callback=id_text, shell_complete=completed("ids"))(
        remote(form(function))
    )


def function_name(text: str) -> Callable[[Function], Function]:
    """`-n NAME`; the command gets it as `name`."""
    complete = completed("functions")
    return click.option("-n", "--name", metavar="FUNCTION", shell_complete=complete, help=text)


def states(text: str) -> Callable[[Function], Function]:
    """`-s STATE`, which may be repeated; the command gets the words as `states`."""
    return click.option(
        "-s",
        "--state",
        "states",
        multiple=True,
        metavar="STATE",
        shell_complete=completed("states"),
        help=text,
    )


def no_check(function: Function) -> Function:
    """`--no-check`, for commands that send data; see `pytask.shown.data_checks`."""
    text = "Send the data even if it does not fit what workers show of the function."
    return click.option("--no-check", is_flag=True, help=text)(function)


def yes(function: Function) -> Function:
    """`-y`, for commands that change many tasks at once; see :func:`sure`."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")(function)


def sure(question: str, *, yes: bool) -> None:
    """Ask for confirmation on a terminal; elsewhere require `-y`.  Exits with 1 if the answer is no."""
    if yes:
        return
    import sys

    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Standard input is not a terminal: confirm with -y.")
    if not click.confirm(question, err=True):
        click.get_current_context().exit(1)
