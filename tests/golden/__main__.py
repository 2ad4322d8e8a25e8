"""``python -m tests.golden``: write the dump of the version at hand, with a real worker on a server of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import quaff as package
from quaff import Job, JobError, Quaff, chain, chord
from quaff.model.states import JobState
from tests.engines import Server
from tests.golden import app
from tests.golden.dump import FOLDER, NAMESPACE, Golden, Known, take, text
from tests.helpers import Program, python, wait_until

RUNNING, QUEUED, BLOCKED = JobState.RUNNING, JobState.QUEUED, JobState.BLOCKED
#: The other queue is for later; jobs that hang, and one process for the others.
ARGUMENTS = ("-Q", "default", "-p", "2")
Sent = tuple[Job[Any], str, tuple[str, Any]]


class Maker:
    """Sends jobs and waits until each is in the state for which it is there.

    Args:
        quaff: the application of the tasks.
    """

    def __init__(self, quaff: Quaff) -> None:
        self.quaff = quaff
        self.sent: dict[str, Sent] = {}
        self.flows: dict[str, str] = {}

    def put(self, name: str, job: Job[Any], state: str, value: Any = None, *, ends: str = "succeeded") -> Job[Any]:
        """One job: the state in which it is to be dumped, and what becomes of it in the end."""
        self.sent[name] = (job, state, (ends, value))
        return job

    def settle(self) -> None:
        """Wait until all are where they have to be."""
        for name, (job, state, _) in self.sent.items():
            wait_until(lambda job=job, state=state: job.state == state, 30, f"{name} as {state}, it is {job.state}")

    def known(self) -> dict[str, Known]:
        """What is expected of each."""
        return {name: Known(job.id, state, ended(job), ends) for name, (job, state, ends) in self.sent.items()}


def ended(job: Job[Any]) -> Any:
    """The result of a job that has ended, or the reason why it has none."""
    if job.state not in ("succeeded", "failed", "cancelled", "expired"):
        return None
    try:
        return job.result(timeout=5)
    except JobError as error:
        return getattr(error, "reason", type(error).__name__)


def before_the_pause(maker: Maker) -> None:
    """What runs, has run, and comes back."""
    quaff = maker.quaff
    for name, given in {"none": None, "text": "grüße", "nested": {"list": [1, 2.5, True]}, "large": 2**40}.items():
        maker.put(f"succeeded with {name}", app.value.delay(given), "succeeded", given)
    maker.put("succeeded with a key", app.value.options(key="k").delay(1), "succeeded", 1)
    maker.put("succeeded with a stream", app.talks.delay(["a", "b"]), "succeeded", 2)
    maker.put("failed by an error", app.fails.delay("no"), "failed", "error", ends="failed")
    maker.put("failed by poison", app.dies.delay(), "failed", "poison", ends="failed")
    maker.put("retrying", app.again.delay("twice"), "retrying", "twice")
    maker.put("running with a step", app.hangs.delay("half"), RUNNING, "half")
    maker.put("waiting for a signal", app.waits.delay("was"), "scheduled", "was approved")
    maker.put("sleeping", app.sleeps.delay("slept"), "scheduled", "slept")
    maker.put("scheduled", app.value.options(delay=20).delay("later"), "scheduled", "later")
    off = maker.put("cancelled", app.value.options(delay=20).delay(0), "cancelled", "why", ends="cancelled")
    off.cancel("why")
    maker.put("limited and done", app.limited.delay("h", 1), "succeeded", 1)
    maker.put("unique and running", app.alone.delay("w", "first"), RUNNING, "first")
    quaff.queue("default").set_limit(app.limited.settings.rate[0], only="in:another")
    maker.settle()
    maker.put("blocked behind a unique one", app.alone.delay("w", "second"), BLOCKED, "second")
    flow = chain(app.value.s(1), app.elsewhere.s()).delay()
    maker.flows["a chain to another queue"] = flow.id
    maker.put("first of a chain", flow.job("value"), "succeeded", 1)
    maker.put("in another queue", flow.job("elsewhere"), QUEUED, 1)
    maker.settle()


def in_the_pause(maker: Maker) -> None:
    """What waits in line."""
    queue = maker.quaff.queue("default")
    queue.pause()
    queue.set_capacity(jobs=100_000)
    maker.put("expired", app.value.options(expires=datetime(2020, 1, 1, tzinfo=UTC)).delay(0), QUEUED, ends="expired")
    maker.put("queued", app.value.delay("plain"), QUEUED, "plain")
    maker.put("queued with a key", app.value.options(key="another").delay(2), QUEUED, 2)
    maker.put("queued with priority", app.value.options(priority=7).delay("first"), QUEUED, "first")
    maker.put("queued after all others", app.value.options(priority=-7).delay("last"), QUEUED, "last")
    for number in (2, 3):
        maker.put(f"limited {number}", app.limited.delay("g", number), QUEUED, number)
    for tenant in "ab":
        maker.put(f"in turns {tenant}", app.fair.delay(tenant, 1), QUEUED, 1)
    gone = maker.put("cancelled in line", app.value.delay(0), "cancelled", "gone", ends="cancelled")
    gone.cancel("gone")
    flow = chord([app.value.s(1), app.value.s(2)], app.total.s()).delay()
    maker.flows["a chord"] = flow.id
    maker.put("part of a chord", flow.job("value"), QUEUED, 1)
    maker.put("end of a chord", flow.job("total"), BLOCKED, 3)
    maker.settle()


def make(client: Any, start: Callable[[], Program]) -> Golden:
    """The dump, with a worker that is killed once it is taken."""
    maker = Maker(app.quaff)
    worker = start()
    try:
        before_the_pause(maker)
        in_the_pause(maker)
        known = maker.known()
        keys = take(client)
    finally:
        worker.end()
    return Golden(package.__version__, 1, known, maker.flows, keys)


def main() -> None:
    """Write the file of this version."""
    with Server() as server:
        os.environ |= {"QUAFF_URL": server.url, "QUAFF_NAMESPACE": NAMESPACE, app.MAKING: "1"}
        golden = make(server.redis, lambda: python("-m", "quaff", "worker", "-A", "tests.golden.app:quaff", *ARGUMENTS))
    path = FOLDER / f"{golden.version}.jsonl"
    path.write_text(text(golden))
    print(f"{path}: {len(golden.jobs)} jobs, {len(golden.keys)} keys, {path.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
