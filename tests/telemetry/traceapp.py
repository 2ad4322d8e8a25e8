"""What the tests of traces have their workers run; what a worker sends goes to a file, a line each."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from quaff import Batch, Quaff, Retry, current_job
from quaff.middleware import Middleware
from quaff.telemetry.opentelemetry import OpenTelemetry

quaff = Quaff()

if path := os.environ.get("SPANS"):
    provider = TracerProvider()
    out = open(path, "a", buffering=1)  # noqa: SIM115  for as long as the process lives
    provider.add_span_processor(
        SimpleSpanProcessor(ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(indent=None) + "\n"))
    )
    trace.set_tracer_provider(provider)
    quaff.use(OpenTelemetry())

if path := os.environ.get("ENVELOPES"):
    import sentry_sdk
    from sentry_sdk.envelope import Envelope
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.transport import Transport

    from quaff.telemetry.sentry import Sentry

    class ToFile(Transport):
        """Keeps what would be sent."""

        def capture_envelope(self, envelope: Envelope) -> None:
            """A line for each item."""
            told = [json.dumps([item.type, item.payload.json], default=str) for item in envelope.items]
            with open(os.environ["ENVELOPES"], "a") as file:
                file.write("".join(f"{line}\n" for line in told))

    sentry_sdk.init(
        dsn="http://key@localhost/1",
        transport=ToFile,
        traces_sample_rate=1.0,
        default_integrations=False,
        integrations=[LoggingIntegration()],
    )
    quaff.use(Sentry())


class Broken(Middleware):
    """Raises wherever it can."""

    def attempt(self, attempted: Any) -> Any:
        """It has a bug."""
        raise RuntimeError("a bug of the middleware")


if os.environ.get("BROKEN"):
    quaff.use(Broken())


@quaff.task(name="where")
def where(secret: str = "") -> dict[str, str]:
    """The trace it runs in, and the baggage."""
    found = trace.get_current_span().get_span_context()
    return {"trace": f"{found.trace_id:032x}", "tenant": str(baggage.get_baggage("tenant"))}


@quaff.task(name="awhere")
async def awhere() -> str:
    """As ``where``, in a coroutine that waits."""
    await asyncio.sleep(0.01)
    return f"{trace.get_current_span().get_span_context().trace_id:032x}"


@quaff.task(name="sends")
def sends() -> str:
    """Sends another job."""
    return where.delay().id


@quaff.task(name="fails_once", retries=1, backoff=0.01)
def fails_once() -> int:
    """Fails, and then does not."""
    if current_job.attempt == 1:
        raise Retry("not yet") from ValueError("inside")
    return current_job.attempt


@quaff.task(name="fails_always", retries=1, backoff=0.01)
def fails_always() -> None:
    """Is given up."""
    raise LookupError("nothing there")


@quaff.task(name="together", queue="batches", batch=Batch(10, within=0.5))
def together(calls: list[tuple[int]]) -> None:
    """Several at once."""


def tells(note: str) -> None:
    """Say it wherever it can be said."""
    current_job.log(f"it is {note}")
    current_job.progress(1, 2, note)
    logging.getLogger("shop").error("it is %r", note)
    kept = {"note": note}
    raise LookupError(f"nothing like {note}") from ValueError(kept)


@quaff.task(name="tells", sensitive=("note",), retries=1, backoff=0.01)
def tells_in_a_thread(note: str, path: str = "") -> None:
    """Wait for a file, and say what it was given wherever it can."""
    while path and not Path(path).exists():
        threading.Event().wait(0.01)
    tells(note)


@quaff.task(name="atells", sensitive=("note",), retries=1, backoff=0.01)
async def tells_in_a_loop(note: str) -> None:
    """As ``tells``."""
    await asyncio.sleep(0.01)
    tells(note)


class Note(NamedTuple):
    """One call of ``tells_of_all``."""

    note: str


@quaff.task(name="tells_of_all", queue="batches", batch=Batch(10, within=0.5), sensitive=("note",))
def tells_of_all(notes: list[Note]) -> None:
    """As ``tells``, of all that it was given."""
    tells(" and ".join(each.note for each in notes))
