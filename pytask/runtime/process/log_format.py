"""Log lines that carry the task and the worker."""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, TextIO

from pytask.domain.escaping import escaped, in_json
from pytask.domain.secrets import hide
from pytask.runtime.tree import current_hidden, current_run

if TYPE_CHECKING:
    Stream = logging.StreamHandler[TextIO]
else:
    Stream = logging.StreamHandler

CONSOLE = "%(asctime)s %(levelname)-7s [%(worker)s%(task_suffix)s] %(name)s: %(message)s"


class TaskContext(logging.Filter):
    """Gives each record `worker` (its name) and `task` (the id whose greenlet logs, or "-").

    A record that names its task already, as the one of a failure does, keeps that.
    """

    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true; adds the fields."""
        run = getattr(record, "pytask_run", None) or current_run()
        hidden = current_hidden() if run is None else run.hidden
        if hidden:
            record.msg, record.args = hide(message_of(record), hidden), ()
            record.hidden = hidden  # for our own formatters, whose tracebacks quote it as well
        task = getattr(record, "task", None) or (run.id if run is not None else "")
        record.worker = self._worker
        record.task = task or "-"
        record.task_suffix = f" {task}" if task and task != "-" else ""
        return True


def message_of(record: logging.LogRecord) -> str:
    """The message with its arguments; where they do not fit, both: the error is none of the task's."""
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - of an argument's own __str__, too
        text = record.msg if isinstance(record.msg, str) else f"({type(record.msg).__name__})"
        return f"{text} (its arguments do not fit: {type(error).__name__})"


def _indented(text: str) -> str:
    # The text of an error may hold what looks like a line of the log: these lines begin with a bar.
    return "\n".join("  | " + escaped(line.expandtabs()) for line in text.split("\n"))


class ConsoleLines(logging.Formatter):
    """One line a record.  Ids and error texts are other people's: what would steer a terminal is escaped."""

    converter = staticmethod(time.gmtime)  # one form of times everywhere, as in pytask.domain.wording
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The line, on one line."""
        return escaped(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback below it; one that another handler formatted is not taken over."""
        kept, hidden = record.exc_text, getattr(record, "hidden", ())
        # Hidden first: indented and escaped, a value is no longer found.
        trace = hide(self.formatException(record.exc_info), hidden) if record.exc_info else ""
        record.exc_text = _indented(trace) if trace else None
        try:
            return hide(super().format(record), hidden)
        finally:
            record.exc_text = kept

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """The stack, its line breaks kept."""
        return _indented(super().formatStack(stack_info))


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, worker, task, message, and the exception if any.

    The line of a failed task has its `function` and `epoch` as well.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{when}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "worker": getattr(record, "worker", "-"),
            "task": getattr(record, "task", "-"),
            "message": record.getMessage(),
        }
        line |= {name: vars(record)[name] for name in ("function", "epoch") if name in vars(record)}
        if record.exc_info:
            # Not the whole line: a value may be a word of its own.
            line["exception"] = hide(self.formatException(record.exc_info), getattr(record, "hidden", ()))
        return in_json(json.dumps(line, ensure_ascii=False))


class SafeLines(Stream):
    """Lines on standard error, for the logs of tasks as well: whoever closed it harms no task by that."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """As logging does it, which itself raises where standard error is closed."""
        with suppress(Exception):
            super().handleError(record)


PREFIXES = {
    logging.PercentStyle: "[%(worker)s%(task_suffix)s] ",
    logging.StrFormatStyle: "[{worker}{task_suffix}] ",
    logging.StringTemplateStyle: "[${worker}${task_suffix}] ",
}


def name_tasks(worker: str) -> None:
    """Let the root handlers that the program has set up name worker and task, which they do not know of.

    A format that names them itself, and a formatter that is no plain one, are left as they are: the fields
    are there for both.
    """
    for handler in logging.root.handlers:
        handler.addFilter(TaskContext(worker))
        formatter = handler.formatter or logging.Formatter(logging.BASIC_FORMAT)
        style, text = formatter._style, str(formatter._fmt)  # noqa: SLF001 - nothing else tells the format
        if type(formatter) is not logging.Formatter or type(style) not in PREFIXES or "task" in text:
            continue
        if text == logging.BASIC_FORMAT:  # nobody chose it
            handler.setFormatter(ConsoleLines(CONSOLE))
        else:
            named = copy(formatter)
            named._style = type(style)(PREFIXES[type(style)] + text)  # noqa: SLF001
            handler.setFormatter(named)


def set_up(worker: str, level: str = "INFO", style: str = "console") -> logging.Handler:
    """Log to standard error, as `console` or `json`; what the daemon does."""
    handler = SafeLines()
    handler.addFilter(TaskContext(worker))
    handler.setFormatter(JsonLines() if style == "json" else ConsoleLines(CONSOLE))
    root = logging.root
    root.addHandler(handler)
    root.setLevel(level.upper())
    return handler
