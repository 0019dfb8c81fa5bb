"""Quoting of printed commands for a POSIX shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from pytask.domain.escaping import escaped


def quoted(word: str, keep: str = "") -> str:
    r"""A shell word without terminal control characters, except those in `keep`, such as \n.

    A shell drops line breaks at the end of a word that is quoted like this.
    """
    if escaped(word, keep) == word:
        return shlex.quote(word)
    raw = word.encode(errors="surrogateescape")
    octal = "".join(chr(b) if 0x20 <= b < 0x7F and b not in b"%\\'" else f"\\{b:03o}" for b in raw)
    return f"\"$(printf '{octal}')\""


def command(words: Iterable[str]) -> str:
    """Words as one command."""
    return " ".join(map(quoted, words))
