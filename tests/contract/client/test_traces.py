"""The trace of a producer: the field `traceparent`, from the client to the claim."""

import pytest
from opentelemetry.sdk.trace import TracerProvider

from pytask import errors
from pytask.client import New
from pytask.domain.record import StartFields
from pytask.domain.traces import is_traceparent

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def claimed(both, task_id):
    (claim,) = both.bench.claim(both.bench.ref(task_id))
    assert claim.won
    return claim.fields


@pytest.mark.wire
def test_a_traceparent_reaches_each_run(both):
    task_id = both.client.start("f", {"a": 1}, traceparent=PARENT)
    assert both.bench.hash(task_id)["traceparent"] == PARENT
    assert claimed(both, task_id) == StartFields(traceparent=PARENT)
    other, plain = both.client.start_many([New("f", traceparent=PARENT, group="g"), New("f", group="g")])
    assert claimed(both, other) == StartFields(traceparent=PARENT, group="g")
    assert claimed(both, plain) == StartFields(group="g")


def test_it_goes_with_what_was_saved_and_with_a_size_over_the_limit(both):
    both.bench.push("a", traceparent=PARENT, saved="[1]", restarts="2")
    assert claimed(both, "a") == StartFields(traceparent=PARENT, saved=b"[1]", restarts=2)
    both.bench.push("b", traceparent=PARENT, saved="x" * 70_000)
    assert claimed(both, "b") == StartFields(traceparent=PARENT, unread=70_000)
    both.bench.push("c", traceparent="y" * 56, saved="[2]")
    assert claimed(both, "c") == StartFields(saved=b"[2]")


def test_a_new_start_has_its_own_trace(both):
    both.client.start("f", {"a": 1}, id="a", traceparent=PARENT)
    both.end(_run(both, "a"))
    both.client.start("f", {"a": 2}, id="a")
    assert "traceparent" not in both.bench.hash("a")


def _run(both, task_id):
    ref = both.bench.ref(task_id)
    (claim,) = both.bench.claim(ref)
    assert claim.won
    return ref


def test_by_default_it_is_that_of_the_current_span(both):
    with TracerProvider().get_tracer("test").start_as_current_span("producer") as span:
        task_id = both.client.start("f")
        none = both.client.start("f", traceparent="")
    found = both.bench.hash(task_id)["traceparent"]
    assert is_traceparent(found)
    context = span.get_span_context()
    assert found == f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    assert "traceparent" not in both.bench.hash(none)
    assert "traceparent" not in both.bench.hash(both.client.start("f"))


@pytest.mark.parametrize("text", ["x", PARENT.upper(), PARENT + "-", 7])
def test_another_text_is_refused(real, text):
    with pytest.raises(errors.BadData, match="traceparent must be that of W3C Trace Context, such as '00-"):
        real.client.start("f", traceparent=text)
