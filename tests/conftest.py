"""Some files run in processes beside this one."""

from tests import beside


def pytest_configure(config):
    config.pluginmanager.register(beside.plugin(), "beside")
