"""The command `pytask`: the table of its verbs, and the border where errors become exit codes.

`--help` must answer at once, so this module imports click, the standard library and our errors.  Each verb
is a small module of `pytask.cli.commands`, imported when it is called; what is heavy is imported by that.
"""

from __future__ import annotations

import io
import sys
from importlib import import_module
from typing import Any

import click

import pytask
from pytask.daemon.interrupt import INTERRUPTED, unwind_from_here
from pytask.domain import errors
from pytask.domain.escaping import escaped

FAILED, USAGE, UNHEALTHY, NO_TASK, UNREACHABLE, BAD_CONFIG, TIMED_OUT = 1, 2, 3, 4, 69, 78, 124

# The first class that fits decides.
EXIT_CODES: tuple[tuple[type[errors.PytaskError], int], ...] = (
    (errors.BadTarget, USAGE),
    (errors.AmbiguousId, USAGE),
    (errors.BadData, USAGE),
    (errors.ConfigError, BAD_CONFIG),
    (errors.Denied, BAD_CONFIG),
    (errors.ServerNotFound, BAD_CONFIG),
    (errors.NoSuchTask, NO_TASK),
    (errors.Unhealthy, UNHEALTHY),
    (errors.TimedOut, TIMED_OUT),
    (errors.Unavailable, UNREACHABLE),
    (errors.PytaskError, FAILED),
)

# Each verb is the module of that name in `pytask.cli.commands`, and its `command`.  The words here are of
# `pytask --help`, which imports none of them; a test holds them against the modules.
VERBS: dict[str, dict[str, str]] = {
    "Run tasks": {
        "run": "Run the tasks of TARGET until SIGTERM or Ctrl-C.",
        "demo": "Show what pytask does, on a private server.",
    },
    "Steer": {
        "new": "Start a new task of NAME, and print its id.",
        "stop": "Stop tasks, whether they wait or run.",
        "start": "Start tasks again that were stopped, have ended, or failed.",
        "reload": "Let running tasks begin anew, with the data that is in their hash.",
        "requeue": "Put tasks that failed, or that a dead worker left, back into the queue.",
        "wait": "Wait until a task is in a state, and print it.",
        "rm": "Delete tasks that do not run, with all that is known of them.",
    },
    "Look": {
        "ls": "List tasks: running, waiting, failed, stopped, ended; of each the newest first.",
        "show": "Show one task: its state, its data, and how it came out.",
        "why": "Say why a task is where it is: what happened to it, and what it waits for.",
        "logs": "Print the lines that a task logged, and how far it is.",
        "watch": "Print the events of a task, or of all, as they come, until Ctrl-C.",
        "status": "Show how many tasks there are, who runs them, and how Redis is.",
        "top": "Watch the fleet: what runs where, and how fast.",
        "workers": "List the workers that are there, and those that fell silent.",
        "functions": "List the task names that workers know, and those that tasks wait for.",
    },
    "Operate": {
        "doctor": "Look for what is wrong, or will be, and say how to mend it.",
        "health": "Whether the workers of this machine live, or are ready, without asking Redis.",
        "unit": "Print a systemd unit that runs TARGET.",
        "acl": "Print the line for redis-cli that makes a user of least privilege for ROLE.",
    },
    "Learn": {
        "explain": "Explain an error code: what happened, why, and what to do.",
        "config": "Show every setting, and where its value came from.",
        "completion": "Print the completion script of a shell.",
    },
}


class Verbs(click.Group):
    """Imports a verb when it is called; turns our errors into text on standard error and an exit code."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All verbs, as the help lists them."""
        return [name for section in VERBS.values() for name in section]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The verb's command; None if there is none of that name."""
        if name not in self.list_commands(ctx):
            return None
        found: click.Command = import_module(f"pytask.cli.commands.{name}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a suggestion for a verb that does not exist."""
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            from difflib import get_close_matches

            near = get_close_matches(name, self.list_commands(ctx), n=1, cutoff=0.5)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"no such command: {name!r}.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs by what they are for, without importing them."""
        for title, section in VERBS.items():
            with formatter.section(title):
                formatter.write_dl(list(section.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; our errors keep their text and lose their traceback, others keep both."""
        _take_any_text()
        try:
            unwind_from_here()
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = escaped(error.message, keep="\n")  # type: ignore[misc]
            raise
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except click.Abort as abort:  # at a question: Ctrl-C, or no more input
            click.echo(err=True)  # noqa: TID251 - a line break
            ctx.exit(FAILED if isinstance(abort.__context__, EOFError) else INTERRUPTED)
        except errors.PytaskError as error:
            from pytask.cli.messages import told
            from pytask.terminal import say

            say(told(error))
            ctx.exit(exit_code(error))


def _take_any_text() -> None:
    r"""Let what a terminal's alphabet does not have be printed as \u1234: the verb has acted by then."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def exit_code(error: errors.PytaskError) -> int:
    """The exit code that stands for an error."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(getattr(pytask, "__version__", "?"), prog_name="pytask")
def main() -> None:
    """Long-running tasks on greenlets, their state kept in Redis.

    Exit codes: 0 ok, 1 the operation failed, 2 usage, 3 unhealthy, 4 no such task, 69 Redis unreachable,
    70 a task that `run` could not stop, 78 bad configuration, 124 timed out, 130 Ctrl-C. Of an error,
    `pytask explain CODE` tells more.
    """
