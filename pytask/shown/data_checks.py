"""Checks data against what running workers show of its function, before it is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytask.domain.errors import BadData, UnfitData

if TYPE_CHECKING:
    from pytask.client.reader import Reader


def parsed(text: str, where: str) -> Any:
    """A JSON value.  Raises `BadData` for a key that an object has twice: one of its values would be lost."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            for key, _ in pairs:
                if key not in found:
                    break
                del found[key]
            raise BadData(f"{where} has the key {key!r} twice in one object: give it once")
        return found

    return json.loads(text, object_pairs_hook=members)


def check_data(client: Reader, function: str, data: Any) -> None:
    """Raise :class:`UnfitData` if every worker that knows the function would refuse the data.

    Data that one of them may accept passes, as does any data if one shows no schema: it is the worker that
    decides.  So does all of it where we may not read the workers.
    """
    from pytask.domain.data_schemas import unfit
    from pytask.domain.errors import Denied

    try:
        workers = client.workers()
    except Denied:  # the role `producer` may write but not read
        return
    able = [worker for worker in workers if worker.alive and function in worker.functions]
    if not able or any(function not in worker.schemas for worker in able):
        return
    value = {} if data is None else data
    faults = {unfit(worker.schemas[function], value): worker for worker in able}
    if None in faults:
        return
    (fault, worker), *others = faults.items()
    if fault is not None:
        also = " (other workers refuse it for another reason)" if others else ""
        raise UnfitData(
            f"the data does not fit {function!r}: {fault.path} {_sentence(fault.reason)}, says the worker"
            f" {worker.name!r}{also}. Correct it, or send it as it is with --no-check",
            fault.path,
        )


def _sentence(reason: str) -> str:
    return f"is wrong: {reason}" if reason.startswith("expected") else reason
