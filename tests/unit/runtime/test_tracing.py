"""Spans of runs, with the in-memory exporter."""

import subprocess
import sys

import gevent
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pytask.domain import traces
from pytask.domain.control import StopReason
from pytask.domain.errors import MissingExtra
from pytask.domain.record import StartFields
from pytask.domain.task import Task
from pytask.runtime.loop import run_loop
from pytask.runtime.tracing import Tracing
from tests.unit.runtime.fakes import FAST, World, switch

PRODUCER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def spans(monkeypatch):
    """The finished spans of a provider of its own."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


class Demo(Task):
    class Config:
        NAME = "demo"

    def start(self):
        gevent.sleep(1000)


class Failing(Task):
    class Config:
        NAME = "demo"

    def start(self):
        raise ZeroDivisionError("by zero")


class Loop(Task):
    class Config:
        NAME = "demo"

    tracer = None
    rounds = 0

    def start(self):
        run_loop(self.one, 1000)

    def one(self):
        with Loop.tracer.start_as_current_span("own"):
            raise LookupError("nothing there")


class Secret(Failing):
    class Config:
        NAME = "demo"
        SECRET = ("key",)


def traced(cls, **fields):
    world = World(cls, timing=FAST, tracing=Tracing("w"))
    run = world.launch("a", data=b'{"key": "hush"}', fields=StartFields(**fields) if fields else None)
    return world, run


def linked(span):
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def own(span):
    return span.context.trace_id, span.context.span_id


def test_a_run_links_to_its_producer_and_its_end_to_its_start(spans):
    world, run = traced(Demo, traceparent=PRODUCER)
    (began,) = spans.get_finished_spans()  # a short one, although the task runs on
    assert began.name == "run demo"
    assert linked(began) == [(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7)]
    assert began.parent is None
    assert began.kind is trace.SpanKind.CONSUMER
    names = traces.NAMES
    assert {key: began.attributes[names[key]] for key in ("system", "operation", "message", "function")} == {
        "system": "pytask", "operation": "run", "message": "a", "function": "demo",
    }  # fmt: skip
    assert began.instrumentation_scope.schema_url.endswith(traces.SEMCONV)
    world.executor.stop_reason(run, StopReason.STOP)
    gevent.sleep(0.1)
    _, stop = spans.get_finished_spans()
    assert (stop.name, linked(stop)) == ("stop demo", [own(began)])
    assert (stop.attributes["pytask.outcome"], stop.attributes["pytask.stop_reason"]) == ("stop", "stop")
    assert names["error"] not in stop.attributes


def test_a_failure_has_its_type(spans):
    traced(Failing)
    switch()
    _, stop = spans.get_finished_spans()
    assert stop.attributes["error.type"] == "ZeroDivisionError"
    assert stop.status.status_code is trace.StatusCode.ERROR
    assert stop.events[0].attributes["exception.message"] == "by zero"


def test_a_failure_with_secrets_has_its_type_only(spans):
    traced(Secret)
    switch()
    _, stop = spans.get_finished_spans()
    assert (stop.attributes["error.type"], stop.events) == ("ZeroDivisionError", ())


def test_each_round_is_a_span_in_which_those_of_the_task_are(spans):
    Loop.tracer = trace.get_tracer("task")
    traced(Loop)
    switch()
    began, own_, round_, stop = spans.get_finished_spans()
    assert [one.name for one in (began, own_, round_, stop)] == ["run demo", "own", "round demo", "stop demo"]
    assert (round_.parent, linked(round_)) == (None, [own(began)])
    assert own_.parent.span_id == round_.context.span_id
    assert round_.attributes["error.type"] == "LookupError"
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    "text",
    [
        "", "x", PRODUCER[:-1], PRODUCER + "0", "ff" + PRODUCER[2:], PRODUCER.upper(),
        f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)  # fmt: skip
def test_what_is_no_traceparent_is_no_link(spans, text):
    assert not traces.is_traceparent(text)
    traced(Demo, traceparent=text, group="g")
    (began,) = spans.get_finished_spans()
    assert began.links == ()


def test_without_the_extra_the_fix_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtra, match=r"PT195\].*pip install 'pytaskd\[otel\]'"):
        Tracing("w")


def test_nothing_is_imported_unless_traces_are_made():
    code = (
        "import sys, pytask, pytask.aio, pytask.app, pytask.client.enqueue as e; e.start_of(e.New('f'));"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'prometheus'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_processor_that_raises_harms_no_run(monkeypatch, caplog):
    class Broken:
        def start_span(self, *_, **__):
            raise OSError("no disk")

    monkeypatch.setattr(trace, "get_tracer", lambda *_, **__: Broken())
    Loop.tracer = TracerProvider().get_tracer("task")
    world, _ = traced(Loop)
    switch()
    assert [trigger for _, trigger in world.ends()] == ["fail"]
    assert "a span could not be made" in caplog.text


def test_a_round_that_is_killed_has_its_span(spans):
    class Hanging(Task):
        class Config:
            NAME = "demo"

        def start(self):
            run_loop(lambda: gevent.sleep(1000), 1000)

    world, run = traced(Hanging)
    world.executor.stop_reason(run, StopReason.STOP)
    gevent.sleep(0.1)
    assert [one.name for one in spans.get_finished_spans()] == ["run demo", "round demo", "stop demo"]
