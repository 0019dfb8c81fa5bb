"""Calls of the scripts for limits; nothing is sent here."""

from __future__ import annotations

from collections.abc import Sequence

from pytask.adapters import decoding
from pytask.adapters.redis import scripts
from pytask.adapters.redis.lua import ScriptCall
from pytask.adapters.redis.scope import Scope
from pytask.adapters.redis.scripts import RuleRecord
from pytask.domain.limits import LOOK, LOOKED, Rules


def records(rules: Rules) -> list[RuleRecord]:
    """Rules as scripts take them."""
    return [
        RuleRecord(
            func=function,
            limit=-1 if rule.limit is None else rule.limit,
            group_limit=-1 if rule.group_limit is None else rule.group_limit,
            interval=rule.interval,
            burst=rule.burst,
            path=".".join(rule.path),
        )
        for function, rule in rules.items()
    ]


def serve(scope: Scope, rules: Rules) -> ScriptCall[list[int]]:
    """Look at waiting lists."""
    keys = scope.keys
    return scripts.serve(
        runs=keys.runs,
        queue=keys.queue,
        own=keys.own,
        most_entries=LOOKED,
        every=LOOK,
        rules=records(rules),
    )


def mend(scope: Scope, ids: Sequence[str]) -> ScriptCall[int]:
    """Free the slots of ids without a run."""
    keys = scope.keys
    return scripts.mend(
        runs=keys.runs,
        queue=keys.queue,
        own=keys.own,
        hashes=[decoding.raw_of(keys.task(i)) for i in ids],
        ids=[decoding.raw_of(i) for i in ids],
    )
