"""The slots of groups and functions, and the lists of those who wait for one: see slots.lua."""

from __future__ import annotations

from pytask.domain.limits import Rule, Rules, read_limit


class Slots:
    """The keys of limits, as plain Python objects.  An entry is `group:<name>` or `function:<name>`."""

    def __init__(self) -> None:
        self.limits: dict[str, str] = {}  # entry -> limit, as clients write it
        self.taken: dict[str, set[str]] = {}  # entry -> ids whose runs hold a slot
        self.slotted: dict[
            str, tuple[str, str]
        ] = {}  # id -> the group and the function in which it holds one
        self.lines: dict[str, dict[str, int]] = {}  # entry -> the ids that wait, by arrival
        self.groups: dict[str, float] = {}  # entries for which ids wait, by the time of the last look
        self.runners: dict[str, str] = {}  # group -> the id in the queue that others follow
        self.woken: dict[str, int] = {}  # ids that left a waiting list for the queue, by their arrival there
        self.limited: set[str] = set()  # functions whose slots are kept
        self.rates: dict[str, int] = {}  # function -> when its next start would be due, in microseconds
        self.rated: dict[str, dict[str, int]] = {}  # function -> ids that wait for their start, by that time

    def count(self, entry: str) -> int:
        """How many slots are taken."""
        return len(self.taken.get(entry, ()))

    def take(self, task_id: str, group: str, function: str) -> None:
        """Add a run; "" for a group or a function in which it holds no slot.

        What it holds already stays: its hash may have been created again since.
        """
        held = self.slotted.get(task_id, ("", ""))
        group, function = held[0] or group, function or held[1]
        if group:
            self.taken.setdefault(f"group:{group}", set()).add(task_id)
        if function:
            self.taken.setdefault(f"function:{function}", set()).add(task_id)
        if group or function:
            self.slotted[task_id] = (group, function)

    def free(self, task_id: str) -> list[str]:
        """Remove a run; the entries of its slots."""
        group, function = self.slotted.pop(task_id, ("", ""))
        entries = [f"group:{group}"] if group else []
        entries += [f"function:{function}"] if function else []
        for entry in entries:
            self.drop(entry, task_id)
        return entries

    def drop(self, entry: str, task_id: str) -> None:
        """Free one slot."""
        ids = self.taken.get(entry, set())
        ids.discard(task_id)
        if not ids:
            self.taken.pop(entry, None)

    def line_up(self, entry: str, task_id: str, arrival: int) -> None:
        """Add an id to a waiting list."""
        self.lines.setdefault(entry, {})[task_id] = arrival
        self.groups.setdefault(entry, 0.0)

    def first(self, entry: str) -> tuple[str, int] | None:
        """Take the first id out of a waiting list."""
        line = self.lines.get(entry)
        if not line:
            return None
        task_id = min(line, key=lambda one: (line[one], one.encode(errors="surrogateescape")))
        arrival = line.pop(task_id)
        return task_id, arrival

    def group_limit(self, group: str, rule: Rule | None) -> int | None:
        """The limit of a group in force."""
        for name in (f"group:{group}", "group:*"):
            live = read_limit(self.limits.get(name))
            if live is not None:
                return live
        return None if rule is None else rule.group_limit

    def function_limit(self, function: str, rule: Rule | None) -> int | None:
        """The limit of a function in force."""
        live = read_limit(self.limits.get(f"function:{function}"))
        return live if live is not None or rule is None else rule.limit

    def obstacle(self, task_id: str, group: str, function: str, rules: Rules) -> tuple[str, str, int] | None:
        """What keeps a task from its slots: the kind, the name and the limit."""
        rule = rules.get(function)
        most = self.group_limit(group, rule) if group else None
        turn = task_id in self.woken or bool(group and self.runners.get(group) == task_id)
        if most is not None and self._full(f"group:{group}", most, task_id, turn):
            return "group", group, most
        most = self.function_limit(function, rule) if function else None
        if most is not None:
            # Until they are known, all are taken.
            known = function in self.limited
            if not known or self._full(f"function:{function}", most, task_id, turn):
                return "function", function, most
        return None

    def _full(self, entry: str, most: int, task_id: str, turn: bool) -> bool:
        """Whether all are taken; a free one is that of the id that was woken for it."""
        full = self.count(entry) >= most and task_id not in self.taken.get(entry, ())
        return full or (not turn and bool(self.lines.get(entry)))
