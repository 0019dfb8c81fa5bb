"""Escaping of untrusted text: ids, names and errors may contain terminal control sequences."""

from __future__ import annotations

import re

# Control characters, line breaks, bidirectional and invisible marks, surrogates.  The joiners U+200C and
# U+200D are kept: the spelling of some languages needs them.
STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def escaped(text: str, keep: str = "") -> str:
    r"""`text` with control characters escaped like \x1b; `keep`: characters not to escape, such as \n."""
    return STEERING.sub(lambda found: found[0] if found[0] in keep else _code(ord(found[0])), text)


def in_json(text: str) -> str:
    """JSON with the same characters escaped as JSON does."""
    return STEERING.sub(lambda found: _of_json(ord(found[0])), text)


def _code(number: int) -> str:
    return (
        f"\\x{number:02x}"
        if number < 0x100
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )


def _of_json(number: int) -> str:
    if number < 0x10000:
        return f"\\u{number:04x}"
    high, low = divmod(number - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
