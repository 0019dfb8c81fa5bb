"""All errors that pytask raises: a stable code, then what, where, why, and the fix."""

from __future__ import annotations


class PytaskError(Exception):
    """The base class; `code` is stable and explained by `pytask explain`."""

    code = "PT000"

    def __str__(self) -> str:
        return f"[{self.code}] {super().__str__()}"


class IllegalMove(PytaskError):
    """The lifecycle has no such transition."""

    code = "PT001"

    def __init__(self, state: object, trigger: object) -> None:
        super().__init__(f"a task in {state} cannot {trigger}: the lifecycle has no such transition")


class NotPatched(PytaskError):
    """The worker runs in an unpatched process, where a socket call blocks every greenlet."""

    code = "PT010"

    def __init__(self, early: str = "") -> None:
        first = f" {early} was imported before any patching." if early else ""
        super().__init__(
            "gevent has not patched this process: one blocking call would block all tasks."
            f"{first} Make `from gevent import monkey; monkey.patch_all()` the first line of your program,"
            " before other imports, or start it with `pytask run FILE`, which patches first."
        )


class WrongThread(PytaskError):
    """A method of a task that needs the event loop's thread was called in a native thread."""

    code = "PT014"

    def __init__(self, task: str) -> None:
        super().__init__(
            f"task {task}: emit(), progress(), save(), spawn(), subprocess() and redis may be used only in"
            " the thread of the event loop. Fix: return the result from the function that self.blocking()"
            " calls, and send it in the task; get `client = self.redis` before the call. In a coroutine use"
            " asyncio.create_task() instead of spawn(), and `await self.in_greenlet(...)` for subprocess()"
        )


class NotInLoop(PytaskError):
    """Something that a coroutine of a task cannot do, in the native thread of the asyncio loop."""

    code = "PT215"


class TooManyEvents(PytaskError):
    """A coroutine emits faster than Redis accepts events, and does not wait for it."""

    code = "PT216"

    def __init__(self, task: str) -> None:
        super().__init__(
            f"task {task}: too many events wait for Redis (twice the setting max_pending). Fix: write"
            " `await self.emit(...)`, which waits until there is room, or set when_full to drop"
        )


class ConfigError(PytaskError):
    """An invalid setting, task class or command line."""

    code = "PT020"


class BadFailover(ConfigError):
    """A failover time that is too short or too long to be safe beside workers with other times."""

    code = "PT190"


class BadPatch(ConfigError):
    """An invalid `--patch` value."""

    code = "PT011"


class ImportedEarly(ConfigError):
    """Modules were imported before `pytask run` could patch, and do not work."""

    code = "PT012"


class BadTaskClass(ConfigError):
    """An object that is not a usable task class was added to an app."""

    code = "PT021"


class UnknownTask(ConfigError):
    """A task name that no class of this app has."""

    code = "PT022"


class BadTarget(ConfigError):
    """`pytask run TARGET` could not find an app or task classes."""

    code = "PT023"


class UnsupportedClient(ConfigError):
    """An unsupported Redis client, or a version of one that is known to mix up replies."""

    code = "PT024"


class UnsupportedServer(ConfigError):
    """The Redis server is too old for the commands that pytask uses."""

    code = "PT027"


class NameClash(ConfigError):
    """Another project called pytask is installed too; it has the same import name and script."""

    code = "PT025"


class BadConfigFile(ConfigError):
    """A configuration file that cannot be read, or that contains an unknown setting."""

    code = "PT028"


class SharedChannels(ConfigError):
    """Workers with another db number of the same Redis receive the same control messages."""

    code = "PT138"


class UnsafeFolder(ConfigError):
    """Another user could write to a directory that must be private."""

    code = "PT140"


class RunsAsInit(ConfigError):
    """A worker with a hard deadline is the init process of its container (PID 1)."""

    code = "PT120"


class BrokenTarget(PytaskError):
    """The module given to `pytask run` raised while it was imported; the text ends with its traceback."""

    code = "PT026"


class BadData(PytaskError):
    """Data that is not JSON, is not an object, or does not fit `Config.DATA`."""

    code = "PT030"

    def __init__(self, text: str = "", path: str = "$") -> None:
        super().__init__(text)
        self.path = path  # of the invalid value, `$` for the whole data


class UnfitData(BadData):
    """Data that does not fit what running workers show of its function; nothing was sent."""

    code = "PT240"


class BadSchedule(BadData):
    """An invalid schedule: its times, its zone, or another of its fields."""

    code = "PT155"


class BadSave(BadData):
    """A value that `self.save()` cannot store: it has no JSON form, or is over 64 KiB."""

    code = "PT151"


class BadSaved(BadData):
    """The field `saved` of a task is not JSON, or too large: no run can begin with it."""

    code = "PT152"


class ReloadRefused(PytaskError):
    """A reload whose data does not fit: the run continues with its current data."""

    code = "PT049"

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state


class ReloadRolledBack(PytaskError):
    """A reload whose run failed soon: the task runs again with its previous data."""

    code = "PT164"

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state


class TaskFailed(PytaskError):
    """Raised by a task with `raise self.Error("...")`: ERROR with this text and no traceback."""

    code = "PT040"

    def __str__(self) -> str:
        # The text is the user's own and is stored unchanged.
        return Exception.__str__(self)


class FatalFailure(TaskFailed):
    """Raised by a task with `raise self.Fatal("...")`: the same, and no restart policy retries it."""


class NotRun(PytaskError):
    """A task without a run was asked for something that only a run has: id, Redis client, events."""

    code = "PT044"


class StoreError(PytaskError):
    """A Redis operation failed, or its outcome is unknown."""

    code = "PT050"
    queued: tuple[str, ...] = ()  # of tasks that were started together: ids that are certainly queued


class Unavailable(StoreError):
    """No answer: the outcome is unknown.  The same request with the same run ids may be repeated."""

    code = "PT051"


class OutcomeUnknown(PytaskError):
    """Redis was lost after a write of `self.redis` was sent: it may or may not have been executed.

    The raised error is also one of the client library: `redis.ConnectionError` or `TimeoutError`.
    """

    code = "PT145"


class Refused(StoreError):
    """Redis refused the command: OOM, READONLY, MISCONF, NOREPLICAS, BUSY, CLUSTERDOWN."""

    code = "PT052"

    def __init__(self, text: str = "", word: str = "") -> None:
        super().__init__(text)
        self.word = word  # one of those above; "" for any other error


class FailoverSuspected(Refused):
    """A different server answered: nothing was done.  The next renewal checks again."""

    code = "PT055"


class Denied(StoreError):
    """NOAUTH, WRONGPASS or NOPERM: the address or the permissions are wrong."""

    code = "PT053"


class TooLarge(StoreError):
    """Data that Redis refuses although it accepts smaller requests: these tasks are not queued."""

    code = "PT134"

    def __init__(self, text: str = "", ids: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.ids = ids


class WrongKeyType(StoreError):
    """One of pytask's own keys has another type."""

    code = "PT054"


class TaskExists(PytaskError):
    """Another task has this id; starting the same task twice with equal data is not an error."""

    code = "PT084"


class TaskRunning(PytaskError):
    """The task is running, but the operation needs a task that is not."""

    code = "PT085"


class NoListeners(PytaskError):
    """The control request is stored in Redis, but no worker is subscribed that could carry it out."""

    code = "PT086"

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state  # that the task was in; None where it is not known


class TaskNotRunning(PytaskError):
    """The task is not running, but the operation needs a run."""

    code = "PT088"

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state


class RunFailed(PytaskError):
    """The task was started, ran and failed before the wait for its start ended."""

    code = "PT141"

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state


class MissingExtra(ConfigError):
    """A package of an extra is not installed."""

    code = "PT195"


class OpenToTheWorld(ConfigError):
    """The page would be reachable from other machines without a login."""

    code = "PT196"


class BadPasswordFile(ConfigError):
    """The file of users cannot be used."""

    code = "PT197"


class InsideWorker(PytaskError):
    """The page is in the process of a worker, where a slow browser could delay renewals."""

    code = "PT198"


class BadCursor(ConfigError):
    """A cursor that `list()` did not return."""

    code = "PT087"


class ServerNotFound(PytaskError):
    """No redis-server or valkey-server program was found."""

    code = "PT060"


class ServerFailed(PytaskError):
    """The embedded server did not start, or its directory is in use."""

    code = "PT061"


class NoSuchTask(PytaskError):
    """No task has this id or an id with this prefix."""

    code = "PT080"

    def __init__(self, text: str = "", near: str = "") -> None:
        super().__init__(text)
        self.near = near  # a similar id, if one was found


class NoSuchSchedule(NoSuchTask):
    """No schedule has this name."""

    code = "PT156"


class AmbiguousId(PytaskError):
    """Several ids have the given prefix, or there are too many tasks to be sure."""

    code = "PT081"


class TimedOut(PytaskError):
    """The awaited event did not happen in time."""

    code = "PT082"

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state  # that the task was in; None where it is not known


class Unhealthy(PytaskError):
    """A worker or something it depends on is unhealthy."""

    code = "PT083"


class NotSimulated(ConfigError):
    """Something that virtual time does not have."""

    code = "PT225"


class BadDjangoSettings(ConfigError):
    """Django's settings do not say where its tasks run, or have an invalid option."""

    code = "PT250"


class BadDjangoTask(PytaskError):
    """A task of Django that pytask cannot queue or run, or a name that is not one."""

    code = "PT251"


class TaskStopped(PytaskError):
    """In the errors of a result of Django: the task was stopped, so it has no return value."""

    code = "PT252"

    def __init__(self, task_id: str = "") -> None:
        super().__init__(f"task {task_id} was stopped before it ended: pytask start {task_id} runs it again")


class Unwatched(PytaskError):
    """Files whose changes cannot be reported."""

    code = "PT236"


def may_be_size(error: Exception) -> bool:
    """Whether a size limit can be the cause; errors of rights, key types, failovers and memory exclude it."""
    return isinstance(error, Unavailable) or (type(error) is Refused and not error.word)
