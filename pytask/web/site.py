"""What all pages share: the client, what was read lately, the templates, and who may do what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import attrs
import falcon
import jinja2
from markupsafe import Markup, escape

from pytask.client import (  # the lazy ones now, or the first viewers would wait for their import
    Client,
    limits,  # noqa: F401
    listing,
    logs,  # noqa: F401
    samples,  # noqa: F401
    timetable,  # noqa: F401
)
from pytask.client.operations import Op
from pytask.client.partitions import Partitions
from pytask.client.queries import functions_in, standing
from pytask.client.records import Count, FunctionInfo, Page, Worker
from pytask.client.task_records import TaskInfo
from pytask.domain.version import __version__
from pytask.shown.operations import run
from pytask.web import text
from pytask.web.access import Access, Passwords, Right, User
from pytask.web.cache import Cache
from pytask.web.kept import Kept
from pytask.web.live import Hub
from pytask.web.sessions import Sessions, Throttle

T = TypeVar("T")
Findings = Callable[[], Sequence[Any]]
"""Reads what is wrong: records with `code`, `serious`, `what` and `fix`."""
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

FOLDER = Path(__file__).parent
FRESH = 1.0  # seconds for which what was read is shown to others, too
NOTES = 1000  # results of actions, and selections, that wait for the next request


@attrs.frozen(kw_only=True)
class SiteOptions:
    """The options of `pytask.web.app`."""

    access: Access | None = None
    read_only: bool = False
    hosts: tuple[str, ...] = ()
    findings: Findings | None = None
    metrics: Wsgi | None = None


@attrs.frozen
class Note:
    """The result of an action, shown once."""

    text: str
    good: bool = True
    lines: tuple[str, ...] = ()


@attrs.frozen
class Chosen:
    """Tasks that an action is to be confirmed for."""

    verb: str
    ids: tuple[str, ...]
    back: str  # the address of the list, from the root of the page


class Site:
    """The shared state of one application."""

    def __init__(self, client: Client, options: SiteOptions) -> None:
        self.client = client
        self.options = options
        self.cache = Cache()
        self._steady = Cache()
        self.hub = Hub(client, self.cache.clear)
        self.notes: Kept[Note] = Kept(NOTES)
        self.chosen: Kept[Chosen] = Kept(100)
        self.throttle = Throttle()
        access = options.access
        self.sessions = Sessions(access) if isinstance(access, Passwords) else None
        self._templates = _templates()
        self._parts = frozenset(self._templates.list_templates(filter_func=lambda name: "/" in name))

    def run(self, operation: Callable[[Partitions], Op[T]]) -> T:
        """The result of an operation of the client's partitions."""
        return run(self.client, operation)

    def read(self, key: tuple[Any, ...], operation: Callable[[], T], seconds: float = FRESH) -> T:
        """The same, shared with all who look at the same moment, until something changes."""
        return self.cache.get(key, seconds, operation)

    def read_steady(self, key: tuple[Any, ...], operation: Callable[[], T], seconds: float) -> T:
        """The same of what does not follow from the tasks: kept for its time while tasks change."""
        return self._steady.get(key, seconds, operation)

    def count(self) -> Count:
        """The number of tasks in each state, read once for all who look."""
        return self.read(("count",), lambda: self.hub.counted(time.monotonic()) or self.client.count())

    def workers(self) -> list[Worker]:
        """The workers, one entry per session, read once for all who look."""
        return self.read(("workers",), self.client.workers)

    def functions(self) -> list[FunctionInfo]:
        """The functions that are known, or wanted: they follow from the workers and the counts."""
        return self.read(("functions",), lambda: functions_in(self.workers(), self.count()))

    def page(self, **wanted: Any) -> Page:
        """A page of the list as `client.list` gives it; the ends of the queue are read once for all pages."""
        return self.run(lambda partitions: listing.page(partitions, **wanted, queued=self._queued))

    def _queued(self, partition: int, most: int) -> set[str]:
        def read() -> set[str]:
            return self.run(lambda partitions: standing(partitions, partition, most))[0]

        return self.read(("queued", partition, most), read)

    def task(self, task_id: str) -> TaskInfo:
        """A task; what the last look for viewers has read, if that was a moment ago.  Raises `NoSuchTask`."""
        return self.read(
            ("task", task_id),
            lambda: self.hub.seen(task_id, time.monotonic()) or self.client.get(task_id),
            0.5,
        )

    def acting(self, user: User) -> Client:
        """A client whose actions have the name of the user in the history of tasks."""
        return self.client.named(f"{user.name}@web") if user.name else self.client

    def may(self, user: User, right: Right) -> bool:
        """Whether this user may do this here."""
        return user.may(right) and not (right is Right.ACT and self.options.read_only)

    # -- pages ----------------------------------------------------------------------------------------

    def show(self, req: falcon.Request, resp: falcon.Response, name: str, values: Mapping[str, Any]) -> None:
        """Write a page, or the part of it that `?part=` asks for."""
        part = req.get_param("part")
        resp.content_type = falcon.MEDIA_HTML
        if part is None:
            resp.text = self._rendered(req, f"{name}.html", values)
            return
        file = f"parts/{part}.html"
        if file not in self._parts:
            raise falcon.HTTPNotFound(description="there is no such part of the page")
        # Many viewers ask for it at the same moment: it is drawn once for all who may see the same.
        key = ("part", file, req.root_path, _here(req), req.context.user.rights)
        resp.text = self.read(key, lambda: self._rendered(req, file, values))

    def _rendered(self, req: falcon.Request, file: str, values: Mapping[str, Any]) -> str:
        return self._templates.get_template(file).render(**self._around(req), **values)

    def _around(self, req: falcon.Request) -> dict[str, Any]:
        user: User = getattr(req.context, "user", None) or User("", frozenset())
        here = _here(req)
        root = req.root_path

        def live(name: str, *topics: str) -> Markup:
            """The attributes of a part that is read again when a topic changes."""
            triggers = ", ".join(f"sse:{topic}" for topic in topics)
            address = f"{root}{here}{'&' if '?' in here else '?'}part={name}"
            return Markup(
                'id="part-{}" data-topics="{}" hx-get="{}" hx-trigger="{}, again" hx-swap="morph:outerHTML"'
            ).format(name, " ".join(topics), address, triggers)

        def to(path: str, **params: Any) -> Markup:
            """The address of a page, with those parameters that have a value."""
            given = {key: value for key, value in params.items() if value not in (None, "", (), [])}
            return escape(f"{root}{path}" + (_query(given) if given else ""))

        return {
            "to": to,
            "live": live,
            "here": here,
            "user": user,
            "login": self.sessions is not None and bool(user.name),
            "may_act": self.may(user, Right.ACT),
            "may_see": self.may(user, Right.PAYLOADS),
            "read_only": self.options.read_only,
            "note": self.notes.take(req.get_param("note")) if req.method == "GET" else None,
            "version": __version__,
            "path": req.path,
        }

    def back(self, req: falcon.Request, path: str, note: Note) -> falcon.HTTPStatus:
        """After an action: the page again, with its result."""
        self.hub.forget()
        self.cache.clear()
        mark = "&" if "?" in path else "?"
        address = f"{req.root_path}{path}{mark}note={self.notes.put(note)}"
        return falcon.HTTPStatus(falcon.HTTP_303, headers={"Location": address})


def _here(req: falcon.Request) -> str:
    """The path and the query of this page, without what is for one request."""
    kept = [(name, value) for name, value in req.params.items() if name not in ("part", "note")]
    return req.path + (_query(dict(kept)) if kept else "")


def _query(given: Mapping[str, Any]) -> str:
    # A name in Redis may have any bytes.
    return f"?{urlencode(given, doseq=True, quote_via=quote, errors='surrogateescape')}"


@cache
def _templates() -> jinja2.Environment:
    """The templates, all compiled: the first viewers would wait for that together."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        finalize=text.shown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
    )
    made.filters |= {"block": text.block, "exact": text.exact}
    for name in made.list_templates():
        made.get_template(name)
    return made


def local_path(address: str | None) -> str:
    """A path of this page that a form gave, `/` for any other address."""
    found = address or "/"
    plain = found.startswith("/") and not found.startswith(("//", "/\\")) and found.isprintable()
    return found if plain and "\\" not in found else "/"
