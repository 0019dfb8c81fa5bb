"""Every error pytask raises.  A stable code, then what, where, why, and the fix."""

from __future__ import annotations


class PytaskError(Exception):
    """The base of all of them; `code` is stable and can be looked up."""

    code = "PT000"

    def __str__(self) -> str:
        return f"[{self.code}] {super().__str__()}"


class IllegalMove(PytaskError):
    """The lifecycle has no such move."""

    code = "PT001"

    def __init__(self, state: object, trigger: object) -> None:
        super().__init__(f"a task in {state} cannot {trigger}: the lifecycle has no such move")


class NotPatched(PytaskError):
    """The worker runs in a process whose sockets block every greenlet."""

    code = "PT010"

    def __init__(self, early: str = "") -> None:
        first = f" {early} was imported before any patching." if early else ""
        super().__init__(
            "gevent has not patched this process: one blocking call would stop every task."
            f"{first} Put `from gevent import monkey; monkey.patch_all()` on the first line of your"
            " program, before other imports, or start it with `pytask run FILE`, which patches first."
        )


class WrongThread(PytaskError):
    """A native thread asked a task for something that only the thread of the event loop can do."""

    code = "PT014"

    def __init__(self, task: str) -> None:
        super().__init__(
            f"task {task}: emit(), progress(), spawn(), subprocess() and redis belong to the thread of the"
            " event loop, and this is another one. Fix: let the function that self.blocking() calls return"
            " what is to be sent; take `client = self.redis` before the call"
        )


class ConfigError(PytaskError):
    """A setting, a task class or a command line that cannot work."""

    code = "PT020"


class BadPatch(ConfigError):
    """A `--patch` that is none."""

    code = "PT011"


class ImportedEarly(ConfigError):
    """Modules that were imported before `pytask run` could patch, and fail since."""

    code = "PT012"


class BadTaskClass(ConfigError):
    """Something that is not a usable task class was added to an app."""

    code = "PT021"


class UnknownTask(ConfigError):
    """A task name that no class of this app carries."""

    code = "PT022"


class BadTarget(ConfigError):
    """`pytask run TARGET` could not find an app or task classes."""

    code = "PT023"


class UnsupportedClient(ConfigError):
    """A Redis client that cannot keep the promise (or a version known to mix up replies)."""

    code = "PT024"


class UnsupportedServer(ConfigError):
    """A Redis too old for the commands that pytask uses."""

    code = "PT027"


class NameClash(ConfigError):
    """The other project called pytask is installed too; it has the same import name and script."""

    code = "PT025"


class BadConfigFile(ConfigError):
    """A configuration file that cannot be read, or that sets something that is no setting."""

    code = "PT028"


class SharedChannels(ConfigError):
    """Workers with another db number of the same Redis hear the same control messages."""

    code = "PT138"


class UnsafeFolder(ConfigError):
    """Another user could have put files into a folder that was to be ours alone."""

    code = "PT140"


class RunsAsInit(ConfigError):
    """A worker with a hard deadline is the init process of its container (PID 1)."""

    code = "PT120"


class BrokenTarget(PytaskError):
    """The module given to `pytask run` raised while it was imported; the text ends with its traceback."""

    code = "PT026"


class BadData(PytaskError):
    """The task's data is not JSON, not an object, or does not fit `Config.DATA`."""

    code = "PT030"

    def __init__(self, text: str = "", path: str = "$") -> None:
        super().__init__(text)
        self.path = path  # to what does not fit, `$` for the whole


class ReloadRefused(PytaskError):
    """A reload with data that does not fit: the run goes on with the data that it has."""

    code = "PT049"

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state


class TaskFailed(PytaskError):
    """Raised by a task as `raise self.Error("...")`: ERROR with this text and no traceback."""

    code = "PT040"

    def __str__(self) -> str:
        # The text is the user's own, and goes to the hash as it is.
        return Exception.__str__(self)


class NotRun(PytaskError):
    """A task that no worker runs was asked for something of its run: its id, its Redis client, an event."""

    code = "PT044"


class StoreError(PytaskError):
    """Redis did not do what it was asked, or we do not know whether it did."""

    code = "PT050"
    queued: tuple[str, ...] = ()  # of tasks that were started together, those that are queued for certain


class Unavailable(StoreError):
    """No answer: the outcome is unknown.  Repeat the same request with the same run ids."""

    code = "PT051"


class OutcomeUnknown(PytaskError):
    """Redis was lost after a write of `self.redis` was sent: it may have been done, or not.

    What is raised is an error of the client library as well: `redis.ConnectionError`, or `TimeoutError`.
    """

    code = "PT145"


class Refused(StoreError):
    """Redis answered, and refused: OOM, READONLY, MISCONF, NOREPLICAS, BUSY, CLUSTERDOWN."""

    code = "PT052"

    def __init__(self, text: str = "", word: str = "") -> None:
        super().__init__(text)
        self.word = word  # one of those above; "" for an error of any other kind


class FailoverSuspected(Refused):
    """Another server answers than the one the worker knows of: nothing was done.  The next renewal looks."""

    code = "PT055"


class Denied(StoreError):
    """NOAUTH, WRONGPASS or NOPERM: the address or the rights are wrong."""

    code = "PT053"


class TooLarge(StoreError):
    """Data that Redis refuses while it takes smaller requests: these tasks are not queued."""

    code = "PT134"

    def __init__(self, text: str = "", ids: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.ids = ids


class WrongKeyType(StoreError):
    """One of pytask's own keys is held by something else."""

    code = "PT054"


class TaskExists(PytaskError):
    """Another task has this id; starting the same one twice, with equal data, is no error."""

    code = "PT084"


class TaskRunning(PytaskError):
    """It runs: what was asked for needs a task at rest."""

    code = "PT085"


class NoListeners(PytaskError):
    """The wish is kept in Redis, but no worker listens that could carry it out."""

    code = "PT086"

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state  # that the task was in; None where it is not known


class TaskNotRunning(PytaskError):
    """It does not run: what was asked for needs a run."""

    code = "PT088"

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state


class RunFailed(PytaskError):
    """It was started, ran, and failed, before the wait for its start was over."""

    code = "PT141"

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state


class BadCursor(ConfigError):
    """A cursor that no `list()` gave."""

    code = "PT087"


class ServerNotFound(PytaskError):
    """No redis-server or valkey-server to start."""

    code = "PT060"


class ServerFailed(PytaskError):
    """The embedded server did not come up, or its folder is in use."""

    code = "PT061"


class NoSuchTask(PytaskError):
    """No task has this id, or an id that begins like it."""

    code = "PT080"

    def __init__(self, text: str = "", near: str = "") -> None:
        super().__init__(text)
        self.near = near  # an id that looks like it, where one was looked for and found


class AmbiguousId(PytaskError):
    """Several ids begin like the one given, or there are too many tasks to know."""

    code = "PT081"


class TimedOut(PytaskError):
    """What was waited for did not come in time."""

    code = "PT082"

    def __init__(self, text: str = "", state: str | None = None) -> None:
        super().__init__(text)
        self.state = state  # that the task was in; None where it is not known


class Unhealthy(PytaskError):
    """A worker, or what it needs, is not as it should be."""

    code = "PT083"


def may_be_size(error: Exception) -> bool:
    """Whether a size limit can be the cause; rights, key types, failovers and a full server are none."""
    return isinstance(error, Unavailable) or (type(error) is Refused and not error.word)
