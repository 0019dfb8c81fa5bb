"""The log of pytask itself: a line that cannot be written never changes what happens next.

Handlers, filters and formatters belong to the program around a worker, and standard error may be closed.
None of them may keep a run from being settled, or a worker from handing its tasks back.
"""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit

if TYPE_CHECKING:
    Adapter = logging.LoggerAdapter[logging.Logger]
else:
    Adapter = logging.LoggerAdapter

_reported: set[str] = set()  # kinds of errors that were reported


class GuardedLogger(Adapter):
    """A logger that raises nothing of what its handlers raise.

    The kill of a greenlet and Ctrl-C go through: they are not about the line.  A Timeout does not, since
    none of ours is ever armed around a log line alone.
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's own name
        """As its logger, which `dictConfig` and `fileConfig` of the program disable by default."""
        self.logger.disabled = False
        return self.logger.isEnabledFor(level)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log one line, unless the configuration of the program excludes it."""
        # dictConfig and fileConfig disable existing loggers by default; that is not meant for this one.  A
        # level, or no propagation, still silences it.
        self.logger.disabled = False
        if not self.isEnabledFor(level):
            return
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # the caller of this
        try:
            self.logger.log(level, msg, *args, **kwargs)
        except (GreenletExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a program's handler raises
            _report(error)


def get_logger(name: str) -> GuardedLogger:
    """The guarded logger of that name."""
    return GuardedLogger(logging.getLogger(name), {})  # noqa: TID251 - the one place


def _report(error: BaseException) -> None:
    """On standard error, where there is one; once for each kind of error."""
    kind = type(error).__name__
    if kind in _reported:
        return
    _reported.add(kind)
    with suppress(Exception):
        sys.stderr.write("pytask: a log handler, filter or formatter raised; a line is lost:\n")
        traceback.print_exception(error)
