"""Sentry: errors of jobs, and spans for sending and running them (the extra ``sentry``).

    from quaff.telemetry.sentry import Sentry
    quaff.use(Sentry())

What is sent where is for ``sentry_sdk.init(...)`` of the application to say; without it nothing is.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.consts import OP, SPANSTATUS
from sentry_sdk.utils import safe_repr

from quaff.middleware import Attempted, Middleware, Sending
from quaff.model.masking import Mask
from quaff.telemetry import names

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint


class Sentry(Middleware):
    """Each attempt has a scope of its own, and a transaction that goes on with the trace that sent its job.

    Args:
        retries: report errors of attempts that are followed by another one, too; by default only of jobs that are given
            up.
    """

    def __init__(self, *, retries: bool = False) -> None:
        self._retries = retries

    @contextmanager
    def sending(self, sending: Sending) -> Generator[None]:
        """A span, where the application is in a transaction."""
        with sentry_sdk.start_span(op=OP.QUEUE_PUBLISH, name=sending.task) as span:
            span.set_data(names.DESTINATION, sending.queue)
            yield
            if len(sending.ids) == 1:
                span.set_data(names.MESSAGE_ID, sending.ids[0])
            else:
                span.set_data(names.BATCH, len(sending.ids))

    def headers(self) -> Mapping[str, str]:
        """What makes it one trace."""
        found = {"sentry-trace": sentry_sdk.get_traceparent(), "baggage": sentry_sdk.get_baggage()}
        return {name: value for name, value in found.items() if value}

    @contextmanager
    def attempt(self, attempted: Attempted) -> Generator[None]:
        """A transaction in which the task runs; the error is sent when it is over."""
        with sentry_sdk.isolation_scope() as scope:
            scope.clear_breadcrumbs()
            scope.set_tag("quaff.task", attempted.task)
            scope.set_tag("quaff.queue", attempted.queue)
            if attempted.mask is not str:
                scope.add_event_processor(partial(_masked, attempted.mask))
            scope.set_context(
                "quaff job", {"id": attempted.id, "attempt": attempted.number, "worker": attempted.worker}
            )
            headers = attempted.headers[0] if attempted.jobs == 1 else {}
            begun = sentry_sdk.continue_trace(dict(headers), op=OP.QUEUE_PROCESS, name=attempted.task, source="task")
            with sentry_sdk.start_transaction(begun) as transaction:
                transaction.set_data(names.MESSAGE_ID, attempted.id)
                transaction.set_data(names.DESTINATION, attempted.queue)
                transaction.set_data(names.SIZE, attempted.size)
                transaction.set_data(names.RETRIES, attempted.number - 1)
                if attempted.waited >= 0:
                    transaction.set_data(names.LATENCY, attempted.waited * 1000)
                yield
                ended = attempted.ended
                if ended is None:
                    return
                transaction.set_status(SPANSTATUS.OK if ended.error is None else SPANSTATUS.INTERNAL_ERROR)
                if ended.error is not None and (self._retries or ended.state == "failed"):
                    sentry_sdk.capture_exception(ended.error)


def _masked(mask: Mask, event: Event, _: Hint) -> Event:
    """What is sent of an attempt with ``sensitive=`` arguments."""
    found: Event = _clean(mask, event)
    return found


def _clean(mask: Mask, value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        # Variables of frames are cut by now, and what is left of a value cannot be told any more.
        return {_clean(mask, key): _clean(mask, each) for key, each in value.items() if key != "vars"}
    if isinstance(value, list | tuple):
        return [_clean(mask, each) for each in value]
    shown = safe_repr(value)
    hidden = mask(shown)
    return value if hidden == shown else hidden
