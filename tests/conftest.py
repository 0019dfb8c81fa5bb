"""Tests of commands that run in the background come last, and their commands are started first."""

import pytest

from tests import background


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("background") is not None)  # else in their order


def pytest_collection_finish(session):
    if session.config.option.collectonly:
        return
    marks = [item.get_closest_marker("background") for item in session.items]
    names = list(dict.fromkeys(mark.args[0] for mark in marks if mark is not None))
    if names and len(names) < len(session.items):
        background.start(names)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish():
    background.end()
