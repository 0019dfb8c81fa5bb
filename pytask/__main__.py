"""`pytask`, also as `python -m pytask`."""

from __future__ import annotations

import atexit
import gc
import sys

from pytask.daemon.interrupt import guard_imports


def main() -> None:
    """Run the command."""
    guard_imports()  # before any other import
    from pytask.runtime.process.init import leave_init

    if sys.argv[1:2] in (["run"], ["demo"], ["dev"]):
        leave_init()  # before gevent is there, and while this process is small
    # While modules are imported there is no garbage; looking for it takes a tenth of the time.
    # (A worker sets a threshold of its own when it starts, see `calm_collector`.)
    gc.set_threshold(100_000, *gc.get_threshold()[1:])
    from pytask.cli.main import main as command

    atexit.register(gc.freeze)  # Python would look through all modules twice at its end
    command()


if __name__ == "__main__":
    main()
