"""What is wrong, as `pytask doctor` finds it, with the fix for each."""

from __future__ import annotations

from typing import Any

import falcon

from pytask.web.site import Site

FRESH = 10.0  # seconds; a look at everything costs more than a page


def pages(site: Site) -> dict[str, Any]:
    """The routes."""
    return {"/findings": Findings(site)}


class Findings:
    """The list."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        look = self._site.options.findings
        found = None if look is None else self._site.read(("findings",), look, FRESH)
        self._site.show(req, resp, "findings", {"findings": found})
