"""Connections for task code: no unread replies, no write sent twice, and a wait for a lost server.

A greenlet may be killed wherever it waits.  It then leaves its connection closed or without pending replies.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import random
import time
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pytask.adapters.redis import command_effects
from pytask.adapters.redis.errors import translate
from pytask.domain.errors import OutcomeUnknown, Unavailable
from pytask.logger import get_logger

if TYPE_CHECKING:
    Base = Any
else:
    Base = object

log = get_logger(__name__)

PAUSES = (0.05, 1.0)  # seconds between two attempts: the first and the longest pause
NOTICE = 5.0  # seconds after which a waiting task is logged
REPLIES = frozenset({"ResponseError", "AuthenticationError", "AuthorizationError"})
REFUSED = frozenset(
    {"ReadOnlyError", "BusyLoadingError"}
)  # by a server that is loading its data or is no longer the primary


def names_of(error: BaseException | None) -> set[str]:
    """The names of the classes of an error."""
    return {cls.__name__ for cls in type(error).__mro__}


def is_away(error: Exception) -> bool:
    """Whether no server could answer; a wrong password does not count."""
    return isinstance(translate(error), Unavailable)


_unknown: dict[type, Any] = {}  # an error of pytask and of the library, which programs catch


def unknown(lost: Exception, commands: Sequence[Sequence[Any]], kind: type[Exception]) -> Exception:
    """The class of the error for a write whose reply was lost, also a subclass of `kind`."""
    names = list(dict.fromkeys(command_effects.name_of(one) for one in commands))
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    if kind not in _unknown:
        _unknown[kind] = type(f"OutcomeUnknown{kind.__name__}", (OutcomeUnknown, kind), {})
    error: Exception = _unknown[kind](
        f"the reply of Redis to {shown} was lost ({lost}): it may or may not have been executed. Check"
        " whether it was, or send it again if that is harmless"
    )
    return error


class Patience(Base):  # type: ignore[misc]
    """Replaces `Retry` of the library: repeats what is safe to repeat while the task may wait."""

    of: Callable[[], Any]  # the connection, weakly: its socket is closed with the last reference

    def call_with_retry(self, do: Callable[[], Any], fail: Callable[..., Any], *_: Any, **how: Any) -> Any:
        """The value of `do()`; `fail` is the callback of the library after each lost connection."""
        connection = self.of()
        if connection.inside or connection.greeting:
            return self._once(do, fail, 1, how)  # the outer call waits; a new token waits for nothing
        began, failures = time.monotonic(), 0
        try:
            while True:
                failures += 1
                try:
                    return self._once(do, fail, failures, how)
                except Exception as error:
                    if isinstance(error, OutcomeUnknown) or not is_away(error):
                        raise
                    if not connection.task_pool.may_wait(error, time.monotonic() - began, failures):
                        raise
                time.sleep(pause(failures))
                connection.since = began
        finally:
            connection.since = None

    def _once(
        self, do: Callable[[], Any], fail: Callable[..., Any], failures: int, how: dict[str, Any]
    ) -> Any:
        connection = self.of()
        try:
            connection.inside += 1
            try:
                return do()
            finally:
                connection.inside -= 1
        except Exception as error:
            if is_away(error):
                fail(*((error, failures) if how.get("with_failure_count") else (error,)))
            raise


def pause(failures: int) -> float:
    """Seconds until the next attempt, with jitter because many tasks wait at the same time."""
    first, most = PAUSES
    return float(min(most, first * 2 ** min(failures, 10))) * random.uniform(0.5, 1)  # noqa: S311 - not a secret


class Tame(Base):  # type: ignore[misc]
    """A connection of the library, as task code uses it."""

    task_pool: Any = None  # set by its pool
    borrower: Any = None  # the run that has it
    shared = False  # shared by all tasks, and in use
    taken = 0.0
    inside = 0  # nested calls of Patience
    since: float | None = None  # when the repeated operation began
    pending = 0  # pending replies
    greeting = False
    spoiled = False  # its state differs from the others
    watching = False
    listening = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sent: list[Sequence[Any]] = []  # the commands without replies
        self._packed: list[Sequence[Any]] | None = None
        self.retry = patience_for(self)

    @property
    def unfinished(self) -> bool:
        """Whether another task would be affected by leftover state."""
        return bool(self.pending or self.spoiled or self.watching)

    # -- connecting -----------------------------------------------------------------------------------

    def connect(self) -> None:
        """As in the library, but waits for the server and checks that it answers."""
        if self._sock is None:
            self.retry.call_with_retry(self._open, lambda _error: None)

    def _open(self) -> None:
        self.greeting = True
        try:
            super().connect()
            # A proxy may accept connections without a server; a server that loads its data refuses commands.
            if not self._connect_callbacks:
                self._greet()
        except BaseException:
            self.disconnect()
            raise
        finally:
            self.greeting = False

    def _greet(self) -> None:
        try:
            super().send_command("PING", check_health=False)
            super().read_response()
        except Exception as error:
            if "ResponseError" not in names_of(error) or is_away(error):
                raise

    def re_auth(self) -> None:
        """As in the library: authentication leaves the connection shared."""
        self.greeting = True
        try:
            super().re_auth()
        finally:
            self.greeting = False

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Disconnect; no pending replies remain."""
        self.pending = 0
        self.spoiled = self.watching = self.listening = False
        super().disconnect(*args, **kwargs)

    # -- commands -------------------------------------------------------------------------------------

    def pack_commands(self, commands: Any) -> Any:
        """Records the command that is sent next."""
        self._packed = list(commands)
        return super().pack_commands(self._packed)

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        """Records the commands that are sent."""
        if self.since is not None:
            args = tuple(command_effects.shortened(args, time.monotonic() - self.since))
        self._packed = [args]
        super().send_command(*args, **kwargs)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT002 - the signature of the library
        """Send on a connection that was just checked; an error means that nothing was executed."""
        commands, self._packed = self._packed, None
        if self.greeting:
            self._note_listening(commands or ())
            super().send_packed_command(command, check_health=False)
            return
        self.connect()
        if check_health and not self.pending:
            self.check_health()
        if commands is None:
            commands, self.spoiled = [("what was packed elsewhere",)], True
        self._note(commands)
        try:
            super().send_packed_command(command, check_health=False)
        except Exception as error:
            # The server does not execute a command that it received incompletely.
            lost = self._lost(error, done=not command_effects.is_one_step(self.sent))
            if lost is error:
                raise
            raise lost from error

    def _note(self, commands: list[Sequence[Any]]) -> None:
        self.sent = self.sent + commands if self.pending else commands
        self.pending += len(commands)
        if len(self.sent) == 1 and not self.watching and not self.spoiled:
            reads = command_effects.plain(commands[0][0], self.task_pool.package)
            if reads is not None:
                self._limit(0.0, reads=reads)
                return
        for one in commands:
            name = command_effects.name_of(one)
            self.watching = (self.watching or name == "WATCH") and name not in command_effects.UNWATCHES
            if command_effects.sets_state(one) and not (name == "MULTI" and len(commands) > 1):
                self.spoiled = True
        self._note_listening(commands)
        waits = sum(map(command_effects.waits, commands))
        if waits or self.watching or self.spoiled:
            self.task_pool.part(self)
        self._limit(waits, reads=command_effects.only_reads(self.sent, self.task_pool.package))

    def _note_listening(self, commands: Sequence[Sequence[Any]]) -> None:
        if any(command_effects.name_of(one) in command_effects.LISTENS for one in commands):
            self.listening = self.spoiled = True

    def _limit(self, waits: float, *, reads: bool) -> None:
        """The timeout of the reply; longer for a write, as an unknown outcome is worse than a wait."""
        limit = self.socket_timeout
        if limit is not None:
            limit = (limit if reads else max(limit, self.task_pool.reply_limit())) + waits
        self._set_timeout(None if limit is None or limit == math.inf else limit)

    def _set_timeout(self, limit: float | None) -> None:
        with contextlib.suppress(AttributeError, OSError):  # a fake connection has none
            self._sock.settimeout(limit)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """A reply; a lost one closes the connection, and the error says what may have been executed."""
        if self.listening:
            if "timeout" not in kwargs:
                self._set_timeout(None)
        else:
            kwargs["disconnect_on_error"] = (
                True  # Sentinel connections keep it, with the reply (redis-py#4292)
            )
        try:
            reply = super().read_response(*args, **kwargs)
        except Exception as error:
            if self.greeting or self.listening:
                raise
            if len(self.sent) == 1 and names_of(error) & REFUSED and not self.task_pool.clustered:
                raise self._refused(error) from error
            if names_of(error) & REPLIES:
                self._answered()
                raise
            lost = self._lost(error)
            if lost is error:
                raise
            raise lost from error
        self._answered()
        return reply

    def _answered(self) -> None:
        self.pending = max(0, self.pending - 1)
        if not self.pending:
            self.sent = []

    def _refused(self, error: Exception) -> Exception:
        """An error as a connection error: the next attempt may reach the new primary."""
        self._answered()
        self.disconnect()
        library = importlib.import_module(self.task_pool.package)
        refused: Exception = library.ConnectionError(f"refused by a server that is not the primary: {error}")
        return refused

    def _lost(self, error: Exception, *, done: bool = True) -> Exception:
        """The error to raise: the library's if repeating does no harm, otherwise that of pytask."""
        commands, self.sent = self.sent, []
        if not is_away(error) or not commands:
            return error
        refused = len(commands) == 1 and (names_of(error) | names_of(error.__context__)) & REFUSED
        if refused or not done or command_effects.only_reads(commands, self.task_pool.package):
            return error
        library = importlib.import_module(self.task_pool.package)
        # A cluster client repeats commands that end in a connection error.
        return unknown(error, commands, library.RedisError if self.task_pool.clustered else type(error))


def patience_for(connection: Any) -> Any:
    """The `Retry` of a connection."""
    package = next(
        cls.__module__.partition(".")[0]
        for cls in type(connection).__mro__
        if cls.__module__.partition(".")[0] in ("redis", "valkey")
    )
    own = _patience_class(package)(importlib.import_module(f"{package}.backoff").NoBackoff(), 0)
    own.of = weakref.ref(connection)
    return own


@cache
def _patience_class(package: str) -> Any:
    return type("Patience", (Patience, importlib.import_module(f"{package}.retry").Retry), {})


@cache
def tame(base: type) -> type:
    """A connection class derived from `base`."""
    if issubclass(base, Tame):
        return base
    return type(f"Tame{base.__name__}", (Tame, base), {})
