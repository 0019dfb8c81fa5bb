"""Whether a task's data fits its class: asked before a run begins, and before a reload stops one."""

from __future__ import annotations

from typing import Any

from pytask import codec
from pytask.domain.errors import BadData, TaskFailed
from pytask.domain.record import Claim
from pytask.domain.secrets import hide
from pytask.domain.task import Task, data_class, ignores_unknown, secret_fields
from pytask.runtime.runs.refusals import without_data
from pytask.runtime.tree import hiding

NO_FUNCTION = "the hash has no function: HMSET <task_id> function <name> data <json>"

Fault = tuple[str, str]  # the path to what does not fit, and why


def fitted(claim: Claim, cls: type[Task] | None, limit: int) -> Any:
    """The data that a run of this claim begins with.  Raises `BadData`, or `TaskFailed` where it has none."""
    if claim.oversize:
        over = f"data has {claim.oversize} bytes, over the limit max_data={limit}"
        raise TaskFailed(over if claim.oversize > limit else without_data(claim.oversize))
    if cls is None:
        raise TaskFailed(NO_FUNCTION)
    quote = not secret_fields(cls)
    return codec.decode_data(claim.data, data_class(cls), unknown=ignores_unknown(cls), quote=quote)


def secrets_of(claim: Claim, cls: type[Task] | None) -> tuple[str, ...]:
    """The values in the data of a claim that no text is to show."""
    return () if cls is None else codec.secrets_in(claim.data, secret_fields(cls))


def fault(claim: Claim, cls: type[Task] | None, limit: int) -> Fault | None:
    """Where and why the data does not fit; None if it does.  Runs converters and validators of the user."""
    hidden = secrets_of(claim, cls)
    try:
        with hiding(hidden):
            fitted(claim, cls, limit)
    except BadData as error:
        return error.path, hide(str(error), hidden)
    except TaskFailed as error:
        return "$", str(error)
    except BaseException as error:  # noqa: BLE001 - a validator may raise anything; the run must go on
        return "$", f"{type(error).__name__} while it was fitted"
    return None
