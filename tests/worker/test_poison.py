"""Every kind of poison at once, among many good jobs."""

from __future__ import annotations

import random

import pytest

from quaff import JobFailed
from tests.worker.support import Stage

#: How a job ends its process, and the word that must be in its error.
KINDS = {
    "SIGKILL": "SIGKILL",
    "segfault": "SIGSEGV",
    "stack": "SIGSEGV",
    "abort": "SIGABRT",
    "exit 0": "exit code 0",
    "exit 3": "exit code 3",
}


@pytest.mark.early
@pytest.mark.timeout(120)  # seventeen processes that die and are started again, beside other tests
def test_poison_of_each_kind_starts_three_times_among_a_thousand_good_jobs(stage: Stage) -> None:
    """F3, F12, F54 (pain 5): the true reason; each good job is done, in two starts at most; the supervisors live."""
    workers = [stage.worker("-p", "2", "-c", "4") for _ in range(2)]
    where = dict(zip(random.Random(5).sample(range(1000), len(KINDS)), KINDS, strict=True))
    good, poison = [], {}
    for number in range(1000):
        if number in where:
            poison[where[number]] = stage.send("die", where[number], where[number])
        good.append(stage.send("nap", f"good {number}", 0.005))
    for job in good:
        job.result(timeout=60)
    for kind, job in poison.items():
        with pytest.raises(JobFailed, match=KINDS[kind]) as caught:
            job.result(timeout=60)
        assert caught.value.reason == "poison"
        assert [each.outcome for each in job.info().attempts] == ["crashed"] * 3
    starts: dict[str, int] = {}
    runs = stage.runs()
    for run in runs:
        starts[run.tag] = starts.get(run.tag, 0) + 1
    assert {kind: starts.pop(kind) for kind in KINDS} == dict.fromkeys(KINDS, 3)
    assert len(starts) == 1000
    assert max(starts.values()) <= 2
    assert all(worker.process.poll() is None for worker in workers)
    # Charged: whose first run was cut short; not who had ended and could not say so any more. Also who died between its
    # start record and its first line: the record comes first, or a task that kills at once would be charged nothing.
    cut_short = {run.tag for run in runs if run.ended is None}
    outcomes = [[each.outcome for each in job.info().attempts] for job in good]
    for number, found in enumerate(outcomes):
        assert found in (["succeeded"], ["crashed", "succeeded"], ["unsettled", "succeeded"]), number
        # No run without a recorded cause. Who died before its first line has one more than the ledger.
        assert len(found) >= starts[f"good {number}"], number
        assert found[0] == "crashed" or f"good {number}" not in cut_short, number
    # With four threads each has three neighbours when it dies first; then it runs alone.
    assert sum(found[0] == "crashed" for found in outcomes) <= 3 * len(KINDS)


def test_poison_is_poison_whatever_retries_it_has(stage: Stage) -> None:
    """Crashes and failures are counted apart: three of the one, and as many of the other as the task allows."""
    stage.worker("-p", "1")
    job = stage.send("crashes_and_fails", "both")
    assert job.result(timeout=30) == 5
    assert [each.outcome for each in job.info().attempts] == ["crashed", "failed", "crashed", "failed", "succeeded"]
