"""Errors as the command line tells them: a call that one advises is the verb that stands for it."""

from __future__ import annotations

import shlex

from pytask.domain.advice import Advice, Call
from pytask.domain.errors import PytaskError

VERBS = {"start_again": "start", "remove": "rm"}


def told(error: PytaskError) -> str:
    """The whole error: code, text, and its notes as further lines."""
    text = str(error)
    advice = next((part for part in error.args if isinstance(part, Advice)), None)
    if advice is not None:
        text = text.replace(advice, in_words(advice), 1)
    return "\n".join([text, *getattr(error, "__notes__", ())])


def in_words(text: str) -> str:
    """A text with its calls as verbs of the command line."""
    if not isinstance(text, Advice):
        return text
    return "".join(f"`{_verb(part)}`" if isinstance(part, Call) else part for part in text.parts)


def _verb(call: Call) -> str:
    words = ["pytask", VERBS.get(call.verb, call.verb), call.id]
    return shlex.join(words + (["--wait", f"{call.wait:g}"] if call.wait else []))
