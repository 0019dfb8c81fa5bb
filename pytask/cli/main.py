"""The command `pytask`: the table of its subcommands, and the mapping of errors to exit codes.

`--help` must be fast, so this module imports only click, the standard library and pytask's errors.  Each
subcommand is a small module of `pytask.cli.commands`, imported on demand; it imports what is expensive.
"""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import Any

import click

import pytask
from pytask.daemon.interrupt import INTERRUPTED, unwind_from_here
from pytask.domain import errors
from pytask.domain.escaping import escaped

FAILED, USAGE, UNHEALTHY, NO_TASK, UNREACHABLE, BAD_CONFIG, TIMED_OUT = 1, 2, 3, 4, 69, 78, 124

# The first matching class decides.
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

# Words that newcomers try, and the subcommand that does it; the nearest spelling would mislead ("requeue").
OTHER_WORDS = {
    "resume": "start",
    "unpause": "start",
    "delete": "rm",
    "kill": "stop",
    "list": "ls",
    "ps": "ls",
}

# Each subcommand is the module of that name in `pytask.cli.commands`, and its `command`.  The texts are those
# of `pytask --help`, which imports none of the modules; a test compares them with the modules.
VERBS: dict[str, dict[str, str]] = {
    "Run tasks": {
        "run": "Run the tasks of TARGET until SIGTERM or Ctrl-C.",
        "dev": "Run the tasks of TARGET while you edit them: on every save they continue with the new code.",
        "call": "Run the task NAME of TARGET here, to its end, without Redis, and print its events.",
        "demo": "Demonstrate pytask on a private Redis server.",
    },
    "Control tasks": {
        "new": "Create a task of the function NAME, queue it, and print its id.",
        "stop": "Stop waiting and running tasks.",
        "start": "Start tasks again that have been stopped, have ended, or have failed; resume paused ones.",
        "pause": "Pause tasks, or all tasks of a function: nothing is interrupted, and nothing is lost.",
        "reload": "Give running tasks the current data from their hash: in place, or by a new run.",
        "requeue": "Requeue failed tasks and tasks of dead workers.",
        "wait": "Wait until a task reaches a state, and print it.",
        "rm": "Delete tasks that are not running, with all their data.",
        "limits": "Manage limits: how many tasks of a group or of a function may run at a time.",
        "schedule": "Manage schedules: tasks that start at an interval or at the times of a cron expression.",
    },
    "Inspect": {
        "ls": "List tasks: running, waiting, failed, stopped, ended; newest first within each state.",
        "show": "Show one task: its state, data, and result.",
        "why": "Explain why a task is in its state: what happened to it and what it waits for.",
        "stacks": "Show where the code of a running task is: the stacks of its greenlets and coroutines.",
        "logs": "Print the log lines and the progress of a task.",
        "watch": "Print the events of one task or of all tasks as they arrive, until Ctrl-C.",
        "status": "Show task counts, workers, and the state of Redis.",
        "top": "Monitor all workers: what runs where, and how fast.",
        "workers": "List running workers and workers that stopped reporting.",
        "functions": "List the task functions that workers know and those that parked tasks wait for.",
    },
    "Operate": {
        "web": "Serve the page: see and steer tasks in a browser.",
        "doctor": "Diagnose current and upcoming problems and print the fix for each.",
        "health": "Check liveness or readiness of local workers without contacting Redis.",
        "unit": "Print a systemd unit that runs TARGET.",
        "mcp": "Serve tools that read tasks to an MCP client, over standard input and output.",
        "drill": "Rehearse a failure: kill a worker, and measure how long each of its tasks is gone.",
        "acl": "Print the redis-cli command that creates a least-privilege user for ROLE.",
    },
    "Learn": {
        "explain": "Explain an error code: what happened, why, and what to do.",
        "config": "Show every setting and the source of its value.",
        "completion": "Print the completion script of a shell.",
    },
}


class Verbs(click.Group):
    """Imports a subcommand on demand; turns pytask's errors into text on standard error and an exit code."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All subcommands in the order of the help."""
        return [name for section in VERBS.values() for name in section]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The subcommand; None if there is none of that name."""
        if name not in self.list_commands(ctx):
            return None
        found: click.Command = import_module(f"pytask.cli.commands.{name}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with a suggestion for an unknown subcommand."""
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            from difflib import get_close_matches

            near = get_close_matches(name, self.list_commands(ctx), n=1, cutoff=0.5)
            near = [OTHER_WORDS[name]] if name in OTHER_WORDS else near
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"no such command: {name!r}.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The subcommands in sections, without importing them."""
        for title, section in VERBS.items():
            with formatter.section(title):
                formatter.write_dl(list(section.items()))

    def main(self, *args: Any, **extra: Any) -> Any:
        """As in click; a shell that asks for candidates gets them from `pytask.cli.completion`."""
        if "_PYTASK_COMPLETE" in os.environ:
            from pytask.cli.completion import answer

            answer(self)
        return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; pytask's errors are printed without a traceback, others with it."""
        _take_any_text()
        try:
            unwind_from_here()
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = escaped(error.message, keep="\n")  # type: ignore[misc]
            raise
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except click.Abort as abort:  # at a prompt: Ctrl-C, or end of input
            click.echo(err=True)  # noqa: TID251 - a line break
            ctx.exit(FAILED if isinstance(abort.__context__, EOFError) else INTERRUPTED)
        except errors.PytaskError as error:
            from pytask.cli.messages import error_text
            from pytask.terminal import say

            say(error_text(error))
            ctx.exit(exit_code(error))


def _take_any_text() -> None:
    r"""Print characters that the terminal's encoding lacks as \u1234, instead of failing after the action."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def exit_code(error: errors.PytaskError) -> int:
    """The exit code for an error."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(getattr(pytask, "__version__", "?"), prog_name="pytask")
def main() -> None:
    """Run long-running tasks in greenlets, with their state in Redis.

    Exit codes: 0 success, 1 operation failed, 2 usage error, 3 unhealthy, 4 no such task, 69 Redis
    unreachable, 70 `run` could not stop a task, 78 bad configuration, 124 timed out, 130 interrupted by
    Ctrl-C. `pytask explain CODE` describes an error in detail.
    """
