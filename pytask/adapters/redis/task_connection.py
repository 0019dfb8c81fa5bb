"""Connections for task code: no reply is left behind, no write is sent twice, a lost server is waited for.

A greenlet may be killed at any point at which it waits.  What it leaves is a connection that is closed, or
one that has no reply to come.
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

PAUSES = (0.05, 1.0)  # seconds between two attempts: at first, and at the most
NOTICE = 5.0  # seconds after which the log says that a task waits
REPLIES = frozenset({"ResponseError", "AuthenticationError", "AuthorizationError"})
REFUSED = frozenset({"ReadOnlyError", "BusyLoadingError"})  # by a server that is not there yet, or any more


def _names(error: BaseException | None) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def is_away(error: Exception) -> bool:
    """Whether there was no server that could answer; a wrong password is no such error."""
    return isinstance(translate(error), Unavailable)


_unknown: dict[type, Any] = {}  # both ours and of the library, which is what programs catch


def unknown(lost: Exception, commands: Sequence[Sequence[Any]], kind: type[Exception]) -> Exception:
    """What is raised for a write whose reply was lost: it is an error of this kind, too."""
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
    """In place of the library's `Retry`: what is safe to do again is done again while the task may wait."""

    of: Callable[[], Any]  # the connection, weakly: a socket is closed when nobody refers to it

    def call_with_retry(self, do: Callable[[], Any], fail: Callable[..., Any], *_: Any, **how: Any) -> Any:
        """The value of `do()`; `fail` is what the library wants to be called after each lost connection."""
        connection = self.of()
        if connection.inside or connection.greeting:
            return self._once(do, fail, 1, how)  # whoever is around it waits; a new token waits for nothing
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
    """Seconds until the next attempt; many wait at once, and not all are to come at once."""
    first, most = PAUSES
    return float(min(most, first * 2 ** min(failures, 10))) * random.uniform(0.5, 1)  # noqa: S311 - no secret


class Tame(Base):  # type: ignore[misc]
    """What a connection of the library does besides, when task code uses it."""

    task_pool: Any = None  # set by the pool that made it
    borrower: Any = None  # the run that has it
    shared = False  # it is one of the connections that all tasks share, and in use
    taken = 0.0
    inside = 0  # nested calls of Patience
    since: float | None = None  # when that was begun which is done again now
    pending = 0  # replies to come
    greeting = False
    spoiled = False  # it is not like the others any more
    watching = False
    listening = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sent: list[Sequence[Any]] = []  # what is not answered yet, and what went with it
        self._packed: list[Sequence[Any]] | None = None
        self.retry = patience_for(self)

    @property
    def unfinished(self) -> bool:
        """Whether the next command of another task would meet something of this one."""
        return bool(self.pending or self.spoiled or self.watching)

    # -- connecting -----------------------------------------------------------------------------------

    def connect(self) -> None:
        """As the library's, but it waits for the server, and looks whether it answers."""
        if self._sock is None:
            self.retry.call_with_retry(self._open, lambda _error: None)

    def _open(self) -> None:
        self.greeting = True
        try:
            super().connect()
            # A proxy takes a connection before there is a server, and one that loads its data refuses all.
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
            if "ResponseError" not in _names(error) or is_away(error):
                raise

    def re_auth(self) -> None:
        """As the library's: to log in again makes it no other connection."""
        self.greeting = True
        try:
            super().re_auth()
        finally:
            self.greeting = False

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Whatever was to come does not come any more."""
        self.pending = 0
        self.spoiled = self.watching = self.listening = False
        super().disconnect(*args, **kwargs)

    # -- commands -------------------------------------------------------------------------------------

    def pack_commands(self, commands: Any) -> Any:
        """Notes what is sent next."""
        self._packed = list(commands)
        return super().pack_commands(self._packed)

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        """Notes what is sent."""
        if self.since is not None:
            args = tuple(command_effects.shortened(args, time.monotonic() - self.since))
        self._packed = [args]
        super().send_command(*args, **kwargs)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT002 - as in the library
        """Send, on a connection that was good just now; an error means that nothing was done."""
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
            # Of what was not sent to its end the server does nothing, or not the last command.
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
        """How long the reply may take; to wait for that of a write is better than not to know."""
        limit = self.socket_timeout
        if limit is not None:
            limit = (limit if reads else max(limit, self.task_pool.reply_limit())) + waits
        self._set_timeout(None if limit is None or limit == math.inf else limit)

    def _set_timeout(self, limit: float | None) -> None:
        with contextlib.suppress(AttributeError, OSError):  # a fake one has no such thing
            self._sock.settimeout(limit)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """A reply; one that is lost closes the connection, and says what that means."""
        if self.listening:
            if "timeout" not in kwargs:
                self._set_timeout(None)
        else:
            kwargs["disconnect_on_error"] = True  # those of Sentinel keep it, with the reply (redis-py#4292)
        try:
            reply = super().read_response(*args, **kwargs)
        except Exception as error:
            if self.greeting or self.listening:
                raise
            if len(self.sent) == 1 and _names(error) & REFUSED and not self.task_pool.clustered:
                raise self._refused(error) from error
            if _names(error) & REPLIES:
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
        """The error of a connection, since the next attempt may find the server that is primary now."""
        self._answered()
        self.disconnect()
        library = importlib.import_module(self.task_pool.package)
        refused: Exception = library.ConnectionError(f"refused by a server that is not the primary: {error}")
        return refused

    def _lost(self, error: Exception, *, done: bool = True) -> Exception:
        """The error to raise: that of the library where it does no harm to do it again, or our own."""
        commands, self.sent = self.sent, []
        if not is_away(error) or not commands:
            return error
        refused = len(commands) == 1 and (_names(error) | _names(error.__context__)) & REFUSED
        if refused or not done or command_effects.only_reads(commands, self.task_pool.package):
            return error
        library = importlib.import_module(self.task_pool.package)
        # A cluster's client repeats what ends in an error of the connection.
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
    """A class of connections like `base`."""
    if issubclass(base, Tame):
        return base
    return type(f"Tame{base.__name__}", (Tame, base), {})
