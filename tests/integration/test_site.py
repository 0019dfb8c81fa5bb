"""The build of the site sees links that lead nowhere, and what would be loaded from other hosts."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.support.cli_tools import ROOT

pytest.importorskip("mkdocstrings", reason="the group `docs` is not installed")
pytestmark = pytest.mark.slow
BROKEN = "\n[a](nothing.md) [b](security.md#nowhere) [c](../nothing.py) [d](../dev.py)\n"


def build(folder, text):
    """The site of this repository, with a text at the end of one page."""
    for path in ROOT.iterdir():
        if path.name not in ("docs", "build"):
            (folder / path.name).symlink_to(path)
    shutil.copytree(ROOT / "docs", folder / "docs")
    with (folder / "docs" / "redis.md").open("a") as page:
        page.write(text)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_links_that_lead_nowhere(tmp_path):
    done = build(tmp_path, BROKEN)
    assert done.returncode == 1
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == 3, done.stderr
    for link, warning in zip(("nothing.md", "../nothing.py", "#nowhere"), warnings, strict=True):
        assert link in warning


def test_what_comes_from_another_host(tmp_path):
    done = build(tmp_path, '\n<script src="https://example.com/a.js"></script>\n')
    assert done.returncode == 1
    assert "redis.md loads something from another host" in done.stderr
