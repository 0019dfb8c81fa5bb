"""A WSGI application for `/metrics`, to be mounted beside others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pytask.domain.errors import MissingExtra, PytaskError, StoreError
from pytask.logger import get_logger

log = get_logger(__name__)

Page = Callable[[str], tuple[bytes, str]]
PLAIN = "text/plain; charset=utf-8"


def app(page: Page) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """Answers each GET with a page.

    Args:
        page: Returns a page and its content type, for a header `Accept`: `pytask.Client(...).metrics`.

    Returns:
        The application.  Its status is 503 while Redis does not answer, so that the scrape counts as failed.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, kind, body = _reply(page, environ)
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else body]

    return answer


def _reply(page: Page, environ: dict[str, Any]) -> tuple[str, str, bytes]:
    if environ.get("REQUEST_METHOD", "GET") not in ("GET", "HEAD"):
        return "405 Method Not Allowed", PLAIN, b"only GET\n"
    try:
        body, kind = page(environ.get("HTTP_ACCEPT", ""))
    except StoreError as error:
        return "503 Service Unavailable", PLAIN, f"{error}\n".encode(errors="replace")
    except MissingExtra as error:
        return "501 Not Implemented", PLAIN, f"{error}\n".encode()
    except PytaskError as error:
        log.error("the page of metrics could not be made: %s", error)
        return "500 Internal Server Error", PLAIN, b"see the log\n"
    return "200 OK", kind, body
