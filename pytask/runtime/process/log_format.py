"""Log formats with the task and the worker."""

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
    """Adds `worker` (its name) and `task` (the id of the task that logs, or "-") to each record.

    A record that already names its task, such as that of a failure, is not changed.
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
            record.hidden = hidden  # for pytask's formatters, which also mask tracebacks
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
    # An error text may contain lines that look like log lines: prefix them with a bar.
    return "\n".join("  | " + escaped(line.expandtabs()) for line in text.split("\n"))


class ConsoleLines(logging.Formatter):
    """One line per record.  Ids and error texts are untrusted: control characters are escaped."""

    converter = staticmethod(time.gmtime)  # one form of times everywhere, as in pytask.domain.wording
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The message on one line."""
        return escaped(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The line and the traceback below it; ignores a text cached by another handler."""
        kept, hidden = record.exc_text, getattr(record, "hidden", ())
        # Hidden first: indented and escaped, a value is no longer found.
        trace = hide(self.formatException(record.exc_info), hidden) if record.exc_info else ""
        record.exc_text = _indented(trace) if trace else None
        try:
            return hide(super().format(record), hidden)
        finally:
            record.exc_text = kept

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """The stack with its line breaks."""
        return _indented(super().formatStack(stack_info))


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, logger, worker, task, message, and the exception if any.

    The line of a failed task also has its `function` and `epoch`.
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
            # Not the whole line, as a secret value may be a common word.
            line["exception"] = hide(self.formatException(record.exc_info), getattr(record, "hidden", ()))
        return in_json(json.dumps(line, ensure_ascii=False))


class SafeLines(Stream):
    """Writes lines to standard error; errors of a closed stream are ignored."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """As in logging, which raises if standard error is closed."""
        with suppress(Exception):
            super().handleError(record)


PREFIXES = {
    logging.PercentStyle: "[%(worker)s%(task_suffix)s] ",
    logging.StrFormatStyle: "[{worker}{task_suffix}] ",
    logging.StringTemplateStyle: "[${worker}${task_suffix}] ",
}


def name_tasks(worker: str) -> None:
    """Add worker and task to the formats of the program's root handlers.

    A format that already contains them and custom formatters are not changed; both can use the fields.
    """
    for handler in logging.root.handlers:
        handler.addFilter(TaskContext(worker))
        formatter = handler.formatter or logging.Formatter(logging.BASIC_FORMAT)
        style, text = formatter._style, str(formatter._fmt)  # noqa: SLF001 - nothing else tells the format
        if type(formatter) is not logging.Formatter or type(style) not in PREFIXES or "task" in text:
            continue
        if text == logging.BASIC_FORMAT:  # the default
            handler.setFormatter(ConsoleLines(CONSOLE))
        else:
            named = copy(formatter)
            named._style = type(style)(PREFIXES[type(style)] + text)  # noqa: SLF001
            handler.setFormatter(named)


def set_up(worker: str, level: str = "INFO", style: str = "console") -> logging.Handler:
    """Log to standard error as `console` or `json`; used by the daemon."""
    handler = SafeLines()
    handler.addFilter(TaskContext(worker))
    handler.setFormatter(JsonLines() if style == "json" else ConsoleLines(CONSOLE))
    root = logging.root
    root.addHandler(handler)
    root.setLevel(level.upper())
    return handler
