"""Which time zone data Python reads on this machine: there may be two, of different releases."""

from __future__ import annotations

import re
import zoneinfo
from importlib import import_module
from pathlib import Path

import attrs

SAMPLE = "Europe/Berlin"
VERSION = re.compile(r"# version (\S+)")


@attrs.frozen(kw_only=True)
class ZoneData:
    """The data of this machine, the data of the package `tzdata`, and which of the two is read."""

    folder: str = ""  # the machine's; "" if it has none, or Python is told not to look
    machine: str = ""  # its release, such as 2026a; "" if it does not say
    package: str = ""  # the release of the package; "" if it is not installed

    def __str__(self) -> str:
        """What is read: `2025b (/usr/share/zoneinfo)`."""
        if self.folder:
            return f"{self.machine or 'unknown release'} ({self.folder})"
        return f"{self.package} (package tzdata)" if self.package else "none"


def zone_data() -> ZoneData:
    """The time zone data of this process: that of the machine first, as Python looks there first."""
    folder = next((one for one in zoneinfo.TZPATH if (Path(one) / SAMPLE).is_file()), "")
    return ZoneData(folder=folder, machine=_release(Path(folder)) if folder else "", package=_package())


def _release(folder: Path) -> str:
    for name in ("tzdata.zi", "+VERSION"):
        try:
            with (folder / name).open(encoding="utf-8") as file:
                line = file.readline(100).strip()
        except (OSError, UnicodeDecodeError):
            continue
        found = VERSION.match(line)
        return found[1] if found else line
    return ""


def _package() -> str:
    try:
        return str(import_module("tzdata").IANA_VERSION)
    except (ImportError, AttributeError):
        return ""
