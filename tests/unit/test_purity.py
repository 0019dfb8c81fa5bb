"""The domain needs neither Redis nor gevent, and its tests need no waiting."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOREIGN = ("gevent", "msgspec", "redis", "valkey", "fakeredis")
SCRIPT = """
import pkgutil, sys
from importlib import import_module

import {package}

for module in pkgutil.walk_packages(getattr({package}, "__path__", []), "{package}."):
    import_module(module.name)
print(sorted({{name.partition(".")[0] for name in sys.modules}} & set({foreign!r})))
"""


@pytest.mark.parametrize("package", ["pytask.domain", "pytask.adapters.memory.backend"])
def test_it_loads_neither_redis_nor_gevent(package):
    script = SCRIPT.format(package=package, foreign=FOREIGN)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def names_of(path):
    """The modules that a file imports, and what it calls `sleep`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Attribute) and node.attr == "sleep":
            yield "sleep"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests/unit/domain").glob("*.py")), ids=lambda path: path.stem
)
def test_tests_of_the_domain_wait_for_nothing(path):
    names = set(names_of(path))
    assert not {name for name in names if name.endswith("sleep")}
    assert not {name.partition(".")[0] for name in names} & set(FOREIGN)
