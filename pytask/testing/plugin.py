"""The plugin for pytest: fixtures, and nothing else unless it is asked for.

It is loaded in every project where pytask is installed, so it imports nothing of pytask before a fixture is
used, and patches nothing, unless the ini option `pytask_patch` is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytask.testing import MemoryApp, World

PATCH = "pytask_patch"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The ini option."""
    parser.addini(
        PATCH, "let gevent patch the process before anything else is imported", "bool", default=False
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Patch before the first conftest.py is imported, if that is asked for."""
    if early_config.getini(PATCH):
        from gevent import monkey

        monkey.patch_all()


@pytest.fixture
def pytask_app() -> Iterator[Callable[..., MemoryApp]]:
    """Call it as `pytask.testing.app`; the worker ends with the test."""
    from pytask.testing import app

    with ExitStack() as stack:

        def start(*what: Any, **settings: Any) -> MemoryApp:
            return stack.enter_context(app(*what, **settings))

        yield start


@pytest.fixture
def pytask_world() -> Iterator[Callable[..., World]]:
    """Call it as `pytask.testing.world`; the world ends with the test."""
    from pytask.testing import world

    with ExitStack() as stack:

        def start(seed: int, *what: Any, **settings: Any) -> World:
            return stack.enter_context(world(seed, *what, **settings))

        yield start
