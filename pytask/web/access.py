"""Who may do what on the page: users with their rights, from a password file or from a proxy."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import stat
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import attrs

from pytask.domain.errors import BadPasswordFile, ConfigError


class Right(StrEnum):
    """What a user may do; each includes nothing else."""

    VIEW = "view"  # see tasks, workers, schedules, limits
    ACT = "act"  # stop, start, reload, pause, requeue, delete
    PAYLOADS = "payloads"  # see data, outputs, saved values, events and logs


ALL = frozenset(Right)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,47}", re.ASCII)
"""The names of users: one word in the history of a task, which keeps 64 bytes of it."""

COST, BLOCK, PARALLEL = 1 << 15, 8, 1  # of scrypt: 32 MiB and some 70 ms a try
SALT_BYTES, KEY_BYTES = 16, 32
MOST_COST = 1 << 18
SHORTEST = 8  # characters of a password
LONGEST = 1024


@attrs.frozen
class User:
    """Someone who looks at the page; without a name where nobody logs in."""

    name: str = ""
    rights: frozenset[Right] = ALL

    def may(self, right: Right) -> bool:
        """Whether the user has this right."""
        return right in self.rights


@attrs.frozen
class Entry:
    """A line of a password file."""

    user: User
    secret: str

    @property
    def mark(self) -> str:
        """Changes with the password and the rights: a login with another mark is over."""
        return hashlib.sha256(f"{self.secret} {sorted(self.user.rights)}".encode()).hexdigest()


@attrs.frozen
class Proxy:
    """Users that a proxy has authenticated and names in a header.

    Args:
        header: The name of the header.  The proxy must remove it from what browsers send.
        rights: What these users may do.
        peers: Addresses or networks of the proxy; the header is believed from these only.
    """

    header: str
    rights: frozenset[Right] = ALL
    peers: tuple[str, ...] = ("127.0.0.1", "::1")

    def __attrs_post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", self.header, re.ASCII):
            raise ConfigError(f"{self.header!r} is no name of a header, such as X-Forwarded-User")
        for peer in self.peers:
            try:
                ipaddress.ip_network(peer, strict=False)
            except ValueError:
                raise ConfigError(
                    f"{peer!r} is neither an address nor a network, such as 10.0.0.7 or 10.0.0.0/24"
                ) from None

    def user(self, peer: str, name: str | None) -> User | None:
        """Who asks; None if the proxy does not say so, or if it is not the proxy that asks."""
        if name is None or not NAME.fullmatch(name) or not self._is_proxy(peer):
            return None
        return User(name, self.rights)

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in ipaddress.ip_network(one, strict=False) for one in self.peers)


class Passwords:
    """The users of a password file, which is read again when it changes.

    Args:
        path: The file.  Each line is `name:rights:secret`, made by `pytask web --add-user`.

    Raises:
        BadPasswordFile: It cannot be read, others may write to it, or a line makes no sense.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._seen: tuple[int, int, int] | None = None
        self._entries: dict[str, Entry] = {}
        self._nobody = hashed(secrets.token_hex(16))
        if not self._current():
            raise BadPasswordFile(
                f"{self.path} has no users: add one with `pytask web --auth {self.path} --add-user NAME`"
            )

    def entry(self, name: str) -> Entry | None:
        """The line of a user as it is now.  Raises `BadPasswordFile`."""
        return self._current().get(name)

    def check(self, name: str, password: str) -> Entry | None:
        """The line of a user whose password this is; an unknown name takes as long as a wrong password."""
        entry = self._current().get(name)
        fits = verified(password, self._nobody if entry is None else entry.secret)
        return entry if fits else None

    def _current(self) -> dict[str, Entry]:
        try:
            found = self.path.stat()
            mark = (found.st_mtime_ns, found.st_size, found.st_ino)
            if mark != self._seen:
                _check_mode(self.path, found)
                self._entries = {entry.user.name: entry for entry in read_file(self.path)}
                self._seen = mark
        except OSError as error:
            raise BadPasswordFile(f"cannot read {self.path}: {error.strerror}") from None
        return self._entries


Access = Passwords | Proxy


def _check_mode(path: Path, found: os.stat_result) -> None:
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BadPasswordFile(f"others may write to {path}: chmod go-w {path}")


def read_file(path: Path) -> list[Entry]:
    """The lines of a password file.  Raises `BadPasswordFile`, OSError."""
    found = []
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        words, _, secret = rest.partition(":")
        where = f"line {number} of {path}"
        if not NAME.fullmatch(name) or _parts(secret) is None:
            raise BadPasswordFile(f"{where} is not name:rights:secret: make it with --add-user")
        try:
            found.append(Entry(User(name, rights_of(words)), secret))
        except ConfigError as error:
            raise BadPasswordFile(f"{where}: {error.args[0]}") from None
    return found


def rights_of(words: str) -> frozenset[Right]:
    """Rights as they are written: `view,act,payloads`.  Raises `ConfigError`."""
    names = [word.strip() for word in words.split(",") if word.strip()]
    if not names or not set(names) <= set(Right):
        raise ConfigError(f"rights are some of {', '.join(Right)}, with commas between, not {words!r}")
    return frozenset({Right.VIEW, *map(Right, names)})


def with_user(path: Path, name: str, rights: Iterable[Right], password: str) -> None:
    """Add a user to a password file, or change one; the file is replaced as a whole."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"a user's name has up to 48 letters, digits and . _ @ + -, not {name[:60]!r}")
    if not SHORTEST <= len(password) <= LONGEST:
        raise ConfigError(f"a password has {SHORTEST} to {LONGEST} characters")
    wanted = set(rights)
    line = f"{name}:{','.join(right for right in Right if right in wanted)}:{hashed(password)}"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    kept = [one for one in lines if one.partition(":")[0] != name]
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
    with os.fdopen(
        os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8"
    ) as file:
        file.write("\n".join([*kept, line, ""]))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


# -- passwords ----------------------------------------------------------------------------------------------


def hashed(password: str) -> str:
    """A password as the file keeps it: `scrypt:n:r:p:salt:key`."""
    salt = secrets.token_bytes(SALT_BYTES)
    key = _scrypt(password, salt, COST, BLOCK, PARALLEL)
    return f"scrypt:{COST}:{BLOCK}:{PARALLEL}:{_text(salt)}:{_text(key)}"


def verified(password: str, secret: str) -> bool:
    """Whether it is this password."""
    parts = _parts(secret)
    if parts is None or len(password) > LONGEST:
        return False
    cost, block, parallel, salt, key = parts
    return hmac.compare_digest(_scrypt(password, salt, cost, block, parallel), key)


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    raw = password.encode(errors="surrogatepass")
    memory = 2 * 128 * cost * block * parallel + (1 << 20)
    return hashlib.scrypt(raw, salt=salt, n=cost, r=block, p=parallel, maxmem=memory, dklen=KEY_BYTES)


def _parts(secret: str) -> tuple[int, int, int, bytes, bytes] | None:
    kind, *words = secret.split(":")
    if kind != "scrypt" or len(words) != 5 or not all(word.isdecimal() for word in words[:3]):
        return None
    cost, block, parallel = (int(word[:9]) for word in words[:3])
    if not 1 < cost <= MOST_COST or cost & (cost - 1) or not 0 < block <= 16 or not 0 < parallel <= 4:
        return None
    try:
        salt, key = (base64.b64decode(word, validate=True) for word in words[3:])
    except (binascii.Error, ValueError):
        return None
    return (cost, block, parallel, salt, key) if salt and len(key) == KEY_BYTES else None


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
