"""What everybody does who needs an answer of a Redis that is lost: tries again, in one of two loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import gevent

from pytask.domain.errors import StoreError

T = TypeVar("T")


def until_answered(call: Callable[[], T], give_up: Callable[[StoreError], bool], pause: float) -> T | None:
    """What `call()` returns once Redis answers; None where `give_up(error)` is true of a failed attempt.

    The call is repeated as it is, `pause` seconds after each failure, so it must be safe to repeat.
    `give_up` may raise as well; what is no `StoreError` is raised at once.
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
    """The loop of a service: one pass after the other, until `ended()`.

    `failed(error)` tells of a pass that failed, and returns the seconds until the next one.  It may raise,
    which ends the service.
    """
    while not ended():
        try:
            one_pass()
        except Exception as error:  # noqa: BLE001 - `failed` decides
            gevent.sleep(failed(error))
