"""Generates the command line reference from the program: `python docs/make_cli.py > docs/cli.md`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

HEAD = """\
# The command line

Generated from the program: `python docs/make_cli.py > docs/cli.md`. A test checks that it is up to date.

Data goes to standard output, messages to standard error. Output is a table on a terminal and plain columns in
a pipe; `NO_COLOR` is honoured. Every command that reads has `-o table|wide|json|jsonl|id`. JSON has a
`version`, which is incremented when a field changes its meaning or is removed. An ID may be a unique prefix
of an id. `--explain` prints the equivalent redis-cli commands as shell lines and does nothing else. Printed
commands are quoted for a shell and contain host, port and db, never a password: redis-cli takes it from
`$REDISCLI_AUTH`. Control characters in ids, names and errors are printed like `\\x1b`. A command with many
IDs processes all of them, prints a result for each, and exits with the code of the worst one.

| exit code | meaning |
| --- | --- |
| 0 | success |
| 1 | operation failed |
| 2 | usage error |
| 3 | unhealthy |
| 4 | no such task |
| 69 | Redis unreachable |
| 70 | `run`: a task could not be stopped, so its process was ended |
| 78 | bad configuration |
| 124 | timed out |
| 130 | interrupted by Ctrl-C |

Precedence of settings, lowest first: the default, the file (`pytask.toml` in the current directory,
`$PYTASK_CONFIG`, `--config`), the environment (`PYTASK_REDIS_URL`, `PYTASK_MAX_TASKS`, ...; also
`REDIS_URL`), the flags. If none of them gives an address, the server that `pytask run --embedded` runs in the
current directory is used. For `pytask run`, settings made in an app's code override file and environment, but
not the flags. `pytask config` shows each setting and the source of its value. Passwords are never printed.
"""


def manual() -> str:
    """The whole page, as Markdown."""
    from pytask.cli.main import VERBS, main

    parts = [HEAD]
    for section, verbs in VERBS.items():
        parts.append(f"## {section}\n")
        for name in verbs:
            command = main.get_command(click.Context(main), name)
            if command is not None:
                parts.append("\n".join(_verb(name, command)))
            if isinstance(command, click.Group):
                parts += ["\n".join(_verb(f"{name} {sub}", one)) for sub, one in command.commands.items()]
    return "\n".join(parts)


def _verb(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"pytask {name}")
    usage = " ".join(piece for param in command.params for piece in _usage(param, context))
    yield f"### pytask {name}\n"
    yield f"`pytask {name}{' ' + usage if usage else ''}{' [OPTIONS]' if _options(command) else ''}`\n"
    yield _prose(inspect.cleandoc(command.help or ""))
    yield ""
    rows = [param.get_help_record(context) for param in _options(command)]
    if rows:
        yield "| option | |\n| --- | --- |"
        for option, text in filter(None, rows):
            words = " ".join(text.split())
            yield f"| `{_cell(option)}` | {_cell(words)} |"
        yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _usage(param: click.Parameter, context: click.Context) -> list[str]:
    return param.get_usage_pieces(context) if isinstance(param, click.Argument) else []


def _options(command: click.Command) -> list[click.Option]:
    return [param for param in command.params if isinstance(param, click.Option) and not param.hidden]


def _prose(text: str) -> str:
    """Paragraphs; those that click is told not to wrap are shown as they are."""
    shown = []
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("\b\n"):
            shown.append("```\n" + paragraph.removeprefix("\b\n") + "\n```")
        else:
            shown.append(" ".join(paragraph.split()))
    return "\n\n".join(shown)


if __name__ == "__main__":
    click.echo(manual(), nl=False)
