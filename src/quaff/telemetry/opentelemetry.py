"""OpenTelemetry: a span for each call that sends jobs, and one for each attempt (the extra ``otel``).

    from quaff.telemetry.opentelemetry import OpenTelemetry
    quaff.use(OpenTelemetry())

What is exported, and where to, is for the application's SDK to say; without one nothing is.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from quaff.errors import ConfigurationError
from quaff.middleware import Attempted, Middleware, Sending
from quaff.model.outcome import failure_of
from quaff.telemetry import names

Relation = Literal["auto", "parent", "link"]


class OpenTelemetry(Middleware):
    """Traces jobs; their context goes along in the message as W3C ``traceparent`` (or as the propagator has it).

    Args:
        relation: how the span of an attempt stands to the one that sent its job: ``parent``, in one trace, or ``link``,
            from a trace of its own. ``auto``: parent, but for what was delayed by more than a minute, another
            attempt, and batches.
        tracer_provider, meter_provider: by default the global ones.

    Raises:
        ConfigurationError: no such relation.
    """

    def __init__(
        self,
        relation: Relation = "auto",
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        from quaff import __version__

        if relation not in ("auto", "parent", "link"):
            raise ConfigurationError(f"relation={relation!r}: give auto, parent or link.")
        self._relation = relation
        self._tracer = trace.get_tracer("quaff", __version__, tracer_provider, names.SCHEMA)
        meter = metrics.get_meter("quaff", __version__, meter_provider, names.SCHEMA)
        self._sent = meter.create_counter(names.SENT, "{message}", "Jobs that were sent.")
        self._consumed = meter.create_counter(names.CONSUMED, "{message}", "Jobs that were handed to a task.")
        self._duration = meter.create_histogram(names.DURATION, "s", "How long attempts ran.")

    @contextmanager
    def sending(self, sending: Sending) -> Generator[None]:
        """A producer span; what is sent inside gets its context."""
        common = _common(names.SEND, sending.queue, sending.task)
        with self._tracer.start_as_current_span(f"{names.SEND} {sending.queue}", kind=SpanKind.PRODUCER) as span:
            span.set_attributes(common)
            try:
                yield
            except Exception as error:
                common[names.ERROR_TYPE] = type(error).__qualname__
                span.set_attribute(names.ERROR_TYPE, common[names.ERROR_TYPE])
                raise
            finally:
                span.set_attributes(_which(sending.ids))
                self._sent.add(len(sending.ids), common)

    def headers(self) -> Mapping[str, str]:
        """The context of the present span."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return carrier

    @contextmanager
    def attempt(self, attempted: Attempted) -> Generator[None]:
        """A consumer span, in which the task runs."""
        common = _common(names.PROCESS, attempted.queue, attempted.task)
        senders = [propagate.extract(headers, context.Context()) for headers in attempted.headers]
        links = [
            Link(found) for sender in senders if (found := trace.get_current_span(sender).get_span_context()).is_valid
        ]
        below = self._relation == "parent" or (self._relation == "auto" and not attempted.late)
        parent = senders[0] if below and len(senders) == 1 else _baggage_of(senders)
        span = self._tracer.start_span(
            f"{names.PROCESS} {attempted.queue}",
            parent,
            SpanKind.CONSUMER,
            common | _about(attempted),
            [] if parent is senders[0] else links,
        )
        token = context.attach(trace.set_span_in_context(span, parent))
        began = time.perf_counter()
        try:
            yield
        finally:
            context.detach(token)
            ended = attempted.ended
            if ended is not None:
                span.set_attribute(names.OUTCOME, ended.state)
                if ended.error is not None:
                    common[names.ERROR_TYPE] = type(ended.error).__qualname__
                    span.set_attribute(names.ERROR_TYPE, common[names.ERROR_TYPE])
                    span.add_event("exception", _told(ended.error, attempted))
                    span.set_status(Status(StatusCode.ERROR, type(ended.error).__qualname__))
            span.end()
            self._consumed.add(attempted.jobs, common)
            self._duration.record(time.perf_counter() - began, common)


def _common(operation: str, queue: str, task: str) -> dict[str, str]:
    return {
        names.SYSTEM: "quaff",
        names.OPERATION: operation,
        names.OPERATION_TYPE: operation,
        names.DESTINATION: queue,
        names.TASK: task,
    }


def _which(ids: Sequence[str]) -> dict[str, Any]:
    return {names.MESSAGE_ID: ids[0]} if len(ids) == 1 else {names.BATCH: len(ids)}


def _about(attempted: Attempted) -> dict[str, Any]:
    found: dict[str, Any] = {
        names.CLIENT: attempted.worker,
        names.ATTEMPT: attempted.number,
        names.SIZE: attempted.size,
    }
    if attempted.jobs > 1:
        found[names.BATCH] = attempted.jobs
    else:
        found[names.MESSAGE_ID] = attempted.id
    if attempted.flow:
        found[names.CONVERSATION] = attempted.flow
    if attempted.waited >= 0:
        found[names.WAITED] = attempted.waited
    return found


def _told(error: BaseException, attempted: Attempted) -> dict[str, str]:
    """An exception as the job keeps it, without what nobody should see, and as ``Span.record_exception`` has it."""
    failure = failure_of(error, frames=1, mask=attempted.mask)
    module, name = type(error).__module__, type(error).__qualname__
    return {
        names.EXCEPTION_TYPE: name if module == "builtins" else f"{module}.{name}",
        names.EXCEPTION_MESSAGE: failure.message,
        names.EXCEPTION_TRACE: failure.traceback,
    }


def _baggage_of(senders: Sequence[context.Context]) -> context.Context:
    """What the one sender wants to have carried along, in a trace of its own."""
    from opentelemetry import baggage

    fresh = context.Context()
    for name, value in baggage.get_all(senders[0]).items() if len(senders) == 1 else ():
        fresh = baggage.set_baggage(name, value, fresh)
    return fresh
