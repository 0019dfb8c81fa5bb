"""Messages of a subscription that its connection has already received, without the overhead of the library.

The library takes 15 to 30 us a message, and receives up to 64 kB at once.  The first one is left to it: it
waits, and notices a lost connection.  Those behind it in its buffer are taken here.  What is not a whole
message of the pattern stays for the library; so does all, if its buffer is of another kind (hiredis).
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

END = b"\r\n"


class Buffered:
    """Reads messages of one pattern, as RESP2 sends them."""

    def __init__(self, pattern: str) -> None:
        text = pattern.encode()
        self._head = b"*4\r\n$8\r\npmessage\r\n$%d\r\n%s\r\n$" % (len(text), text)

    def messages(self, connection: Any) -> Iterator[tuple[bytes, bytes]]:
        """Channel and data of each message that is there in full; each is removed as it is returned."""
        buffer: Any = getattr(getattr(connection, "_parser", None), "_buffer", None)
        stored = getattr(buffer, "_buffer", None)
        if not isinstance(stored, BytesIO):
            return
        start = stored.tell()
        data = stored.read()
        stored.seek(start)
        at = 0
        while (found := self._message(data, at)) is not None:
            channel, text, at = found
            stored.seek(start + at)
            yield channel, text
        buffer.purge()  # as the library does after each message: what was read is dropped

    def _message(self, data: bytes, at: int) -> tuple[bytes, bytes, int] | None:
        """Channel, data, and where the next message begins; None if there is no whole one."""
        if not data.startswith(self._head, at):
            return None
        at += len(self._head)
        line = data.find(END, at)
        if line < 0:
            return None
        first = line + 2
        last = first + int(data[at:line])
        line = data.find(END, last + 3)
        if line < 0:
            return None
        text = line + 2
        end = text + int(data[last + 3 : line])
        if len(data) < end + 2:
            return None
        return data[first:last], data[text:end], end + 2
