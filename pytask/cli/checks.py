"""What may be wrong with this machine, the server and the keys: one check a fault, with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from pytask.adapters.keys import Keys
from pytask.adapters.redis import server_checks, support
from pytask.adapters.redis.address import redis_cli, without_login
from pytask.cli.connection import Remote
from pytask.cli.name_clash import check_name_clash
from pytask.domain.errors import PytaskError
from pytask.terminal import command

NOTES = (
    "PT055",
    "PT070",
    "PT071",
    "PT095",
    "PT097",
    "PT139",
    "PT142",
    "PT146",
    "PT150",
    "PT157",
    "PT159",
    "PT160",
    "PT171",
    "PT172",
    "PT175",
    "PT177",
    "PT178",
    "PT184",
)  # nothing that needs an immediate fix
MAX_DATA = 16 * 1024 * 1024


@attrs.frozen(kw_only=True)
class Finding:
    """One problem."""

    code: str
    what: str
    fix: str
    past: bool = False  # it is over; reported for information

    @property
    def serious(self) -> bool:
        """Whether it makes the deployment unhealthy."""
        return self.code not in NOTES and not self.past


def of_this_machine(client: Any, namespace: str) -> Iterator[Finding]:
    """The packages that are installed here."""
    for check in (check_name_clash, lambda: support.check_client(client, namespace)):
        try:
            check()
        except PytaskError as error:
            what, _, fix = str(error).partition("] ")[2].rpartition(": ")
            yield Finding(code=error.code, what=what, fix=fix)


def of_the_server(remote: Remote) -> Iterator[Finding]:
    """Its version and settings."""
    client = remote.client
    try:
        support.check_server(client)
    except PytaskError as error:
        yield Finding(code=error.code, what=str(error).partition("] ")[2], fix="upgrade the server")
    url = remote.setting("redis_url").value
    for risk in server_checks.risks(client, max_data=MAX_DATA):
        words = risk.fix.split()
        # Run it as a user with that right; the user of the address is meant for tasks.
        fix = command([*redis_cli(without_login(url)), *words]) if words[0].isupper() else risk.fix
        yield Finding(code=risk.code, what=risk.what, fix=fix)


def kinds_of(keys: Keys) -> dict[str, str]:
    """The keys of pytask itself in a partition, and the type of each."""
    return {
        keys.queue: "list",
        keys.runs: "hash",
        keys.leases: "zset",
        keys.workers: "zset",
        keys.worker_info: "hash",
        keys.monitors: "zset",
        keys.rejected: "list",
        keys.timers: "zset",
        keys.schedules: "zset",
        keys.parked: "set",
        keys.paused: "set",
        keys.paused_functions: "set",
        keys.limits: "hash",
        keys.slotted: "hash",
        keys.groups: "zset",
        keys.runners: "hash",
        keys.woken: "hash",
        keys.limited: "set",
        keys.rates: "hash",
        **dict.fromkeys(keys.indexes, "zset"),
    }


def of_the_keys(remote: Remote) -> Iterator[Finding]:
    """Whether pytask's own keys have the right types."""
    for at, space in enumerate(remote.spaces):
        wanted = kinds_of(Keys(space))
        for (name, kind), reply in zip(
            wanted.items(), remote.ask_all([("TYPE", name) for name in wanted], at=at), strict=True
        ):
            found = reply.decode() if isinstance(reply, bytes) else str(reply)
            if found not in ("none", kind):
                yield Finding(
                    code="PT054",
                    what=f"{name} is a {found}, but pytask needs a {kind}: another program uses this key",
                    fix=f"{remote.typed('RENAME', name, name + '.other')}    (or give pytask a namespace)",
                )
