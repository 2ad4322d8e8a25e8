"""F55: jobs that no worker here knows are put aside, quietly, and ever more rarely tried."""

from __future__ import annotations

import time
from pathlib import Path

from quaff.model import ids, message
from tests.helpers import wait_until
from tests.worker.support import Stage, after, children, cpu, load_of


def test_thousands_of_unknown_jobs_are_a_few_lines_in_the_log(stage: Stage) -> None:
    """F55: one line for each task that is not known, not one for each job and try; what is known runs in between."""
    for name in ("unknown", "unheard_of"):
        stage.quaff.task(lambda: None, name=name)
        stage.many(name, [()] * 1500)
    worker = stage.worker("-p", "1")
    raw, parked = stage.raw(), stage.key("parked")
    wait_until(lambda: raw.zcard(parked) == 3000, 15, "all are parked")
    for number in range(5):
        # Each second all of them are tried again, for they are young.
        after(0.5)
        assert stage.send("mark", f"mark {number}").result(timeout=5) == f"mark {number}"
    lines = [line for line in worker.stderr if "is parked" in line]
    assert len(lines) == 2, worker.output
    assert any("task 'unknown' is not registered" in line for line in lines)
    assert len(worker.stderr) < 10, worker.output
    assert worker.stop() == 0
    assert raw.hlen(stage.key("msg")) == 3000


LARGE_APP = """
from tests.worker.workapp import quaff

for number in range(400):
    quaff.task(name=f"yourapp.reports.tasks.send_weekly_report_{number}")(lambda: None)
"""


def test_unknown_jobs_cost_little_in_an_application_of_many_tasks(stage: Stage, tmp_path: Path) -> None:
    """F55: the name that is nearest to an unknown one is looked for once, not for each job and try."""
    (tmp_path / "largeapp.py").write_text(LARGE_APP)
    worker = stage.worker("-p", "1", app="largeapp:quaff", cwd=tmp_path)
    stage.quaff.task(lambda: None, name="yourapp.reports.tasks.send_weekly_reports")
    stage.many("yourapp.reports.tasks.send_weekly_reports", [()] * 500)
    (child,) = children(worker)
    before = cpu(child)
    wait_until(lambda: stage.raw().zcard(stage.key("parked")) == 500, 60, "all are parked")
    assert cpu(child) - before < 2
    assert "Did you mean 'yourapp.reports.tasks.send_weekly_report_" in worker.wait_for("is parked")


def test_an_old_job_is_tried_rarely_with_a_key_or_without(stage: Stage) -> None:
    """F55: the age of a keyed job is not in its id; it is in its message."""
    hours = 3 * 3_600_000
    now = time.time_ns() // 1_000_000
    then = now - hours
    old = ids.new_raw()
    old = then.to_bytes(6, "big") + old[6:]
    jobs = {
        ids.keyed_raw("default", "unknown", "k"): message.encode_keyed("unknown", [], {}, then),
        ids.keyed_raw("default", "unknown", "young"): message.encode_keyed("unknown", [], {}, now),
        old: message.encode("unknown", [], {}),
    }
    raw = stage.raw()
    with raw.pipeline(transaction=True) as pipe:
        pipe.hset(stage.key("msg"), mapping=jobs)
        pipe.lpush(stage.key("ready"), *jobs)
        pipe.hincrby(stage.key("meta"), "enqueued", len(jobs)).execute()
    worker = stage.worker("-p", "1")

    def waits() -> dict[bytes, float]:
        at = dict(raw.zrange(stage.key("parked"), 0, -1, withscores=True))
        return {id: score / 1000 - time.time() for id, score in at.items()}

    # The supervisor brings back all parked jobs once, when it starts; the young one is soon tried again.
    keyed, young, plain = jobs
    wait_until(lambda: len(at := waits()) == 3 and min(at[keyed], at[plain]) > 30, 10, f"{waits()}")
    # Not there while it is being tried.
    wait_until(lambda: waits().get(young, 9.0) < 3, 10, "the young one, put aside for a short time")
    (child,) = children(worker)
    assert load_of(child) < 0.2
    assert min(waits()[keyed], waits()[plain]) > 30
    assert worker.stop() == 0
