"""Errors and spans of jobs, as the real SDK would send them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from quaff import JobFailed, Quaff
from quaff.telemetry import names
from tests.helpers import wait_until
from tests.telemetry.conftest import APP, lines
from tests.worker.support import Stage

Sent = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def sent(stage: Stage) -> Sent:
    """What a worker that is started for it has sent, by kind."""
    path = stage.file()
    stage.worker("-p", "1", "-c", "2", app=APP, environment={"ENVELOPES": str(path)})
    return lambda kind: [payload for each, payload in lines(path) if each == kind]


def test_the_error_of_a_job_is_reported_when_it_is_given_up(quaff: Quaff, sent: Sent) -> None:
    """Once, not for each attempt, with its frames, and with what it is about."""
    job = quaff.tasks["fails_always"].delay()
    with pytest.raises(JobFailed):
        job.result(timeout=15)
    (event,) = wait_until(lambda: sent("event"), 10)
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("LookupError", "nothing there")
    assert error["stacktrace"]["frames"][-1]["function"] == "fails_always"
    assert event["tags"] == {"quaff.task": "fails_always", "quaff.queue": "default"}
    assert event["contexts"]["quaff job"]["id"] == job.id
    assert event["contexts"]["quaff job"]["attempt"] == 2
    assert event["transaction"] == "fails_always"


def test_an_error_that_is_followed_by_another_attempt_is_not_reported(quaff: Quaff, sent: Sent) -> None:
    """Both attempts are transactions, with how they ended."""
    assert quaff.tasks["fails_once"].delay().result(timeout=15) == 2
    wait_until(lambda: len(sent("transaction")) == 2, 10)
    about = [each["contexts"]["trace"] for each in sent("transaction")]
    assert [(each["op"], each["status"]) for each in about] == [
        ("queue.process", "internal_error"),
        ("queue.process", "ok"),
    ]
    assert [each["data"][names.RETRIES] for each in about] == [0, 1]
    assert sent("event") == []


def test_what_a_task_sends_is_in_its_trace(quaff: Quaff, sent: Sent) -> None:
    """With a span for the sending."""
    inner = quaff.tasks["sends"].delay().result(timeout=15)
    quaff.job(inner).result(timeout=15)
    wait_until(lambda: len(sent("transaction")) == 2, 10)
    found = {each["transaction"]: each for each in sent("transaction")}
    (span,) = found["sends"]["spans"]
    assert (span["op"], span["data"][names.MESSAGE_ID]) == ("queue.publish", inner)
    outer, below = found["sends"]["contexts"]["trace"], found["where"]["contexts"]["trace"]
    assert below["trace_id"] == outer["trace_id"]
    assert below["parent_span_id"] == span["span_id"]
    assert below["data"][names.LATENCY] >= 0
