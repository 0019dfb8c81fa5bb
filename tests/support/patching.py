"""gevent's patch for the many processes of the tests, which start and end as quickly as `pytask run`."""

import atexit
import gc

from gevent import monkey

from pytask.cli.lazy_redis import without_opentelemetry
from pytask.runtime.process.patched import listeners_read_once


def patch_all():
    gc.set_threshold(100_000, *gc.get_threshold()[1:])  # see pytask/__main__.py
    atexit.register(gc.freeze)
    with listeners_read_once():
        monkey.patch_all()
    with without_opentelemetry():  # installed for the tests of traces: a seventh of such a process' start
        import redis  # noqa: F401 - for its effect
