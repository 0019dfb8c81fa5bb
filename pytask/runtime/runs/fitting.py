"""Validates a task's data against its class, before a run starts and before a reload stops one."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pytask import codec
from pytask.domain.delays import fault_of
from pytask.domain.errors import BadData, BadSaved, FatalFailure, TaskFailed
from pytask.domain.record import LONGEST_SAVED, Claim, StartFields
from pytask.domain.secrets import hide
from pytask.domain.task import Task
from pytask.domain.task_class import has_check
from pytask.domain.task_config import data_class, ignores_unknown, secret_fields
from pytask.runtime.runs.refusals import without_data
from pytask.runtime.tree import hiding

NO_FUNCTION = "the hash has no function: HMSET <task_id> function <name> data <json>"

# Cached, as each run needs them: to look for an option that a class does not have is slow.
_secret_fields: Callable[[object], tuple[str, ...]] = lru_cache(maxsize=1024)(secret_fields)
_has_check: Callable[[object], bool] = lru_cache(maxsize=1024)(has_check)
_data_class: Callable[[object], Any] = lru_cache(maxsize=1024)(data_class)
_ignores_unknown: Callable[[object], bool] = lru_cache(maxsize=1024)(ignores_unknown)

Fault = tuple[str, str]  # the path of the invalid value, and the reason


def fitted(claim: Claim, cls: type[Task] | None, limit: int) -> Any:
    """The data for a run of this claim.

    Raises `BadData`, also for a field that makes no sense, or `FatalFailure` if the function is missing.
    """
    if claim.oversize:
        over = f"data has {claim.oversize} bytes, over the limit max_data={limit}"
        raise FatalFailure(over if claim.oversize > limit else without_data(claim.oversize))
    if cls is None:
        raise FatalFailure(NO_FUNCTION)
    quote = not _secret_fields(cls)
    if claim.fields is not None:
        check_fields(claim.fields, quote=quote)
    data = codec.decode_data(claim.data, _data_class(cls), unknown=_ignores_unknown(cls), quote=quote)
    if _has_check(cls):
        _checked(cls, data)
    return data


def _checked(cls: type[Task], data: Any) -> None:
    name = f"{cls.__qualname__}.check()"
    try:
        said: object = cls.check(data)
    except BadData as error:
        raise BadData(f"data does not pass {name}: {_text(error)}", error.path) from error
    except ValueError as error:
        raise BadData(f"data does not pass {name}: {_text(error)}") from error
    if said is False:
        raise BadData(
            f"data does not pass {name}: it returned False; raise ValueError with the reason instead"
        )


def _text(error: Exception) -> str:
    return str(error.args[0]) if error.args else "without a reason"


def check_fields(fields: StartFields, *, quote: bool) -> None:
    """Raise `BadData` if a run cannot begin with these fields."""
    unfit = fault_of(fields)
    if unfit is not None:
        raise BadData(unfit)
    check_saved(fields, quote=quote)


def check_saved(fields: StartFields, *, quote: bool) -> None:
    """Raise `BadSaved` if a run cannot begin with what was saved, which is never dropped in silence."""
    if 0 < fields.unread <= LONGEST_SAVED:
        raise FatalFailure(without_data(fields.unread, "saved"))
    if fields.unread:
        over = f"the field saved has {fields.unread:,} bytes, over the limit of {LONGEST_SAVED:,}"
        raise BadSaved(f"{over}. {codec.SAVED_FIX}")
    if fields.saved:
        codec.decode_saved(fields.saved, quote=quote)


def secrets_of(claim: Claim, cls: type[Task] | None) -> tuple[str, ...]:
    """The secret values in the data of a claim."""
    fields = () if cls is None else _secret_fields(cls)
    return codec.secrets_in(claim.data, fields) if fields else ()


def judged(claim: Claim, cls: type[Task] | None, limit: int) -> tuple[Any, Fault | None]:
    """The decoded data, and where and why it does not fit; None if it fits.

    Runs the user's converters, validators and `check()`.
    """
    hidden = secrets_of(claim, cls)
    try:
        with hiding(hidden):
            return fitted(claim, cls, limit), None
    except BadData as error:
        return None, (error.path, hide(str(error), hidden))
    except TaskFailed as error:
        return None, ("$", str(error))
    except BaseException as error:  # noqa: BLE001 - a validator may raise anything; the run must go on
        return None, ("$", f"{type(error).__name__} during validation")
