"""A task, as a client reads it from its hash.  Fields that other releases add are in `more`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from pytask.adapters.rules import SAVED
from pytask.domain import history
from pytask.domain import lifecycle as life
from pytask.domain.errors import BadData
from pytask.domain.lifecycle import State
from pytask.domain.task_log import amounts, progress_of, with_short_note


@attrs.frozen(kw_only=True)
class Progress:
    """The last progress that a run reported with `self.progress(done, total, note)`."""

    done: float
    total: float | None = None
    note: str = ""
    at: float = 0.0  # seconds since 1970, by the worker's clock

    def __str__(self) -> str:
        return amounts({"done": self.done, "total": self.total, "note": self.note})


@attrs.frozen(kw_only=True)
class Refusal:
    """A reload that was refused because its data does not fit: the run continued with its data."""

    path: str  # to what does not fit, such as `$.limit`; `$` for the whole
    reason: str
    at: float = 0.0  # seconds since 1970, of the server


@attrs.frozen(kw_only=True)
class Rollback:
    """A reload that was rolled back: the run with the new data failed soon after it."""

    reason: str  # why the run failed
    at: float = 0.0  # seconds since 1970, of the server
    epoch: int = 0  # of the run that failed


@attrs.frozen(kw_only=True)
class TaskInfo:
    """A task as stored in its hash."""

    id: str
    state: State
    function: str = ""
    worker: str = ""  # the name of the worker that has, or last had it
    run: str = ""  # of the live run; "" while it rests
    last_run: str = ""
    epoch: int = 0  # grows with every run
    attempts: int = 0  # runs so far
    crashes: int = 0  # workers that died while running it
    last_update: float = 0.0  # seconds since 1970, of the server
    control: str = ""  # a pending control request: stop, reload, pause, or start (resume)
    paused: float = 0.0  # since when it is paused, seconds since 1970; 0: it is not
    local: bool = False  # started with its worker, by pre_start_task
    again: bool = (
        False  # it had finished and was pushed again: it waits, the other fields describe the run before
    )
    not_before: float = 0.0  # seconds since 1970: no run starts before
    due: float | None = None  # when the timers queue it, in seconds since 1970; None: it is not in them
    restarts: int = 0  # consecutive restarts after failures (or ends), by its policy
    failed_at: float = 0.0  # when the run before the last restart ended, seconds since 1970
    restarts_since: float = 0.0  # when the first run that counts in `restarts` ended, seconds since 1970
    restart: str = ""  # "never", "failure" or "always": what its producer chose; "": its class decides
    group: str = ""  # the group whose limit it obeys
    # JSON; None if there is none, or if it was not requested.  It may hold secrets: no repr shows it.
    raw_data: bytes | None = attrs.field(default=None, repr=False)
    raw_output: bytes | None = attrs.field(default=None, repr=False)  # JSON
    # JSON: what its runs have saved for the next one; None if there is nothing, or if it was not requested.
    raw_saved: bytes | None = attrs.field(default=None, repr=False)
    saved_at: float = 0.0  # when Redis got that, seconds since 1970, of the server
    error: str = ""  # the first line is the text, the rest the traceback
    progress: Progress | None = None  # of the last run; None if it reported none
    refusal: Refusal | None = None  # of the last reload of the last run; None where it was not refused
    settling: bool = False  # its run was started by a reload less than a second ago
    reloaded_at: float = 0.0  # seconds since 1970: when its run last took new data in place; 0: never
    on_trial: bool = False  # its data is new since a reload less than 10 s ago, and may be rolled back
    rolled_back: Rollback | None = None  # the last reload, if it was rolled back
    raw_rejected: bytes | None = attrs.field(default=None, repr=False)  # data that was refused or rolled back
    more: Mapping[str, str] = attrs.Factory(dict)

    @property
    def pausing(self) -> bool:
        """It is paused, and no greenlet of its run has reached a gate yet."""
        return bool(self.paused) and self.control == "pause"

    @property
    def data(self) -> Any:
        """The data, decoded; raises ValueError where it is not JSON."""
        return _decoded(self.raw_data)

    @property
    def output(self) -> Any:
        """What `start()` returned, decoded."""
        return _decoded(self.raw_output)

    @property
    def saved(self) -> Any:
        """What its runs have saved for the next one, decoded; None if there is nothing."""
        return _decoded(self.raw_saved)

    @property
    def reason(self) -> str:
        """The text of the error, without the traceback."""
        return self.error.partition("\n")[0]

    @property
    def history(self) -> tuple[history.Transition, ...]:
        """Its last transitions, the newest last: when, from, to, by which trigger, by whom, why.

        The claim and the end of a run to which nothing else happened are not among them.
        """
        return history.read(self.more.get("history", ""))

    @property
    def session(self) -> str:
        """The worker session that owns the run; "" while it rests."""
        return self.run.rpartition(":")[0]

    @property
    def finished(self) -> bool:
        """At rest, and not waiting to run."""
        return self.state in FINISHED


FINISHED = tuple(state for state in life.RESTING if state is not life.WAIT)


def states_of(for_state: str | Iterable[str] | None) -> tuple[State, ...]:
    """The requested states, the final ones for None.  Raises `BadData`."""
    if for_state is None:
        return FINISHED
    words = (for_state,) if isinstance(for_state, str) else tuple(for_state)
    try:
        return tuple(State(word) for word in words)
    except ValueError:
        raise BadData(f"no such state: {', '.join(map(repr, words))}; states: {', '.join(State)}") from None


LIST_FIELDS = (
    "function", "state", "worker", "run", "last_run", "epoch", "attempts", "crashes", "last_update",
    "control", "local", "progress", "settling", "not_before", "restarts",
    "failed_at", "restart", "group", "paused",
)  # fmt: skip
_RELOADS = ("reload_refused", "reloaded", "rolled_back", "trial", "data_ok", "data_bad")
_KNOWN = {*LIST_FIELDS, "data", "output", "error", "restart_times", *SAVED, *_RELOADS}
MS_DIGITS = 16  # more than a time in milliseconds has


def read_task(task_id: str, fields: Mapping[str, bytes]) -> TaskInfo:
    """The record of a hash; invalid values count as absent."""
    return TaskInfo(
        id=task_id,
        state=State.read(_text(fields, "state")),
        last_update=_float(fields, "last_update"),
        local="local" in fields,
        raw_data=fields.get("data"),
        raw_output=fields.get("output"),
        raw_saved=fields.get("saved"),
        saved_at=_float(fields, "saved_at"),
        more={name: _text(fields, name) for name in fields if name not in _KNOWN},
        function=_text(fields, "function"),
        worker=_text(fields, "worker"),
        run=_text(fields, "run"),
        last_run=_text(fields, "last_run"),
        control=_text(fields, "control"),
        paused=_paused(fields),
        error=_text(fields, "error"),
        epoch=int(_float(fields, "epoch")),
        attempts=int(_float(fields, "attempts")),
        crashes=int(_float(fields, "crashes")),
        progress=read_progress(fields.get("progress"), int(_float(fields, "epoch"))),
        refusal=_read_refusal(fields.get("reload_refused"), int(_float(fields, "epoch"))),
        reloaded_at=_reloaded_at(fields.get("reloaded"), int(_float(fields, "epoch"))),
        on_trial=_is_on_trial(fields),
        rolled_back=_read_rollback(fields.get("rolled_back")),
        raw_rejected=fields.get("data_bad"),
        not_before=_float(fields, "not_before"),
        restarts=int(_float(fields, "restarts")),
        failed_at=_float(fields, "failed_at"),
        restarts_since=_first_time(fields),
        restart=_text(fields, "restart"),
        group=_text(fields, "group"),
        settling="settling" in fields and _float(fields, "settling") == _float(fields, "epoch"),
    )


def _paused(fields: Mapping[str, bytes]) -> float:
    """Since when a task is paused; what an older worker has left of an earlier pause means nothing."""
    if "paused" not in fields or State.read(_text(fields, "state")) in FINISHED:
        return 0.0
    return _float(fields, "paused") or _float(fields, "last_update") or 1.0


def _decoded(raw: bytes | None) -> Any:
    import msgspec  # lists show no data

    return None if raw is None else msgspec.json.decode(raw)


def read_progress(raw: bytes | None, epoch: int) -> Progress | None:
    """The progress of the run of this epoch; None for that of an earlier one, and for an invalid value."""
    kept = _object(raw)
    if kept.get("epoch") != epoch:
        return None
    try:
        found = with_short_note(progress_of(kept["done"], kept.get("total"), kept.get("note")))
    except (ValueError, RecursionError, BadData, TypeError, KeyError, AttributeError):
        return None
    at = kept.get("at")
    return Progress(**found, at=float(at) if isinstance(at, int | float) else 0.0)


def _read_refusal(raw: bytes | None, epoch: int) -> Refusal | None:
    """The refusal of a reload of the run of this epoch; None for another's, and for an invalid value."""
    kept = _object(raw)
    if kept.get("epoch") != epoch:
        return None
    try:
        return Refusal(path=str(kept["path"]), reason=str(kept["reason"]), at=float(kept["at"]))
    except (ValueError, RecursionError, TypeError, KeyError):
        return None


def _reloaded_at(raw: bytes | None, epoch: int) -> float:
    found = _object(raw)
    at = found.get("at")
    return float(at) if found.get("epoch") == epoch and isinstance(at, int | float) else 0.0


def _read_rollback(raw: bytes | None) -> Rollback | None:
    """The last rollback; None for an invalid value."""
    found = _object(raw)
    reason, at, epoch = (found.get(name) for name in ("reason", "at", "epoch"))
    if not isinstance(reason, str) or not isinstance(at, int | float) or not isinstance(epoch, int):
        return None
    return Rollback(reason=reason, at=float(at), epoch=epoch)


def _object(raw: bytes | None) -> Mapping[str, Any]:
    """A JSON object; empty for anything else."""
    if raw is None:
        return {}
    import msgspec  # lists seldom show one

    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_on_trial(fields: Mapping[str, bytes]) -> bool:
    run = fields.get("run")
    return bool(run) and fields.get("trial", b"").partition(b"#")[0] == run


def _first_time(fields: Mapping[str, bytes]) -> float:
    first = fields.get("restart_times", b"").partition(b" ")[0]
    return int(first) / 1000 if first.isdigit() and len(first) < MS_DIGITS else 0.0


def _text(fields: Mapping[str, bytes], name: str) -> str:
    return fields.get(name, b"").decode(errors="replace")


def _float(fields: Mapping[str, bytes], name: str) -> float:
    try:
        value = float(fields.get(name, b"0"))
    except ValueError:
        return 0.0
    return value if 0 <= value < 2**53 else 0.0
