"""Some files run in processes beside this one."""

import signal
import time

import pytest

from tests.support import beside


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in the background of a shell, which children inherit: none of them would know Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # started by nohup: the same of the restarts by SIGHUP
    config.pluginmanager.register(beside.plugin(), "beside")


@pytest.fixture
def tokyo():
    """This process is nine hours from UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()
