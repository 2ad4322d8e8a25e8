"""The worker's log as text and as JSON: what is logged inside a job says which one."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from quaff.task import Task
from quaff.worker.logs import JsonFormatter
from tests.helpers import wait_until
from tests.worker import logapp
from tests.worker.support import Stage, children

APP = "tests.worker.logapp:quaff"


def talk(stage: Stage) -> Task[Any, Any, Any]:
    """A task that logs in many ways."""
    task = logapp.quaff.tasks["talk"]
    return Task(stage.quaff, task.name, task.fn, task.settings)


def lines_of(output: list[str], message: str) -> list[dict[str, Any]]:
    """The lines with that message; what the task logs wrongly on purpose is told by ``logging``, in its own words."""
    return [
        line for line in map(json.loads, (each for each in output if each[:1] == "{")) if line["message"] == message
    ]


def test_each_line_of_a_worker_is_an_object_and_says_which_job_it_is_of(stage: Stage) -> None:
    """Also lines of a library, with their exceptions; the worker's own are of no job."""
    worker = stage.worker("-p", "1", "--log-format", "json", app=APP)
    job = talk(stage).delay()
    wait_until(lambda: lines_of(worker.stderr[:], "it failed"), 10, worker.output)
    (line,) = lines_of(worker.stderr, "it failed")
    assert (line["job_id"], line["job_task"], line["job_queue"], line["job_attempt"]) == (job.id, "talk", "default", 1)
    assert (line["level"], line["logger"]) == ("ERROR", "library.deep")
    assert line["exception"].endswith("ValueError: inside")
    (process,) = children(worker)
    worker.stop()
    (ready,) = lines_of(worker.stderr, f"ready: 1 of 1 processes, pid {process}")
    assert "job_id" not in ready


def test_a_line_of_text_has_the_job_at_its_end(stage: Stage) -> None:
    """Before the traceback."""
    worker = stage.worker("-p", "1", app=APP)
    job = talk(stage).delay()
    assert worker.wait_for("it failed").endswith(f"library.deep it failed [{job.id} talk, attempt 1, queue default]")


@pytest.mark.parametrize(
    ("text", "extra"),
    [("two\nlines", {}), ("\ud800 \x1b[2J", {"order": 7}), ("odd", {"what": object(), "message2": b"x"})],
)
def test_a_record_is_one_line_of_json_whatever_is_in_it(text: str, extra: dict[str, Any]) -> None:
    """Line ends, lone surrogates, and values that JSON has no word for."""
    record = logging.makeLogRecord({"msg": text, "name": "x", "levelname": "INFO", **extra})
    line = JsonFormatter().format(record)
    assert line.isprintable()
    assert json.loads(line)["message"] == text
    assert set(extra) <= set(json.loads(line))
