"""``sensitive=``: arguments that are shown nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from quaff import ConfigurationError, JobFailed, Quaff
from quaff.model import message
from quaff.model.masking import MASKED, mask_of
from quaff.task import Task
from tests.helpers import wait_until
from tests.worker import sensitiveapp
from tests.worker.support import Stage

CANARY = "s3cret 'canary' \n of this test"
PARTS = ("s3cret", "canary")


def test_a_secret_is_shown_nowhere(stage: Stage) -> None:
    """S17: errors, tracebacks, lines, progress, the worker's log at its loudest; what is beside it is shown."""
    quaff = Quaff(stage.url, namespace=stage.namespace)
    for name, task in sensitiveapp.quaff.tasks.items():
        quaff.tasks[name] = Task(quaff, task.name, task.fn, task.settings)
    worker = stage.worker("-p", "1", "-l", "debug", app="tests.worker.sensitiveapp:quaff")
    first = quaff.tasks["sign_in"].delay("ann", CANARY, {"token": f"{CANARY} too"})
    second = quaff.tasks["slow"].delay(CANARY)
    wait_until(lambda: first.state == second.state == "failed", 15, "the end of both")
    wait_until(lambda: len(first.info().logs) >= 2, 10, "its lines")
    shown: list[Any] = [first.info(), second.info(), first, second]
    for job in (first, second):
        with pytest.raises(JobFailed) as caught:
            job.result()
        shown += [str(caught.value), caught.value.traceback]
    text = "\n".join([repr(each) for each in shown] + [line for line in worker.stderr if "quaff" in line])
    assert not any(part in text for part in PARTS), text
    assert "ann" in text
    assert text.count(MASKED) > 8
    assert len(second.info().attempts) == 2


def test_a_mask_finds_values_at_any_depth() -> None:
    """S17: in containers and in bytes, the longer ones first; what is too short is left."""
    mask = mask_of([{"a": ["hunter22", b"bytes-secret"]}, "hunter2", 123456, None, True, "ab"])
    shown = mask("hunter22 hunter2 b'bytes-secret' 123456 None True ab")
    assert shown == f"{MASKED} {MASKED} b'{MASKED}' {MASKED} None True ab"


def test_what_is_no_parameter_is_refused() -> None:
    """S17: a misspelt name would protect nothing. A rule that blocks jobs is shown, so it has no secret in it."""
    quaff = Quaff()
    with pytest.raises(ConfigurationError, match="pasword"):
        quaff.task(lambda password: None, name="a", sensitive=("pasword",))
    with pytest.raises(ConfigurationError, match="give names"):
        quaff.task(lambda password: None, name="b", sensitive="password")
    task = quaff.task(lambda password: None, name="c", sensitive=("password",))
    with pytest.raises(ConfigurationError, match="sensitive"):
        quaff.block(task, password="x")
    assert "hidden" not in repr(message.decode(message.encode("c", ["hidden"], {})))
