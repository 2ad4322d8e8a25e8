"""``quaff metrics`` and ``quaff healthcheck``: what they say is what there is."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.matrix import owners
from tests.model.test_metrics import parsed
from tests.worker.support import Stage
from tests.worker.test_health import ask, free_port

QUAFF = (sys.executable, "-m", "quaff")


@pytest.fixture
def stage(server_url: str, tmp_path: Path) -> Iterator[Stage]:
    """A namespace of its own."""
    stage = Stage(server_url, tmp_path)
    yield stage
    stage.end()


def quaff(stage: Stage, *words: str) -> tuple[int, str]:
    """A command on a stage: its exit code, and what it has said."""
    program = stage.command(*QUAFF, *words)
    code = program.wait()
    return code, program.output


def test_queues_are_told_as_metrics(stage: Stage) -> None:
    """By state, with the backlog, the counters, the age of the head and who serves them."""
    stage.many("tiny", [()] * 3)
    stage.send("tiny", delay=600)
    stage.quaff.queue("default").pause()
    code, text = quaff(stage, "metrics", "-A", "tests.worker.workapp:quaff", "-Q", "default")
    found = parsed(text + "\n")
    queue = ("queue", "default")
    assert code == 0
    assert found["quaff_up", frozenset()] == 1
    assert found["quaff_queue_depth", frozenset({queue, ("state", "queued")})] == 3
    assert found["quaff_queue_depth", frozenset({queue, ("state", "scheduled")})] == 1
    assert found["quaff_queue_backlog", frozenset({queue})] == 3
    assert found["quaff_queue_jobs_total", frozenset({queue, ("event", "enqueued")})] == 4
    assert found["quaff_queue_paused", frozenset({queue})] == 1
    assert found["quaff_queue_workers", frozenset({queue})] == 0
    assert found["quaff_workers", frozenset()] == 0
    assert found["quaff_schedule_lag_seconds", frozenset()] == 0
    assert 0 < found["quaff_queue_oldest_age_seconds", frozenset({queue})] < 60


def test_metrics_are_served_without_a_worker_and_with_queues_that_come_later(stage: Stage) -> None:
    """So that an autoscaler can start the first worker."""
    stage.send("tiny")
    port = free_port()
    # Which queues there are is nobody else's to ask.
    program = stage.command(*QUAFF, "metrics", "--serve", str(port), environment={"QUAFF_URL": owners(stage.url)})
    wait_until(lambda: ask(port, "/livez")[0] == 200, 15, program.output)
    assert json.loads(ask(port, "/autoscale?queue=default")[1])["backlog"] == 1
    stage.send("tiny", queue="later")
    assert json.loads(ask(port, "/autoscale")[1])["backlog"] == 2
    status, text = ask(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert status == 200
    assert parsed(text, open_metrics=True)["quaff_queue_backlog", frozenset({("queue", "later")})] == 1
    assert ask(port, "/")[0] == 404
    program.send(signal.SIGINT)
    assert program.wait() == 0


def test_a_schedule_that_nobody_fires_is_late(stage: Stage) -> None:
    """Seconds since it should have."""
    stage.quaff.schedules.add("often", stage.quaff.tasks["tiny"], every=1)
    wait_until(lambda: stage.quaff.schedules.lag(["default"]) > 1.0, 10)
    assert stage.quaff.schedules.lag(["other"]) == 0


def test_a_container_asks_whether_its_worker_is_ready(stage: Stage) -> None:
    """At its port, or of the server, where it has none."""
    port = free_port()
    assert quaff(stage, "healthcheck", "--health", str(port))[0] == 1
    assert quaff(stage, "healthcheck", "-Q", "default")[0] in (1, 2)
    worker = stage.worker("-p", "1", "--health", str(port))
    assert quaff(stage, "healthcheck", "--health", str(port)) == (0, "ok")
    assert quaff(stage, "healthcheck", "--live", "--health", str(port)) == (0, "ok")
    wait_until(lambda: quaff(stage, "healthcheck", "-Q", "default")[0] == 0, 15)
    assert worker.stop() == 0
    code, text = quaff(stage, "healthcheck", "--health", str(port))
    assert (code, text.startswith("nobody answers")) == (1, True)
    assert quaff(stage, "healthcheck", "-Q", "default")[0] == 1


def test_a_question_that_makes_no_sense_is_refused(stage: Stage) -> None:
    """Exit code 2."""
    assert quaff(stage, "healthcheck", "--live")[0] == 2
    assert quaff(stage, "healthcheck", "--health", "here")[0] == 2
    assert quaff(stage, "metrics", "--serve", "here")[0] == 2
