"""The retry loops for an unreachable Redis: one for a call, one for a service.

`heartbeat` decides how long a worker keeps its tasks meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import gevent

from pytask.domain.errors import StoreError

T = TypeVar("T")


def until_answered(call: Callable[[], T], give_up: Callable[[StoreError], bool], pause: float) -> T | None:
    """Repeat `call()` until Redis answers, and return the answer; None once `give_up(error)` is true.

    A failed call is repeated after `pause` seconds, so it must be safe to repeat.  `give_up` may also raise.
    Errors other than `StoreError` are raised at once.
    """
    while True:
        try:
            return call()
        except StoreError as error:
            if give_up(error):
                return None
        gevent.sleep(pause)


def pass_by_pass(
    one_pass: Callable[[], object], failed: Callable[[Exception], float], ended: Callable[[], bool]
) -> None:
    """Run a service: one pass after another until `ended()`.

    After a failed pass `failed(error)` reports the error and returns the seconds to wait.  If it raises, the
    service ends.
    """
    while not ended():
        try:
            one_pass()
        except Exception as error:  # noqa: BLE001 - `failed` decides what ends the service
            gevent.sleep(failed(error))
