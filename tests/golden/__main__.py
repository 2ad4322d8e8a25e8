"""``python -m tests.golden``: write a dump of the version at hand, with real workers on a server of its own."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import quaff as package
from quaff import Concurrency, Inspector, Job, JobError, Quaff, chain, chord
from quaff.model.states import JobState
from quaff.store.keys import NAMES
from tests.chaos.fleet import children
from tests.engines import Server
from tests.golden import app
from tests.golden.dump import FOLDER, NAMESPACE, Golden, Known, names, take, text
from tests.helpers import Program, python, wait_until

RUNNING, QUEUED, BLOCKED = JobState.RUNNING, JobState.QUEUED, JobState.BLOCKED
#: Two processes, one of which dies of poison, and another worker for each queue that has to be left in a certain way.
#: The queue ``elsewhere`` is for later.
WORKERS = (
    ("-Q", "default", "-p", "2"),
    ("-Q", "alone", "-p", "1"),
    ("-Q", "crowded", "-p", "1", "-c", "1"),
    ("-Q", "narrow", "-p", "1"),
)
#: What was asked to stop is left to itself, and somebody tells of queues that are late.
SETTINGS = {"QUAFF_GRACE": "3600", "QUAFF_ALERT_WAIT": "3600"}
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
    # First, and alone: what else is in the process that dies would have to run alone from then on.
    maker.put("failed by poison", app.dies.delay(), "failed", "poison", ends="failed")
    maker.settle()
    for name, given in {"none": None, "text": "grüße", "nested": {"list": [1, 2.5, True]}, "large": 2**40}.items():
        maker.put(f"succeeded with {name}", app.value.delay(given), "succeeded", given)
    maker.put("succeeded with a key", app.value.options(key="k").delay(1), "succeeded", 1)
    maker.put("succeeded with a stream", app.talks.delay(["a", "b"]), "succeeded", 2)
    maker.put("failed by an error", app.fails.delay("no"), "failed", "error", ends="failed")
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


def in_other_queues(maker: Maker, folder: Path) -> None:
    """What runs alone, takes turns by weight, and stands in line at limits."""
    quaff, path = maker.quaff, folder / "crash"
    crashed = maker.put("queued to run alone", app.crashes.delay("alone", str(path)), QUEUED, "alone")
    wait_until(lambda: crashed.state == "running", 20, "its first start")
    quaff.queue("alone").pause()
    path.touch()
    several = app.weighted.map([("big", given) for given in ("first", "second", "third")])
    for job, given, state in zip(several, ("first", "second", "third"), (RUNNING, QUEUED, QUEUED), strict=True):
        maker.put(f"{given} of a weight", job, state, given)
    maker.put("running at a limit", app.occupied.delay("h", "first"), RUNNING, "first")
    maker.put("let through once a day", app.rationed.delay("h", "first"), "succeeded", "first")
    maker.settle()
    for number in ("second", "third"):
        maker.put(f"{number} in line for a place", app.occupied.delay("h", number), QUEUED, number)
        maker.put(f"{number} in line for tomorrow", app.rationed.delay("h", number), QUEUED, number)
    maker.settle()


def by_hand(maker: Maker) -> None:
    """What somebody has done to jobs, and will be asked for."""
    quaff = maker.quaff
    quaff.block("withheld")
    maker.put("put aside", app.withheld.delay("withheld"), QUEUED, "withheld")
    wait_until(lambda: quaff.queue("default").stats().parked == 1, 20, "what is put aside")
    maker.put("unique for an hour", app.once.delay("o"), "succeeded", "o")
    early = maker.put("told in advance", app.waits.options(delay=20).delay("early"), "scheduled", "early approved")
    early.signal("approved", "approved")
    stopped = maker.put("asked to stop", app.hangs.delay("never"), RUNNING, "enough", ends="cancelled")
    wait_until(lambda: stopped.state == "running", 20, "what is asked to stop")
    assert stopped.cancel("enough")
    threading.Thread(target=stopped.result, args=(600,), daemon=True).start()
    threading.Thread(target=lambda: [*stopped.watch(timeout=600)], daemon=True).start()
    quaff.limit("at:reception", Concurrency(1), hold=3600).__enter__()


def at_the_end(maker: Maker, client: Any, workers: Sequence[Program]) -> None:
    """What is there for a moment, held by stopping who would go on: a question, and an answer."""
    inspector = Inspector(maker.quaff)
    answered, open_ = (maker.sent[name][0].id for name in ("running with a step", "asked to stop"))
    assert inspector.ask_stack(answered)
    assert inspector.stack(answered, timeout=20)

    def missing() -> set[str]:
        return {*NAMES} - names(client.keys("*")) - {"requests"}

    with suppress(AssertionError):
        wait_until(lambda: not missing(), 30)
    assert not missing(), missing()
    for worker in workers:
        for pid in (worker.pid, *children(worker.pid)):
            os.kill(pid, signal.SIGSTOP)
    assert inspector.ask_stack(open_)


def make(client: Any, workers: Sequence[Program], folder: Path) -> Golden:
    """The dump, with workers that are killed once it is taken."""
    maker = Maker(app.quaff)
    before_the_pause(maker)
    by_hand(maker)
    in_other_queues(maker, folder)
    in_the_pause(maker)
    at_the_end(maker, client, workers)
    return Golden(package.__version__, 1, maker.known(), maker.flows, take(client))


def new_path() -> Path:
    """Of a dump of this version that is not there yet: what is there is never changed."""
    version = package.__version__
    paths = (FOLDER / f"{version}{f'-{n}' if n > 1 else ''}.jsonl" for n in itertools.count(1))
    return next(path for path in paths if not path.exists())


def main() -> None:
    """Write a file of this version."""
    path = new_path()
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"QUAFF_URL": server.url, "QUAFF_NAMESPACE": NAMESPACE, app.MAKING: "1", **SETTINGS}
        command = ("-m", "quaff", "worker", "-A", "tests.golden.app:quaff")
        workers = [python(*command, *words) for words in WORKERS]
        try:
            golden = make(server.redis, workers, Path(folder))
        finally:
            for worker in workers:
                for pid in (*children(worker.pid), worker.pid):
                    os.kill(pid, signal.SIGKILL)
                worker.end()
    path.write_text(text(golden))
    print(f"{path}: {len(golden.jobs)} jobs, {len(golden.keys)} keys, {path.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
