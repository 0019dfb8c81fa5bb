"""The other project with the import name pytask."""

from __future__ import annotations

from pytask.domain.errors import NameClash


def check_name_clash() -> None:
    """Raise :class:`NameClash` if PyPI's `pytask`, another project, is installed beside ours."""
    version = other_project()
    if version is None:
        return
    raise NameClash(
        f"two projects share the import name `pytask` here: ours, PyPI's `pytaskd`, and the workflow tool"
        f" `pytask` {version}. Each overwrites files of the other. Install them in separate environments, or"
        " run: pip uninstall -y pytask pytaskd && pip install pytaskd"
    )


def other_project() -> str | None:
    """The version of the other project, if it is installed here."""
    from importlib import metadata

    try:
        return metadata.version("pytask")
    except metadata.PackageNotFoundError:
        return None
