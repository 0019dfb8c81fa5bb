"""The snapshot of a deployment for commands: with the clock of Redis compared to that of this machine."""

from __future__ import annotations

import time

import attrs

from pytask.cli.connection import Remote
from pytask.shown import fleet
from pytask.shown.fleet import Fleet


def read_fleet(remote: Remote) -> Fleet:
    """Read the snapshot."""
    found = remote.driver.run(fleet.read_fleet(remote.partitions))
    began = time.time()
    seconds, micros = remote.ask("TIME")
    middle = (began + time.time()) / 2
    return attrs.evolve(found, clock=int(seconds) + int(micros) / 1e6 - middle)
