"""Repeated output until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from pytask.cli.printer import fancy

HOME_AND_CLEAR = "\x1b[H\x1b[2J"


def repeat(show: Callable[[], None], seconds: float) -> None:
    """Call `show()` every `seconds`; on a terminal each output replaces the previous one."""
    while True:
        if fancy():
            click.echo(HOME_AND_CLEAR, nl=False)  # noqa: TID251 - a control sequence
        show()
        time.sleep(seconds)
