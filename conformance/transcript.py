"""Plays a transcript: what the client is asked for, what others do, and what must be seen of it."""

import json
import re
import time
from pathlib import Path
from string import Template

import attrs

from conformance import wire
from conformance.program import Failed
from conformance.stage import SPACES
from pytask.domain.partition import namespace_of, partition_of

FOLDER = Path(__file__).with_name("transcripts")
WITHIN = 10.0  # seconds for what is seen after a few milliseconds, on a busy machine
SHOWN = 600  # characters of what went wrong
LONG = "0123456789" * 10_000


@attrs.frozen
class Transcript:
    """A file of transcripts/: a line that says what it shows, then a line for each step."""

    name: str
    shows: str
    space: str
    ids: dict  # name in the steps -> beginning of the id
    steps: list

    @classmethod
    def read(cls, path):
        head, *steps = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        ids = {name: f"{path.stem}.{name}" for name in head.get("ids", ["a"])} | head.get("named", {})
        return cls(path.stem, head["shows"], head.get("space", "plain"), ids, steps)


def all_transcripts(only=()):
    """Those whose names contain one of `only`, in order of their names."""
    found = [Transcript.read(path) for path in sorted(FOLDER.glob("*.jsonl"))]
    return [one for one in found if not only or any(word in one.name for word in only)]


class Player:
    """Plays transcripts of one space with one running client."""

    def __init__(self, stage, program, space, within=WITHIN):
        self._stage = stage
        self._program = program
        self._space = space
        self._within = within
        self._namespace, self._partitions = SPACES[space]

    def play(self, transcript, tag):
        """Raises Failed, with the step that it failed at."""
        ids = {name: f"{start}.{tag}" for name, start in transcript.ids.items()}
        scene = Scene(self._stage, self._program, self._space, ids, self._within)
        ear = wire.EventStream(self._stage.url)
        others = wire.others(self._stage.redis)
        try:
            for number, step in enumerate(transcript.steps, 2):
                try:
                    scene.do(step)
                except Failed as why:
                    shown = json.dumps(step, ensure_ascii=False)
                    raise Failed(f"line {number}, {cut(shown)}:\n{cut(str(why))}") from None
            self._program.ask("unwatch")
            others |= wire.others(self._stage.redis)
            lines = ear.up_to_now(self._stage.redis)
            wire.check([words for who, words in lines if who not in others and words], ids.values(), self._of)
        finally:
            ear.close()
            scene.tidy()
        if self._program.wrong:
            raise Failed(f"not a line of the line protocol, or not an event: {self._program.wrong[0]!r}")

    def _of(self, task_id):
        return namespace_of(self._namespace, partition_of(task_id, self._partitions), self._partitions)


class Scene:
    """The state of one play."""

    def __init__(self, stage, program, space, ids, within):
        self._within = within
        self._stage = stage
        self._redis = stage.redis
        self._program = program
        self._space = space
        self._namespace, self._partitions = SPACES[space]
        self._ids = ids
        self._read = dict.fromkeys(ids.values(), 0)
        self._first = len(program.events)
        self._gaps = program.gaps

    def do(self, step):
        """One step; its first word names the method."""
        step = self._filled(step)
        verb, *rest = step
        getattr(self, f"_do_{verb.replace('-', '_')}")(step[verb], **{word: step[word] for word in rest})

    def tidy(self):
        """Nothing of this play shall run on into the next."""
        for task_id in self._ids.values():
            self._redis.publish(f"{self._of(task_id)}task-{task_id}-control", "stop")
        time.sleep(0.02)

    # -- steps ----------------------------------------------------------------------------------------

    def _do_client(self, words, answer=None, fails=False):
        try:
            given = self._program.ask(*words)
        except Failed:
            if fails:
                return
            raise
        if fails:
            raise Failed(f"the client should refuse this, and answered ok {given}")
        if answer is not None and not (len(given) == len(answer) and all(map(fits, answer, given))):
            raise Failed(f"the client answered {given}, not {answer}")

    def _do_where(self, ids):
        for task_id in ids:
            if (given := self._program.ask("where", task_id)) != [self._of(task_id)]:
                raise Failed(f"the keys of {task_id} begin with {self._of(task_id)!r}, not {given}")

    def _do_event(self, name, of, data=None, maybe=False):
        """The next event of that task; `maybe`: some clients bring it about, others do not."""
        at = self._read[of]
        if not self._program.wait(lambda: len(self._events(of)) > at, self._within):
            raise Failed(f"the client did not tell of an event of {of}; it told {self._names(of)}")
        event = self._events(of)[at]
        if maybe and event["event"] != name:
            return
        self._read[of] += 1
        if event["event"] != name or not fits(data, event["data"]):
            raise Failed(
                f"the event is {json.dumps(event, ensure_ascii=False)}; told so far: {self._names(of)}"
            )

    def _do_quiet(self, of, seconds=0.2):
        """No further event of these tasks."""
        self._program.wait(lambda: False, seconds)
        for task_id in of:
            if found := self._events(task_id)[self._read[task_id] :]:
                raise Failed(f"unexpected event {found[0]} of {task_id}")

    def _do_told_of(self, ids):
        """Events came of no other task of this play, whatever else is on the channels."""
        tags = {task_id.rpartition(".")[2] for task_id in ids}
        reported = {task_id for task_id, _ in self._program.events[self._first :]}
        if strange := {
            task_id for task_id in reported if task_id.rpartition(".")[2] in tags or not task_id
        } - set(ids):
            raise Failed(f"the client told of events of {sorted(strange)}, which are no tasks")
        if missing := set(ids) - reported:
            raise Failed(f"the client told nothing of {sorted(missing)}")

    def _do_gap(self, least):
        """The client said that it may have missed events."""
        if not self._program.wait(lambda: self._program.gaps - self._gaps >= least, self._within):
            raise Failed("the client lost its subscription, and did not say `gap`")

    def _do_hash(self, task_id, has):
        """The fields of the hash, as Redis has them; null is a field that is not there."""
        key, until = self._of(task_id) + task_id, time.monotonic() + self._within
        while True:
            found = self._redis.hgetall(key)
            wrong = {
                name: found.get(name)
                for name, want in has.items()
                if not fits(want, found.get(name), field=True)
            }
            if not wrong:
                return
            if time.monotonic() > until:
                raise Failed(f"the hash of {task_id} has {wrong}")
            time.sleep(0.02)

    def _do_redis(self, words, reply=None):
        """A command of somebody else, repeated until the reply fits."""
        until = time.monotonic() + self._within
        while True:
            given = self._redis.execute_command(*words)
            if reply is None or fits(reply, given):
                return
            if time.monotonic() > until:
                raise Failed(f"Redis answers {given!r}")
            time.sleep(0.02)

    def _do_worker(self, what):
        if what != "restart":
            raise ValueError(what)
        self._stage.restart(self._space)

    def _do_cut(self, _of):
        """The connections with the client's subscriptions are cut."""
        for one in self._redis.client_list(_type="pubsub"):
            if not wire.is_ours(one["name"]):
                self._redis.client_kill_filter(_id=one["id"])

    # -- reading --------------------------------------------------------------------------------------

    def _of(self, task_id):
        return namespace_of(self._namespace, partition_of(task_id, self._partitions), self._partitions)

    def _events(self, task_id):
        """The events of a task, but for those that come again: after a lost reply, or with a second reload.

        A wish to reload may be found in the hash and be heard as well, and is then carried out twice.
        """
        found, again = [], False
        for other, event in self._program.events[self._first :]:
            if other != task_id or found[-1:] == [event]:
                continue
            names = [one["event"] for one in found[-2:]]
            again = (event["event"] == "reloaded" and names == ["reloaded", "ready"]) or (
                again and event["event"] == "ready"
            )
            if not again:
                found.append(event)
        return found

    def _names(self, task_id):
        return [event["event"] for event in self._events(task_id)]

    def _filled(self, value):
        """`$a` is the id named a; `$ns` is the namespace; `$long` is a long text."""
        if isinstance(value, str):
            more = {"ns": self._namespace, "long": LONG}
            return Template(value).safe_substitute(self._ids, **more) if "$" in value else value
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if isinstance(value, dict):
            return {key: self._filled(item) for key, item in value.items()}
        return value


def cut(text):
    """`text`, not too long for people."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def fits(want, given, *, field=False):
    """Whether `given` is as a transcript wants it.

    None is anything (of a field: nothing), {"null": true} is null; {"has": text}, {"json": value} and
    {"number": true} look into a text; another object must have these members, and may have more.
    """
    if want is None:
        return given is None if field else True
    if want == {"null": True}:
        return given is None
    if isinstance(want, dict):
        kind = next(iter(want), "")
        if isinstance(given, str):
            return {
                "has": lambda: want[kind] in given,
                "json": lambda: fits(want[kind], json.loads(given)),
                "number": lambda: re.fullmatch(r"[0-9]+(\.[0-9]+)?", given) is not None,
            }[kind]()
        return isinstance(given, dict) and all(
            name in given and fits(item, given[name]) for name, item in want.items()
        )
    if isinstance(want, list):
        return isinstance(given, list) and len(want) == len(given) and all(map(fits, want, given))
    return type(want) is type(given) and want == given
