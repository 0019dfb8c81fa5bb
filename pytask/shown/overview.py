"""What is read of a deployment beside its counts and workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from pytask.adapters import decoding
from pytask.client.operations import Op, ask_all
from pytask.client.partitions import Partitions
from pytask.client.records import Worker

MOST = 1000  # notes of rejected pushes that Redis keeps


@attrs.frozen
class Tally:
    """What workers that are alive publish of a function; counts are those since they started."""

    running: int = 0
    restarts: int = 0  # runs that followed another run of the same task
    round_age: float | None = (
        None  # seconds since the last round of the `run_loop` that turned least recently
    )


def by_function(sessions: Iterable[Worker]) -> dict[str, Tally]:
    """By function; `sessions` as the client lists them, one for each partition of a worker."""
    found: dict[str, Tally] = {}
    for one in sessions:
        if not one.alive:
            continue
        restarted = {name: sum(reasons.values()) for name, reasons in (one.restarted or {}).items()}
        rounds = one.round_age or {}
        for name in {*(one.runs or {}), *restarted, *rounds}:
            before = found.get(name, Tally())
            ages = [age for age in (before.round_age, rounds.get(name)) if age is not None]
            found[name] = Tally(
                running=before.running + (one.runs or {}).get(name, 0),
                restarts=before.restarts + restarted.get(name, 0),
                round_age=max(ages, default=None),
            )
    return found


def takeovers(sessions: Iterable[Worker]) -> int:
    """How many tasks of dead workers were claimed by workers that are alive, since these started."""
    return sum(sum(one.takeovers.counts) for one in sessions if one.alive and one.takeovers is not None)


def oldest_lease(partitions: Partitions) -> Op[float | None]:
    """Seconds since the renewal of the run that was not renewed for longest; None without runs."""
    # From the end, as every role may call it.
    replies = yield from ask_all(
        [
            (at, words)
            for at, keys in enumerate(partitions.keys)
            for words in (("TIME",), ("ZREVRANGE", keys.leases, -1, -1, "WITHSCORES"))
        ]
    )
    ages = []
    for (seconds, micros), found in zip(replies[::2], replies[1::2], strict=True):
        scores = [float(score) for _, score in _pairs(found)]
        ages += [max(0.0, int(seconds) + int(micros) / 1e6 - score / 1e6) for score in scores]
    return max(ages, default=None)


def _pairs(found: Sequence[object]) -> Sequence[tuple[object, bytes]]:
    return found if found and isinstance(found[0], tuple | list) else [*decoding.pairs(found)]  # type: ignore[return-value]


@attrs.frozen
class Rejected:
    """A pushed id that could not be a task."""

    id: str
    reason: str
    at: float | None = None  # seconds since 1970


def read_rejected(raw: bytes) -> Rejected:
    """A note; `?` for what it does not say."""
    found = decoding.json_object(raw)
    try:
        name = bytes.fromhex(found["id_hex"]).decode(errors="replace")
    except (ValueError, TypeError, KeyError):
        name = "?"
    at = found.get("at")
    return Rejected(name, str(found.get("reason", "?")), at if isinstance(at, int | float) else None)


def rejected(partitions: Partitions) -> Op[list[Rejected]]:
    """The last notes of rejected pushes, the newest first."""
    replies = yield from ask_all(
        [(at, ("LRANGE", keys.rejected, 0, MOST - 1)) for at, keys in enumerate(partitions.keys)]
    )
    return [read_rejected(raw) for lines in replies for raw in lines]
