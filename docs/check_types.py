"""Check the types of what users copy: the examples, and the programs of the documents.

`python docs/check_types.py` runs mypy and pyright (in its build `basedpyright`, which brings its own node)
with their default settings.  Exits with 1 where either has something to say.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "tour.md",
    *sorted((ROOT / "docs" / "recipes").glob("*.md")),
    *sorted((ROOT / "docs" / "reference").glob("*.md")),
)
BLOCK = re.compile(r"^```python(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"# ([\w/.-]+\.py)(?:,| |\n)")
# The synopsis is the first one that users were promised, word for word: its attribute replaces a method.
EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.py")) if path.name != "synopsis.py"]
PYRIGHT = {
    "typeCheckingMode": "standard",
    "extraPaths": [str(ROOT)],
    "reportMissingImports": "none",
    "reportMissingModuleSource": "none",
}


def programs(page: Path) -> Iterator[tuple[str, str]]:
    """The name and the text of each program of a page: the named blocks, but those of other projects."""
    for given, text in BLOCK.findall(page.read_text()):
        named = NAME.match(text)
        if given or (named and "before" not in text.partition("\n")[0]):
            yield given or named[1].rpartition("/")[2], text


def main() -> int:
    """Write the programs to a folder, a page each, and run both checkers over them."""
    mypy = [
        sys.executable,
        "-m",
        "mypy",
        "--ignore-missing-imports",
        "--check-untyped-defs",
        "--config-file=",
    ]
    with TemporaryDirectory() as folder:
        homes: dict[Path, dict[str, str]] = {}
        for page in PAGES:
            # The files of the reference have names of their own: one run for all is faster.
            home = page.parent.name if page.parent.name == "reference" else page.stem.replace("-", "_")
            # Not "flask": a folder of that name would hide the package.
            homes.setdefault(Path(folder) / f"of_{home}", {}).update(programs(page))
        homes = {home: texts for home, texts in homes.items() if texts}
        for home, texts in homes.items():
            home.mkdir()
            for name, text in texts.items():
                (home / name).write_text(text)
        # A page at a time: several have a `tasks.py`.
        groups = [
            [*map(str, EXAMPLES)],
            *([str(home / name) for name in texts] for home, texts in homes.items()),
        ]
        codes = [subprocess.call([*mypy, *group], cwd=ROOT) for group in groups]
        settings = Path(folder) / "pyrightconfig.json"
        settings.write_text(json.dumps({**PYRIGHT, "include": [path for group in groups for path in group]}))
        pyright = [sys.executable, "-m", "basedpyright", "-p", str(settings), "--pythonpath", sys.executable]
        codes.append(subprocess.call(pyright, cwd=folder))
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
