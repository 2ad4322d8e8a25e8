"""Traces: one from whoever sends a job to whatever it does, told by the real SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from quaff import ConfigurationError, EncodeError, Quaff, chain
from quaff.middleware import Middleware
from quaff.model import ids, message
from quaff.model.ids import JobId
from quaff.model.message import Submission
from quaff.telemetry import names
from quaff.telemetry.opentelemetry import OpenTelemetry
from tests.helpers import Program, in_loop, wait_until
from tests.telemetry.conftest import APP, lines
from tests.worker.support import Stage

Spans = Callable[[str, int], list[dict[str, Any]]]


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Keeps what the sender tells."""
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    """The sender's."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.fixture
def traced(quaff: Quaff, provider: TracerProvider) -> Quaff:
    """A sender with traces."""
    quaff.use(OpenTelemetry(tracer_provider=provider))
    return quaff


@pytest.fixture
def spans(stage: Stage) -> Spans:
    """Spans of a worker that is started for it, by task, waited for."""
    path = stage.file()
    worker: Program = stage.worker("-p", "1", app=APP, environment={"SPANS": str(path)})

    def ended(task: str, count: int) -> list[dict[str, Any]]:
        def found() -> list[dict[str, Any]]:
            return [each for each in lines(path) if each["attributes"].get(names.TASK) == task]

        wait_until(lambda: len(found()) >= count, 15, f"{count} spans of {task}: {worker.output}")
        return found()

    return ended


def hexed(span: ReadableSpan) -> tuple[str, str]:
    """Its trace and its id as a worker's exporter writes them."""
    found = span.get_span_context()
    assert found is not None
    return f"0x{found.trace_id:032x}", f"0x{found.span_id:016x}"


def test_a_job_runs_in_the_trace_that_sent_it(traced: Quaff, exporter: InMemorySpanExporter, spans: Spans) -> None:
    """``send`` is a producer, ``process`` a consumer below it, the task runs inside, and baggage comes along."""
    token = context.attach(baggage.set_baggage("tenant", "seven"))
    job = traced.tasks["where"].delay("s3cret")
    context.detach(token)
    (sent,) = exporter.get_finished_spans()
    trace_id, span_id = hexed(sent)
    assert job.result(timeout=15) == {"trace": trace_id[2:], "tenant": "seven"}
    assert (sent.name, sent.kind) == ("send default", SpanKind.PRODUCER)
    assert dict(sent.attributes or {}) == {
        names.SYSTEM: "quaff",
        names.OPERATION: "send",
        names.OPERATION_TYPE: "send",
        names.DESTINATION: "default",
        names.TASK: "where",
        names.MESSAGE_ID: job.id,
    }
    (ran,) = spans("where", 1)
    assert (ran["name"], ran["kind"]) == ("process default", "SpanKind.CONSUMER")
    assert (ran["context"]["trace_id"], ran["parent_id"], ran["links"]) == (trace_id, span_id, [])
    about = ran["attributes"]
    assert (about[names.MESSAGE_ID], about[names.ATTEMPT], about[names.OUTCOME]) == (job.id, 1, "succeeded")
    assert 0 <= about[names.WAITED] < 15
    assert set(about) <= set(names.ATTRIBUTES)
    assert "s3cret" not in str(ran) + sent.to_json()


def test_a_coroutine_runs_in_its_trace_too(traced: Quaff, exporter: InMemorySpanExporter, spans: Spans) -> None:
    """Sent by one, and beside others in one loop."""

    async def send() -> list[str]:
        return [(await traced.tasks["awhere"].adelay()).id for _ in range(5)]

    ids = in_loop(traced, send)
    traces = {
        span.attributes[names.MESSAGE_ID]: hexed(span)[0] for span in exporter.get_finished_spans() if span.attributes
    }
    assert {id: f"0x{traced.job(id).result(timeout=15)}" for id in ids} == traces
    assert len(spans("awhere", 5)) == 5


def test_what_a_task_sends_is_in_its_trace(traced: Quaff, exporter: InMemorySpanExporter, spans: Spans) -> None:
    """From a click to a mail in one picture."""
    inner = traced.tasks["sends"].delay().result(timeout=15)
    (sent,) = exporter.get_finished_spans()
    assert traced.job(inner).result(timeout=15)["trace"] == hexed(sent)[0][2:]


def test_another_attempt_is_linked_not_below(traced: Quaff, exporter: InMemorySpanExporter, spans: Spans) -> None:
    """What sent it is over by then. An attempt that failed says by what."""
    assert traced.tasks["fails_once"].delay().result(timeout=15) == 2
    (sent,) = exporter.get_finished_spans()
    first, second = spans("fails_once", 2)
    assert (first["context"]["trace_id"], first["attributes"][names.OUTCOME]) == (hexed(sent)[0], "retrying")
    assert (first["attributes"][names.ERROR_TYPE], first["status"]["status_code"]) == ("Retry", "ERROR")
    assert first["events"][0]["name"] == "exception"
    assert (second["context"]["trace_id"] != hexed(sent)[0], second["parent_id"]) == (True, None)
    (link,) = second["links"]
    assert (link["context"]["trace_id"], link["context"]["span_id"]) == hexed(sent)


def test_many_jobs_are_sent_in_one_span(traced: Quaff, exporter: InMemorySpanExporter, spans: Spans) -> None:
    """And a batch that runs as one has a link for each."""
    jobs = traced.tasks["together"].map([(number,) for number in range(3)])
    for job in jobs:
        job.result(timeout=15)
    (sent,) = exporter.get_finished_spans()
    assert (sent.attributes or {})[names.BATCH] == 3
    linked = [link["context"]["trace_id"] for span in spans("together", 1) for link in span["links"]]
    assert set(linked) <= {hexed(sent)[0]}


def test_jobs_of_a_flow_are_in_the_trace_that_sent_it(traced: Quaff, provider: TracerProvider, spans: Spans) -> None:
    """With the flow as their conversation."""
    with provider.get_tracer("t").start_as_current_span("click") as span:
        flow = chain(traced.tasks["awhere"].si(), traced.tasks["awhere"].si()).delay()
    assert flow.result(timeout=15) == hexed(span)[0][2:]  # type: ignore[arg-type]
    assert {each["attributes"][names.CONVERSATION] for each in spans("awhere", 2)} == {flow.id}


def test_a_call_that_is_refused_is_an_error_of_its_span(traced: Quaff, exporter: InMemorySpanExporter) -> None:
    """And nothing was sent."""
    with pytest.raises(EncodeError):
        traced.tasks["where"].delay(object())
    (sent,) = exporter.get_finished_spans()
    assert (sent.status.status_code, (sent.attributes or {})[names.ERROR_TYPE]) == (StatusCode.ERROR, "EncodeError")


def test_metrics_count_what_is_sent(quaff: Quaff) -> None:
    """By queue and task."""
    reader = InMemoryMetricReader()
    quaff.use(OpenTelemetry(meter_provider=MeterProvider([reader])))
    quaff.tasks["where"].map([()] * 3)
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    (point,) = metric.data.data_points
    assert (metric.name, getattr(point, "value", None)) == (names.SENT, 3)


def test_without_middleware_a_message_has_no_headers(stage: Stage, quaff: Quaff) -> None:
    """Who does not ask for it pays nothing; with it, they are in the message, signed and encrypted with the rest."""
    plain = quaff.tasks["where"].delay()
    assert plain.state == "queued"
    quaff.use(OpenTelemetry(tracer_provider=TracerProvider()))
    quaff.tasks["where"].delay()
    without, with_ = sorted((message.decode(each).terms for each in stage.raw().hvals(stage.key("msg"))), key=len)
    assert without == {}
    assert set(with_[message.HEADERS]) == {"traceparent"}


def test_headers_of_a_stranger_end_no_job(quaff: Quaff, spans: Spans) -> None:
    """Whatever stands in their place."""
    given: list[Any] = [7, ["x"], {"traceparent": 7}, {"traceparent": "00-zz-1"}, {7: "x"}, {"baggage": "=" * 9000}]
    for headers in given:
        sent = Submission(
            JobId("default", 0, ids.new_raw()), message.encode("where", [], {}, {message.HEADERS: headers}), "where"
        )
        assert quaff.send([sent])[0].result(timeout=15)["trace"] != "0" * 32
    assert len(spans("where", len(given))) == len(given)


def test_middleware_that_fails_ends_no_job(stage: Stage, quaff: Quaff) -> None:
    """The log says so."""
    worker = stage.worker("-p", "1", app=APP, environment={"BROKEN": "1"})
    assert quaff.tasks["where"].delay().result(timeout=15)
    worker.wait_for("Broken has failed; the job goes on without it")


def test_what_is_no_middleware_is_refused(quaff: Quaff) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match="subclass of quaff"):
        quaff.use(OpenTelemetry)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="auto, parent or link"):
        OpenTelemetry("child")  # type: ignore[arg-type]
    quaff.use(Middleware())
    assert quaff.tasks["where"].delay().id
