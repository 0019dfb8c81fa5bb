"""docs/protocol.md, which people write clients from, says what the code says."""

import json
import re
from pathlib import Path

import attrs
import pytest

import pytask
from pytask.adapters.keys import Keys
from pytask.adapters.rules import KEEP_REJECTED, event
from pytask.domain import messages
from pytask.domain.control import REQUESTS
from pytask.domain.crashes import CRASH_LIMIT
from pytask.domain.figures import FIGURES
from pytask.domain.firing import READ
from pytask.domain.leases import STAMP_EVERY
from pytask.domain.lifecycle import RESTING, TABLE, State
from pytask.domain.messages import COMMANDS, LONGEST_NAME, MAX_ID_BYTES, Event, IdFault
from pytask.domain.partition import crc16
from pytask.domain.record import Claim, RunRef, Verdict
from pytask.domain.task_log import TEXT_MOST
from pytask.domain.timing import Timing
from pytask.domain.version import PROTOCOL
from pytask.runtime.runs.failure import ERROR_BYTES
from pytask.runtime.runs.run import Run
from pytask.runtime.runs.task_log import LINGER, Journal
from pytask.runtime.settings import Settings
from tests.unit.runtime.fakes import FakeStore, World

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "protocol.md").read_text()
SCRIPTS = ROOT / "pytask" / "adapters" / "redis" / "scripts"
MARKER = {"id", "server", "safe", "since", "changed"}  # of pytask:incarnation, which is no client's business
WORD = re.compile(r"`([^`]+)`")


def section(title):
    return re.split(r"^##+ ", TEXT.split(f"# {title}\n")[1], flags=re.MULTILINE)[0]


def rows(title, table=0):
    """The cells of a table of a section, without its head."""
    tables = re.findall(r"(?:^\|.*\n)+", section(title), re.MULTILINE)
    return [
        [cell.strip() for cell in line.strip("| \n").split(" | ")] for line in tables[table].splitlines()[2:]
    ]


def words(cell):
    return WORD.findall(cell)


def test_the_version():
    assert TEXT.startswith(f"# The wire protocol, version {PROTOCOL}\n")
    assert f"- This is version {PROTOCOL} of the wire." in TEXT


def test_every_key_and_channel_has_its_row():
    keys = Keys("<space>")
    fixed = set(attrs.astuple(keys)) - {keys.namespace, keys.channel, keys.indexes, keys.own}
    fixed |= {keys.task("<id>"), keys.events("<id>"), f"{keys.events('<id>')}-control"}
    fixed |= {
        keys.parking("<function>").decode(),
        keys.ping_channel("<session>"),
        keys.database_channel("<number>"),
        "<space>pytask:index:<STATE>",
        keys.claimed("<session>"),
        keys.log("<id>"),
        keys.schedule("<name>").decode(),
        keys.occurrences("<name>").decode(),
        keys.slots("<entry>").decode(),
        keys.line("<entry>").decode(),
        keys.rated("<function>").decode(),
        keys.samples("hour"),
        keys.samples("day"),
    }
    named = {name for row in rows("Names") for name in words(row[0])}
    assert fixed == named
    (index,) = (row for row in rows("Names") if "index" in row[0])
    assert set(words(index[2])) == {str(state) for state in RESTING}


def test_what_a_worker_shows():
    documented = [f"| `{name}` | {figure.text} | {figure.unit} |" for name, figure in FIGURES.items()]
    assert "| figure | meaning | unit |\n| --- | --- | --- |\n" + "\n".join(documented) + "\n\n" in TEXT


def test_what_becomes_of_a_pushed_id():
    table = rows("Ids")
    assert {words(row[2])[0] for row in table if row[1] == "rejected"} == {str(fault) for fault in IdFault}
    assert [words(row[1])[0] for row in table if row[1] != "rejected"] == ["ERROR"] * 3 + ["WAIT"] * 3


@pytest.mark.parametrize(
    "limit",
    [
        f"An id is 1 to {MAX_ID_BYTES} bytes",
        f"in hex ({MAX_ID_BYTES + 1} at the most)",
        f"the last {KEEP_REJECTED} ids",
        f"1 to {LONGEST_NAME} bytes",
        f"({Settings().max_data >> 20} MiB)",
        f"{ERROR_BYTES >> 10} KiB at the most",
        f"after {Settings().keep_ended // 86400} days (`ENDED`)",
        f"{Settings().keep_error // 86400} days (`ERROR`)",
        f"while it runs (every {Timing().heartbeat:g} s)",
        f"so up to {STAMP_EVERY * Timing().heartbeat:g} s old",
        f"silent for {Timing().expiry:g} s",
        f"tried again every {Timing().grace / 2:g} s",
        f"within {Timing().heartbeat:g} s",
        f"more than {('', '', 'two', 'three', 'four')[CRASH_LIMIT]} times",
    ],
)
def test_the_limits(limit):
    assert limit in TEXT


def test_never_is_what_is_said_of_stopped_tasks():
    assert Settings().keep_stopped is None


def test_the_partitions():
    for text, crc, partition in rows("Partitions"):
        raw = words(text)[0].encode()
        assert (int(crc, 16), int(partition)) == (crc16(raw), crc16(raw) % 4)
    for namespace, space in rows("Partitions", 1)[:3]:
        given = (words(namespace) or [""])[0]
        assert pytask.namespace_of(given, 2, 4) == words(space)[0]


def test_the_fields_are_those_of_the_scripts():
    named = {name for row in rows("The hash of a task") for name in words(row[0])}
    scheduled = {name for row in rows("Schedules") for name in words(row[0])}
    assert scheduled == {*READ, "data", "error", "last_ms", "last_id", "fires", "origin"}
    found = set()
    for path in SCRIPTS.glob("*.lua"):
        text = re.sub(r"--.*|own \.\. '\w+'", "", path.read_text())  # keys are no fields
        for call in re.findall(
            r"'H(?:SET|MGET|DEL|GET|STRLEN|EXISTS)',([^()]*(?:\([^()]*\)[^()]*)*)\)", text
        ):
            found |= set(re.findall(r"'([a-z_]+)'", call))
        found |= set(re.findall(r"fields = \{'(\w+)'", text))
    # Outputs and errors come from the executor, by name.
    assert found - MARKER - scheduled <= named
    assert named <= found | {"last_run", "output", "error", "crash_at"}


def test_the_log_and_the_progress():
    journal = Journal(lines=2)
    run = Run(World().executor, Claim("a", "s:1", Verdict.OK, epoch=7), RunRef("a", "s:1"), None, 0.0)
    journal.progress(run, {"done": 1, "total": 2, "note": "x"})
    store = FakeStore()
    journal.send(store)
    (((notes,), _, _),) = store.asked("note")
    line, field = json.loads(notes.lines[0]), json.loads(notes.progress)
    named = {name for row in rows("Its log") for name in words(row[0])}
    assert set(line) == named | {"done", "total", "note"}
    (documented,) = (row[2] for row in rows("The hash of a task") if row[0] == "`progress`")
    assert set(field) == set(words(documented))
    assert f"longer than {TEXT_MOST} characters" in section("Its log")
    assert f"expires {Settings().keep_logs // 86400} days" in section("Its log")
    assert (LINGER, "(ten a second)" in section("Events")) == (0.1, True)


def test_the_states_and_moves():
    assert {words(row[0])[0] for row in rows("States")} == {str(state) for state in State}
    shown = {(old, new) for row in rows("States", 1) for old in words(row[0]) for new in words(row[1])}
    assert shown == {(str(old), str(new)) for (old, _), new in TABLE.items()}


def test_the_control_words():
    named = {words(row[0])[0] for row in rows("Control")}
    assert named == {word.decode() for word in (*COMMANDS, messages.STARTED, messages.STACKS)}


def test_the_events_are_those_of_the_readme():
    assert [words(row[0])[0] for row in rows("Events")] == [str(name) for name in Event]
    readme = (ROOT / "README.md").read_text().split("| event |")[1]
    members = dict(re.findall(r"^\| (`[a-z-]+`) \|([^|]*)\|", readme, re.MULTILINE))
    for row in rows("Events"):
        assert words(row[1]) == words(members[row[0]]), row


def test_an_event_begins_as_it_is_said():
    (head,) = set(re.findall(r'`(\{"event":"NAME","data":)`', TEXT))
    assert event("NAME", {"a": 1}).startswith(head)
    assert json.loads(event("NAME", {"a": 1})) == {"event": "NAME", "data": {"a": 1}}


def test_the_verdicts():
    named = {word for row in rows("What a worker does") for word in words(row[0])}
    answers = {*Verdict, *REQUESTS.values()} - {Verdict.UNRECOGNIZED}
    assert named == set(map(str, answers))
