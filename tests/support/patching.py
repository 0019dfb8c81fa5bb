"""gevent's patch for the many processes of the tests, without reading what is installed for each module."""

from gevent import monkey

from pytask.runtime.process.patched import listeners_read_once


def patch_all():
    with listeners_read_once():
        monkey.patch_all()
