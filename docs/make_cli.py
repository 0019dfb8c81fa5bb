"""Makes the page of the command line from the program itself: `python docs/make_cli.py > docs/cli.md`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

HEAD = """\
# The command line

Made from the program itself: `python docs/make_cli.py > docs/cli.md`. A test holds the two together.

Data goes to standard output, messages to standard error; a table on a terminal, plain columns when piped,
`NO_COLOR` is honoured. `-o table|wide|json|jsonl|id` on every verb that reads; JSON has a `version`, which
grows when a field changes its meaning or goes. An ID may be the beginning of one, if one task only begins so.
`--explain` prints the redis-cli commands that a verb stands for, as lines for a shell, and does nothing else.
Commands that are printed are quoted for a shell and carry host, port and db, never a password: redis-cli
takes that from `$REDISCLI_AUTH`. Control characters in ids, names and errors are printed like `\\x1b`.
Verbs that take many IDs do what can be done, print what became of each, and end with the worst of it.

| exit code | |
| --- | --- |
| 0 | ok |
| 1 | the operation failed |
| 2 | usage |
| 3 | unhealthy |
| 4 | no such task |
| 69 | Redis unreachable |
| 70 | `run`: a task could not be stopped, and its process was ended |
| 78 | bad configuration |
| 124 | timed out |
| 130 | Ctrl-C |

Settings, the last wins: the default, the file (`pytask.toml` of the current folder, `$PYTASK_CONFIG`,
`--config`), the environment (`PYTASK_REDIS_URL`, `PYTASK_MAX_TASKS`, ...; also plain `REDIS_URL`), the flags.
Where none names an address, the server that `pytask run --embedded` runs in the current folder is used.
For `pytask run`, what an app sets in its code stands above file and environment, and below the flags.
`pytask config` shows each setting and where its value came from. Passwords are never printed.
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
