"""States given on the command line."""

from __future__ import annotations

from difflib import get_close_matches

import click

from pytask.domain.lifecycle import State


def state_named(word: str) -> str:
    """A state by its case-insensitive name.  Raises `BadParameter` with the most similar one."""
    if word.upper() in State.__members__:
        return word.upper()
    near = get_close_matches(word.upper(), State.__members__, n=1, cutoff=0.5)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise click.BadParameter(f"unknown state {word!r}{meant}; states: {', '.join(State)}")
