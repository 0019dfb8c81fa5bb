"""The last hour, and the last day: the samples that monitors keep, for charts."""

from __future__ import annotations

import json
from typing import Any

import attrs
import falcon

from pytask.domain.samples import RINGS, Sample
from pytask.web.drawing import lines
from pytask.web.site import Site

FRESH = 2.5  # seconds of what was read, and of what was drawn of it; a sample comes every 10
CHARTS = (
    ("Runs and places", ("running", "used", "slots")),
    ("In the queue, and delayed", ("queued", "delayed")),
    ("Failed", ("error",)),
    ("Oldest lease, seconds", ("lease_age",)),
)


def pages(site: Site) -> dict[str, Any]:
    """The routes."""
    return {"/samples": Samples(site)}


def read(site: Site, ring: str) -> tuple[Sample, ...]:
    """The samples of a ring, read once for all viewers."""
    return site.read_steady(("samples", ring), lambda: site.client.samples(ring), FRESH)


def drawn(site: Site, ring: str) -> dict[str, Any]:
    """What the part `charts` shows, drawn once for all viewers."""

    def draw() -> dict[str, Any]:
        found = read(site, ring)
        return {"ring": ring, "sampled": bool(found), "charts": charts(found)}

    return site.read_steady(("charts", ring), draw, FRESH)


def ring_of(req: falcon.Request) -> str:
    """The ring that the address names; the last hour by default."""
    ring = req.get_param("ring")
    return ring if ring in RINGS else "hour"


def charts(found: tuple[Sample, ...]) -> list[dict[str, Any]]:
    """Each chart with its picture, for browsers without script."""
    return [
        {
            "title": title,
            "fields": fields,
            "last": [(name, getattr(found[-1], name)) for name in fields] if found else [],
            "picture": lines([[float(getattr(one, name)) for one in found] for name in fields]),
        }
        for title, fields in CHARTS
    ]


class Samples:
    """The numbers, by field."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """As JSON: a list of the same length for each field."""
        found = read(self._site, ring_of(req))
        columns = {field.name: [getattr(one, field.name) for one in found] for field in attrs.fields(Sample)}
        resp.content_type = falcon.MEDIA_JSON
        resp.text = json.dumps(columns, separators=(",", ":"))
