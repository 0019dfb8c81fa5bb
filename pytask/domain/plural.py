"""Numbers with nouns in the right form."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """`1 task`, `2 tasks`; `many` is an irregular plural."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def verb(number: int, one: str, many: str) -> str:
    """The singular or plural form of a verb."""
    return one if number == 1 else many
