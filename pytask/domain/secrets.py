"""Secret fields (`Config.SECRET`): masked in shown data, and removed from texts that quote them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "********"
SHORTEST = 4  # characters; shorter values are not removed from texts, as they occur in ordinary words

Trail = tuple[str, ...]  # the keys that still lead to a secret field


def masked(value: Any, fields: Sequence[str]) -> Any:
    """A copy of decoded JSON with secret values masked.

    A field is a path of keys from the top, such as `api.token`, including all items of lists on its way; a
    single name matches that key at any depth.
    """
    return _masked(value, *_read(fields)) if fields else value


def unmasked(edited: Any, original: Any, fields: Sequence[str]) -> Any:
    """What was edited from `masked(original, fields)`, with the secrets that were left as they were shown.

    In a list an item counts as the one at the same place; a mask without a secret in its place stays.
    """
    return _unmasked(edited, original, *_read(fields)) if fields else edited


def values_in(value: Any, fields: Sequence[str]) -> tuple[str, ...]:
    """The secret values in decoded JSON as they may occur in texts, longest first."""
    found: set[str] = set()
    for leaf in _secrets(value, *_read(fields)):
        text = leaf if isinstance(leaf, str) else json.dumps(leaf)
        # Of a key in several lines each alone: output and tracebacks are handled line by line.
        for part in {text, *map(str.strip, text.splitlines())}:
            if len(part) >= SHORTEST:
                found |= {part, *_forms(part)}
    return tuple(sorted(found, key=len, reverse=True))


def _forms(text: str) -> Iterator[str]:
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]
    whole = text.encode(errors="surrogatepass")  # an address has it so
    yield quote(whole)
    yield quote(whole, safe="")
    yield quote_plus(whole)


def hide(text: str, values: Iterable[str]) -> str:
    """The text without these values."""
    for value in values:
        text = text.replace(value, MASK)
    return text


def _read(fields: Sequence[str]) -> tuple[frozenset[str], tuple[Trail, ...]]:
    paths = [tuple(field.split(".")) for field in fields]
    return frozenset(path[0] for path in paths if len(path) == 1), tuple(p for p in paths if len(p) > 1)


def _follow(key: str, trails: Iterable[Trail]) -> tuple[Trail, ...]:
    return tuple(trail[1:] for trail in trails if trail[0] == key)


def _masked(value: Any, names: frozenset[str], trails: tuple[Trail, ...]) -> Any:
    if isinstance(value, list):
        return [_masked(one, names, trails) for one in value]
    if not isinstance(value, dict):
        return value
    shown = {}
    for key, one in value.items():
        left = _follow(key, trails)
        secret = key in names or () in left
        shown[key] = MASK if secret and one is not None else _masked(one, names, left)
    return shown


def _unmasked(edited: Any, original: Any, names: frozenset[str], trails: tuple[Trail, ...]) -> Any:
    if isinstance(edited, list) and isinstance(original, list):
        rest = [*original, *[None] * len(edited)]
        return [_unmasked(one, before, names, trails) for one, before in zip(edited, rest, strict=False)]
    if not isinstance(edited, dict) or not isinstance(original, dict):
        return edited
    found = {}
    for key, one in edited.items():
        left = _follow(key, trails)
        if one == MASK and key in original and (key in names or () in left):
            found[key] = original[key]
        else:
            found[key] = _unmasked(one, original.get(key), names, left)
    return found


def _secrets(value: Any, names: frozenset[str], trails: tuple[Trail, ...]) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _secrets(one, names, trails)
    elif isinstance(value, dict):
        for key, one in value.items():
            left = _follow(key, trails)
            yield from _leaves(one) if key in names or () in left else _secrets(one, names, left)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _leaves(one)
    elif value is not None and not isinstance(value, bool):
        yield value
