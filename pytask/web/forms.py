"""The fields of a form."""

from __future__ import annotations

from urllib.parse import parse_qs

import falcon

LARGEST = 20 * 1024 * 1024  # bytes: the data of a task, which is written with %
MOST_FIELDS = 12_000  # the ids of a page


class Form:
    """What a form has sent."""

    def __init__(self, req: falcon.Request) -> None:
        if (req.content_length or 0) > LARGEST:
            raise falcon.HTTPContentTooLarge(description=f"a form has at most {LARGEST:,} bytes")
        raw = req.bounded_stream.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise falcon.HTTPContentTooLarge(description=f"a form has at most {LARGEST:,} bytes")
        try:
            self._fields = parse_qs(
                raw.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"
            )
        except ValueError:
            raise falcon.HTTPBadRequest(description="this is no form of the page") from None

    def text(self, name: str) -> str:
        """The value of a field; "" if there is none.  Line breaks are as Python has them."""
        return self._fields.get(name, [""])[0].replace("\r\n", "\n")

    def texts(self, name: str) -> list[str]:
        """All values of a field."""
        return self._fields.get(name, [])

    def needed(self, name: str) -> str:
        """The value of a field that the page always sends."""
        found = self.text(name)
        if not found:
            raise falcon.HTTPBadRequest(description=f"the form has no {name!r}")
        return found
