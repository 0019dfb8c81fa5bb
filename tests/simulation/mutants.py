"""Wrong variants of pytask, which the simulation must catch."""

from __future__ import annotations

import contextlib

MUTANTS = {}


def options(name, base):
    """The world's options in which this mutant is looked for."""
    return base


@contextlib.contextmanager
def applied(name):
    """Run with a mutant in place; None is pytask as it is."""
    yield
