"""Lines that carry worker and task."""

import contextlib
import io
import json
import logging
import re
from types import SimpleNamespace

import attrs
import pytest

from pytask import PyTask
from pytask.daemon.serve import Flags, _set_up_logging
from pytask.domain.record import Claim, Verdict
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.runtime.process import log_format
from pytask.runtime.runs.fitting import judged
from tests.unit.runtime.fakes import World

log = logging.getLogger("mine")


@pytest.fixture
def lines():
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    out = io.StringIO()

    def read(style):
        log_format.set_up("w1", "info", style).setStream(out)
        World(Chatty, timing=Timing()).launch("order-7")
        log.info("outside")
        return out.getvalue().splitlines()

    yield read
    root.handlers[:] = handlers
    root.setLevel(level)


class Chatty(Task):
    class Config:
        NAME = "demo"

    def start(self):
        log.info("inside\nit")
        self.spawn(log.warning, "in a child")


class Quoting(Task):
    class Config:
        NAME = "demo"
        SECRET = ("password", "kind")

    def start(self):
        log.info("with %s", self.task_data)
        try:
            raise OSError(self.task_data["password"])
        except OSError:
            log.exception("no luck")


@pytest.mark.parametrize("style", ["console", "json"])
def test_values_of_secret_fields_are_in_no_line_and_json_stays_json(style):
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    out = io.StringIO()
    try:
        log_format.set_up("w1", "info", style).setStream(out)
        data = b'{"password": "correct-horse", "kind": "message"}'
        World(Quoting, timing=Timing()).launch("order-7", data=data)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    text = out.getvalue()
    assert "no luck" in text
    assert "OSError: ********" in text
    assert "correct-horse" not in text
    if style == "json":
        first, second = (json.loads(line) for line in text.splitlines())
        assert first["message"] == "with {'password': '********', 'kind': '********'}"
        assert "OSError" in second["exception"]


class Leaking(Task):
    class Config:
        NAME = "demo"
        SECRET = ("pem", "token")

    def start(self):
        try:
            raise OSError(f"{self.task_data['pem']}{self.task_data['token']}")
        except OSError:
            log.exception("in lines")
        self.spawn(self.fail, self.task_data["token"]).join()

    def fail(self, token):
        raise OSError(token)


@pytest.mark.parametrize("style", ["console", "json"])
def test_no_value_comes_by_a_line_break_a_tab_or_gevents_own_traceback(style, capsys):
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    out = io.StringIO()
    try:
        log_format.set_up("w1", "info", style).setStream(out)
        World(Leaking, timing=Timing()).launch(
            "order-7", data=json.dumps({"pem": "BEGIN\nMIIE\nEND\n", "token": "to\tken"}).encode()
        )
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    raised = capsys.readouterr().err
    text = out.getvalue() + raised
    assert "in lines" in text
    assert "OSError: ********" in raised
    for secret in ("MIIE", "ken"):
        assert secret not in text.replace("token", "")


def test_a_validator_that_logs_while_a_reload_is_judged_shows_no_value():
    out = io.StringIO()
    handler = log_format.SafeLines(out)
    handler.addFilter(log_format.TaskContext("w1"))
    handler.setFormatter(log_format.JsonLines())

    def validate(_instance, _field, value):
        log.warning("looks at %s", value)

    @attrs.frozen
    class Data:
        token: str = attrs.field(validator=validate)

    class Validating(Task):
        class Config:
            NAME = "demo"
            DATA = Data
            SECRET = ("token",)

    log.addHandler(handler)
    try:
        assert (
            judged(Claim("a", "w:1", Verdict.OK, "demo", b'{"token": "correct-horse"}'), Validating, 1000)[1]
            is None
        )
        log.warning("afterwards correct-horse")
    finally:
        log.removeHandler(handler)
    first, second = (json.loads(line)["message"] for line in out.getvalue().splitlines())
    assert (first, second) == ("looks at ********", "afterwards correct-horse")


def test_wrong_arguments_are_no_error_of_a_task_with_secret_fields():
    record = logging.LogRecord("mine", logging.INFO, __file__, 1, "%d of them", ("secret",), None)
    record.pytask_run = SimpleNamespace(id="order-7", hidden=("secret",))
    assert log_format.TaskContext("w1").filter(record)
    assert record.getMessage() == "%d of them (its arguments do not fit: TypeError)"


def test_console(lines):
    text = "\n".join(lines("console"))
    assert all(
        re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z ", line)
        for line in text.splitlines()
        if "[w1" in line
    )
    assert re.search(r"INFO    \[w1 order-7\] mine: inside", text)
    assert re.search(r"WARNING \[w1 order-7\] mine: in a child", text)
    assert re.search(r"INFO    \[w1\] mine: outside", text)


def test_json(lines):
    records = [json.loads(line) for line in lines("json")]
    assert [(r["worker"], r["task"], r["level"], r["message"]) for r in records] == [
        ("w1", "order-7", "info", "inside\nit"),
        ("w1", "order-7", "warning", "in a child"),
        ("w1", "-", "info", "outside"),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", r["time"]) for r in records)
    assert {r["logger"] for r in records} == {"mine"}


def test_an_exception_is_part_of_its_json_line():
    try:
        raise ValueError("broken")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "%s failed", ("it",), info)
    line = json.loads(log_format.JsonLines().format(record))
    assert (line["message"], line["worker"], line["task"]) == ("it failed", "-", "-")
    assert line["exception"].endswith("ValueError: broken")


HOSTILE = "id\r\n2026-01-01 INFO forged\x1b[2J\x9b1m\u2028two\u2029\u202edlrow\udc80\x00"


@pytest.mark.parametrize("formatter", [log_format.ConsoleLines("%(message)s"), log_format.JsonLines()])
def test_hostile_text_makes_no_second_line_and_steers_no_terminal(formatter):
    line = formatter.format(
        logging.LogRecord(HOSTILE, logging.ERROR, "f", 1, "task %s failed", (HOSTILE,), None)
    )
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert "forged" in line
    if isinstance(formatter, log_format.JsonLines):
        assert json.loads(line)["message"] == f"task {HOSTILE} failed"


def test_a_traceback_cannot_look_like_lines_of_the_log():
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed", (), info)
    record.exc_text = "as another handler formatted it\x1b[2J"
    first, *rest = log_format.ConsoleLines("%(message)s").format(record).splitlines()
    assert first == "failed"
    assert all(line.startswith("  | ") and line.isprintable() for line in rest)
    assert record.exc_text == "as another handler formatted it\x1b[2J"


@pytest.fixture
def program():
    """Within it the root logger has the handlers that the program sets up, and none of pytest's."""

    @contextlib.contextmanager
    def made():
        root = logging.getLogger()
        level, handlers = root.level, list(root.handlers)
        root.handlers.clear()
        try:
            yield root
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)

    return made


@pytest.mark.parametrize(
    ("form", "style", "line"),
    [
        (logging.BASIC_FORMAT, "%", r"\d{4}-.*Z INFO    \[w1 order-7\] mine: inside\\x0ait"),
        ("%(levelname)s! %(message)s", "%", r"\[w1 order-7\] INFO! inside\nit"),
        ("{levelname}! {message}", "{", r"\[w1 order-7\] INFO! inside\nit"),
        ("$levelname! $message", "$", r"\[w1 order-7\] INFO! inside\nit"),
        ("%(message)s of %(task)s", "%", r"inside\nit of order-7"),
    ],
)
def test_the_handler_of_a_program_that_called_basic_config_names_the_task(program, form, style, line):
    out = io.StringIO()
    with program():
        logging.basicConfig(stream=out, level="INFO", format=form, style=style)
        _set_up_logging(PyTask(name="w1"), Flags())
        World(Chatty, timing=Timing()).launch("order-7")
    assert re.match(line, out.getvalue())


def test_a_formatter_of_the_programs_own_is_left_as_it_is_and_has_the_fields(program):
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(log_format.JsonLines())
    with program() as root:
        root.addHandler(handler)
        root.setLevel("INFO")
        _set_up_logging(PyTask(name="w1"), Flags())
        World(Chatty, timing=Timing()).launch("order-7")
    assert json.loads(out.getvalue().splitlines()[0])["task"] == "order-7"
