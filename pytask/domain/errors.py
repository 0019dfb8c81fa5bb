"""All errors that pytask raises: a stable code, then what, where, why, and the fix."""

from __future__ import annotations


class PytaskError(Exception):
    """The base class; `code` is stable and explained by `pytask explain`."""

    code = "PT000"

    def __init_subclass__(cls, code: str = "", **others: object) -> None:
        super().__init_subclass__(**others)
        if code:
            cls.code = code

    def __str__(self) -> str:
        return f"[{self.code}] {super().__str__()}"


class IllegalMove(PytaskError, code="PT001"):
    """The lifecycle has no such transition."""

    def __init__(self, state: object, trigger: object) -> None:
        super().__init__(f"a task in {state} cannot {trigger}: the lifecycle has no such transition")


class NotPatched(PytaskError, code="PT010"):
    """The worker runs in an unpatched process, where a socket call blocks every greenlet."""

    def __init__(self, early: str = "") -> None:
        first = f" {early} was imported before any patching." if early else ""
        super().__init__(
            "gevent has not patched this process: one blocking call would block all tasks."
            f"{first} Make `from gevent import monkey; monkey.patch_all()` the first line of your program,"
            " before other imports, or start it with `pytask run FILE`, which patches first."
        )


class WrongThread(PytaskError, code="PT014"):
    """A method of a task that needs the event loop's thread was called in a native thread."""

    def __init__(self, task: str) -> None:
        super().__init__(
            f"task {task}: emit(), progress(), save(), spawn(), subprocess() and redis may be used only in"
            " the thread of the event loop. Fix: return the result from the function that self.blocking()"
            " calls, and send it in the task; get `client = self.redis` before the call. In a coroutine use"
            " asyncio.create_task() instead of spawn(), and `await self.in_greenlet(...)` for subprocess()"
        )


class NotInLoop(PytaskError, code="PT215"):
    """Something that a coroutine of a task cannot do, in the native thread of the asyncio loop."""


class TooManyEvents(PytaskError, code="PT216"):
    """A coroutine emits faster than Redis accepts events, and does not wait for it."""

    def __init__(self, task: str) -> None:
        super().__init__(
            f"task {task}: too many events wait for Redis (twice the setting max_pending). Fix: write"
            " `await self.emit(...)`, which waits until there is room, or set when_full to drop"
        )


class ConfigError(PytaskError, code="PT020"):
    """An invalid setting, task class or command line."""


class BadFailover(ConfigError, code="PT190"):
    """A failover time that is too short or too long to be safe beside workers with other times."""


class BadPatch(ConfigError, code="PT011"):
    """An invalid `--patch` value."""


class ImportedEarly(ConfigError, code="PT012"):
    """Modules were imported before `pytask run` could patch, and do not work."""


class BadTaskClass(ConfigError, code="PT021"):
    """An object that is not a usable task class was added to an app."""


class UnknownTask(ConfigError, code="PT022"):
    """A task name that no class of this app has."""


class BadTarget(ConfigError, code="PT023"):
    """`pytask run TARGET` could not find an app or task classes."""


class UnsupportedClient(ConfigError, code="PT024"):
    """An unsupported Redis client, or a version of one that is known to mix up replies."""


class UnsupportedServer(ConfigError, code="PT027"):
    """The Redis server is too old for the commands that pytask uses."""


class NameClash(ConfigError, code="PT025"):
    """Another project called pytask is installed too; it has the same import name and script."""


class BadConfigFile(ConfigError, code="PT028"):
    """A configuration file that cannot be read, or that contains an unknown setting."""


class SharedChannels(ConfigError, code="PT138"):
    """Workers with another db number of the same Redis receive the same control messages."""


class UnsafeFolder(ConfigError, code="PT140"):
    """Another user could write to a directory that must be private."""


class RunsAsInit(ConfigError, code="PT120"):
    """A worker with a hard deadline is the init process of its container (PID 1)."""


class BrokenTarget(PytaskError, code="PT026"):
    """The module given to `pytask run` raised while it was imported; the text ends with its traceback."""


class BadData(PytaskError, code="PT030"):
    """Data that is not JSON, is not an object, or does not fit `Config.DATA`."""

    def __init__(self, text: str = "", path: str = "$") -> None:
        super().__init__(text)
        self.path = path  # of the invalid value, `$` for the whole data


class UnfitData(BadData, code="PT240"):
    """Data that does not fit what running workers show of its function; nothing was sent."""

    state: str | None = None  # of the task whose new data it would be

    def of(self, state: str) -> UnfitData:
        """The same for one task, which is in this state."""
        found = UnfitData(self.args[0], self.path)
        found.state = state
        return found


class BadSchedule(BadData, code="PT155"):
    """An invalid schedule: its times, its zone, or another of its fields."""


class BadSave(BadData, code="PT151"):
    """A value that `self.save()` cannot store: it has no JSON form, or is over 64 KiB."""


class BadSaved(BadData, code="PT152"):
    """The field `saved` of a task is not JSON, or too large: no run can begin with it."""


class ReloadRefused(PytaskError, code="PT049"):
    """A reload whose data does not fit: the run continues with its current data."""

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state


class ReloadRolledBack(PytaskError, code="PT164"):
    """A reload whose run failed soon: the task runs again with its previous data."""

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state


class TaskFailed(PytaskError, code="PT040"):
    """Raised by a task with `raise self.Error("...")`: ERROR with this text and no traceback."""

    def __str__(self) -> str:
        # The text is the user's own and is stored unchanged.
        return Exception.__str__(self)


class FatalFailure(TaskFailed):
    """Raised by a task with `raise self.Fatal("...")`: the same, and no restart policy retries it."""


class NotRun(PytaskError, code="PT044"):
    """A task without a run was asked for something that only a run has: id, Redis client, events."""


class StoreError(PytaskError, code="PT050"):
    """A Redis operation failed, or its outcome is unknown."""

    queued: tuple[str, ...] = ()  # of tasks that were started together: ids that are certainly queued


class Unavailable(StoreError, code="PT051"):
    """No answer: the outcome is unknown.  The same request with the same run ids may be repeated."""


class OutcomeUnknown(PytaskError, code="PT145"):
    """Redis was lost after a write of `self.redis` was sent: it may or may not have been executed.

    The raised error is also one of the client library: `redis.ConnectionError` or `TimeoutError`.
    """


class Refused(StoreError, code="PT052"):
    """Redis refused the command: OOM, READONLY, MISCONF, NOREPLICAS, BUSY, CLUSTERDOWN."""

    def __init__(self, text: str = "", word: str = "") -> None:
        super().__init__(text)
        self.word = word  # one of those above; "" for any other error


class FailoverSuspected(Refused, code="PT055"):
    """A different server answered: nothing was done.  The next renewal checks again."""


class Denied(StoreError, code="PT053"):
    """NOAUTH, WRONGPASS or NOPERM: the address or the permissions are wrong."""


class TooLarge(StoreError, code="PT134"):
    """Data that Redis refuses although it accepts smaller requests: these tasks are not queued."""

    def __init__(self, text: str = "", ids: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.ids = ids


class WrongKeyType(StoreError, code="PT054"):
    """One of pytask's own keys has another type."""


class TaskExists(PytaskError, code="PT084"):
    """Another task has this id; starting the same task twice with equal data is not an error."""


class TaskRunning(PytaskError, code="PT085"):
    """The task is running, but the operation needs a task that is not."""


class NoListeners(PytaskError, code="PT086"):
    """The control request is stored in Redis, but no worker is subscribed that could carry it out."""

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state  # that the task was in; None where it is not known


class TaskNotRunning(PytaskError, code="PT088"):
    """The task is not running, but the operation needs a run."""

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state


class RunFailed(PytaskError, code="PT141"):
    """The task was started, ran and failed before the wait for its start ended."""

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state


class MissingExtra(ConfigError, code="PT195"):
    """A package of an extra is not installed."""


class OpenToTheWorld(ConfigError, code="PT196"):
    """The page would be reachable from other machines without a login."""


class BadPasswordFile(ConfigError, code="PT197"):
    """The file of users cannot be used."""


class InsideWorker(PytaskError, code="PT198"):
    """The page is in the process of a worker, where a slow browser could delay renewals."""


class BadCursor(ConfigError, code="PT087"):
    """A cursor that `list()` did not return."""


class ServerNotFound(PytaskError, code="PT060"):
    """No redis-server or valkey-server program was found."""


class ServerFailed(PytaskError, code="PT061"):
    """The embedded server did not start, or its directory is in use."""


class NoSuchTask(PytaskError, code="PT080"):
    """No task has this id or an id with this prefix."""

    def __init__(self, text: str = "", near: str = "") -> None:
        super().__init__(text)
        self.near = near  # a similar id, if one was found


class NoSuchSchedule(NoSuchTask, code="PT156"):
    """No schedule has this name."""


class AmbiguousId(PytaskError, code="PT081"):
    """Several ids have the given prefix, or there are too many tasks to be sure."""


class TimedOut(PytaskError, code="PT082"):
    """The awaited event did not happen in time."""

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state  # that the task was in; None where it is not known


class Unhealthy(PytaskError, code="PT083"):
    """A worker or something it depends on is unhealthy."""


class NotSimulated(ConfigError, code="PT225"):
    """Something that virtual time does not have."""


class BadDjangoSettings(ConfigError, code="PT250"):
    """Django's settings do not say where its tasks run, or have an invalid option."""


class BadDjangoTask(PytaskError, code="PT251"):
    """A task of Django that pytask cannot queue or run, or a name that is not one."""


class TaskStopped(PytaskError, code="PT252"):
    """In the errors of a result of Django: the task was stopped, so it has no return value."""

    def __init__(self, task_id: str = "") -> None:
        super().__init__(f"task {task_id} was stopped before it ended: pytask start {task_id} runs it again")


class Unwatched(PytaskError, code="PT236"):
    """Files whose changes cannot be reported."""


def may_be_size(error: Exception) -> bool:
    """Whether a size limit can be the cause; errors of rights, key types, failovers and memory exclude it."""
    return isinstance(error, Unavailable) or (type(error) is Refused and not error.word)


def is_fatal(error: BaseException | None) -> bool:
    """Whether it is a `self.Fatal`, also one of several failures, as of a TaskGroup."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(FatalFailure) is not None
    return isinstance(error, FatalFailure)
