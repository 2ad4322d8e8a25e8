"""What a task leaves behind in Flask does not reach the next one, whatever became of it."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from quaff import JobFailed
from tests.helpers import Program, wait_until

ROOT = Path(__file__).parents[2]
FULL = bool(os.environ.get("FULL"))
JOBS = 10_000 if FULL else 400


@pytest.mark.early
@pytest.mark.timeout(600 if FULL else 120)
def test_each_attempt_has_a_context_of_its_own_that_is_torn_down(
    server_url: str,
    namespace: str,
    start_worker: Callable[..., Program],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tenth raises, one in a hundred is cut off, and each process is replaced after fifty jobs."""
    environment = {
        "QUAFF_URL": server_url,
        "QUAFF_NAMESPACE": namespace,
        "NOTES": str(tmp_path / "notes"),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'hygiene.db'}",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    from tests.integrations import hygieneapp

    app = hygieneapp.create_app()
    fates = ["hang" if n % 100 == 50 else "raise" if n % 10 == 0 else "fine" for n in range(JOBS)]
    spec = "tests.integrations.hygieneapp:create_app"
    worker = start_worker(spec, "-p", "2", "-c", "8", "--max-jobs", "50", cwd=ROOT, env=environment)
    with app.app_context():
        jobs = hygieneapp.work.map(list(enumerate(fates)))
        results = hygieneapp.quaff.wait_all(jobs, timeout=500, return_errors=True)
        told = collections.Counter(each.reason if isinstance(each, JobFailed) else "fine" for each in results)
        attempts = [attempt for job in jobs for attempt in job.info().attempts]
        idle = [hygieneapp.checked_out.delay(n).result(timeout=20) for n in range(20)]
    wanted = {"fine": fates.count("fine"), "error": fates.count("raise"), "timeout": fates.count("hang")}
    assert told == wanted
    notes = tmp_path / "notes"
    counts = wait_until(lambda: _settled(notes), 10, "the end of all teardowns")
    assert counts == {"attempt": len(attempts), "teardown": len(attempts)}
    # Jobs this small are claimed by the hundred, so a process runs more of them than --max-jobs before it can go.
    assert len({attempt.pid for attempt in attempts}) > (4 if FULL else 1)
    assert set(idle) == {0}
    assert worker.stop() == 0


def _settled(notes: Path) -> collections.Counter[str] | None:
    counts = collections.Counter(notes.read_text().split())
    return counts if counts["attempt"] == counts["teardown"] else None
