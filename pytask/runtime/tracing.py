"""Traces of runs (setting `traces`, extra `pytaskd[otel]`); nothing of OpenTelemetry is imported without it.

A run lasts for days, and a span is exported when it ends.  So a run is no span: a short one is made as it
starts, one for each round of `run_loop`, and one as it ends.  The first links to the span of the producer,
the others to the first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent

from pytask.domain.control import StopReason
from pytask.domain.errors import MissingExtra
from pytask.domain.lifecycle import Trigger
from pytask.domain.traces import NAMES, QUEUE, SCHEMA_URL, SYSTEM, ids_of
from pytask.domain.version import __version__
from pytask.logger import get_logger
from pytask.runtime.runs.tally import Loop
from pytask.runtime.tree import Service

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Span, SpanContext, SpanKind

    from pytask.runtime.runs.run import Run

log = get_logger(__name__)

FLUSH = 2000  # ms at the end of the process


class Tracing:
    """Makes the spans of one worker, with the tracer provider of the program."""

    def __init__(self, worker: str) -> None:
        try:
            from opentelemetry import context, trace
        except ImportError as error:
            raise MissingExtra(
                f"the setting traces needs OpenTelemetry ({error}): pip install 'pytaskd[otel]'"
            ) from None
        self._api = trace
        self._context = context
        self._worker = worker
        self._tracer = trace.get_tracer("pytask", __version__, schema_url=SCHEMA_URL)

    def began(self, run: Run) -> None:
        """`start()` is about to be called."""
        with _unharmed():
            fields = run.claim.fields
            links = self._links(_remote(self._api, "" if fields is None else fields.traceparent))
            span = self._span(run, "run", links, self._api.SpanKind.CONSUMER, operation_type="process")
            run.span = span.get_span_context()
            span.end()

    def over(self, run: Run, trigger: Trigger | None, error: BaseException | None) -> None:
        """A run is dead; `trigger` is what becomes of its task, None if another run owns it."""
        if gevent.getcurrent() is gevent.get_hub():
            Service.spawn(self._over, run, trigger, error)  # an exporter may wait, and the hub cannot
        else:
            self._over(run, trigger, error)

    def _over(self, run: Run, trigger: Trigger | None, error: BaseException | None) -> None:
        with _unharmed():
            self._end(run, trigger, error)

    def _end(self, run: Run, trigger: Trigger | None, error: BaseException | None) -> None:
        span = self._span(run, "stop", self._links(run.span))
        span.set_attribute(NAMES["outcome"], "lost" if trigger is None else str(trigger))
        if isinstance(run.stop_reason, StopReason):
            span.set_attribute(NAMES["reason"], run.stop_reason.name.lower())
        if trigger is Trigger.FAIL:
            self._fail(span, error, hidden=bool(run.hidden))
        span.end()

    def loop(self, run: Run, plain: Loop) -> TracedLoop:
        """A `run_loop` whose rounds are spans."""
        return TracedLoop(self, run, plain)

    def round(self, run: Run) -> list[tuple[Span, Any]]:
        """The span of a round, in which those of the task are, and how to leave it; [] for none."""
        opened: list[tuple[Span, Any]] = []
        with _unharmed():
            span = self._span(run, "round", self._links(run.span))
            opened.append((span, self._context.attach(self._api.set_span_in_context(span))))
        return opened

    def round_over(self, span: Span, token: Any, error: BaseException | None, *, hidden: bool) -> None:
        """The round has ended."""
        with _unharmed():
            self._context.detach(token)
            if error is not None:
                self._fail(span, error, hidden=hidden)
            span.end()

    def _span(
        self, run: Run, name: str, links: Sequence[Link], kind: SpanKind | None = None, **more: str
    ) -> Span:
        claim = run.claim
        found: dict[str, Any] = {
            "system": SYSTEM, "operation": name, "destination": QUEUE, "message": run.id,
            "client": self._worker, "function": claim.function, "run": run.ref.run, "epoch": run.epoch,
            "attempt": run.attempt, **more,
        }  # fmt: skip
        return self._tracer.start_span(
            f"{name} {claim.function}",
            context=self._context.Context(),  # a root: the producer's trace ended long ago
            kind=kind or self._api.SpanKind.INTERNAL,
            attributes={NAMES[key]: value for key, value in found.items()},
            links=links,
            start_time=time.time_ns(),
        )

    def _links(self, of: SpanContext | None) -> Sequence[Link]:
        return [] if of is None else [self._api.Link(of)]

    def _fail(self, span: Span, error: BaseException | None, *, hidden: bool) -> None:
        name = "timeout" if error is None else type(error).__qualname__
        span.set_attribute(NAMES["error"], name)
        span.set_status(self._api.Status(self._api.StatusCode.ERROR, name))
        # Its text may quote the values of secret fields (`Config.SECRET`).
        if error is not None and not hidden:
            span.record_exception(error)


class TracedLoop:
    """A loop that counts its rounds, as all do, and makes a span of each."""

    def __init__(self, tracing: Tracing, run: Run, plain: Loop) -> None:
        self._tracing = tracing
        self._run = run
        self._plain = plain
        self._open: list[tuple[Span, Any]] = []
        self.clock = plain.clock

    def begin(self) -> None:
        """A round begins."""
        self._plain.begin()
        self._open = self._tracing.round(self._run)

    def end(self, error: BaseException | None = None) -> None:
        """The round has ended, with an error or without."""
        self._plain.end()
        if self._open:
            span, token = self._open.pop()
            self._tracing.round_over(span, token, error, hidden=bool(self._run.hidden))

    def rest(self) -> None:
        """No round is due, or its run was killed in the middle of one."""
        if self._open:
            self.end()
        self._plain.rest()


@contextmanager
def _unharmed() -> Iterator[None]:
    """A fault of an exporter, or of a processor of the program, harms no run."""
    try:
        yield
    except Exception:
        log.exception("a span could not be made")


def _remote(api: Any, text: str) -> SpanContext | None:
    """The span of the producer; None if the field is none."""
    ids = ids_of(text)
    if ids is None:
        return None
    trace, span, flags = ids
    found: SpanContext = api.SpanContext(trace, span, is_remote=True, trace_flags=api.TraceFlags(flags))
    return found


def set_up(worker: str, environ: Mapping[str, str]) -> None:
    """Export to $OTEL_EXPORTER_OTLP_ENDPOINT, unless the program has chosen a provider of its own.

    Raises `MissingExtra`.
    """
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtra(
            f"the setting traces needs OpenTelemetry ({error}): pip install 'pytaskd[otel]'"
        ) from None
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    own = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": "pytask"}
    provider = TracerProvider(resource=Resource.create({**own, "service.instance.id": worker}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def flush() -> None:
    """Export what is left, as the process may be ended before its exit handlers run."""
    from opentelemetry import trace

    export = getattr(trace.get_tracer_provider(), "force_flush", None)
    if export is not None:
        export(FLUSH)
