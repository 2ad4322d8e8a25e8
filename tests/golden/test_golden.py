"""F58: what each release has stored is read, finished and found right by this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import quaff as package
from quaff import Inspector, Job, JobError, JobExpired, Quaff, RateLimit, StoreError
from quaff.audit.auditor import Audit
from quaff.store.keys import NAMES
from quaff.store.pages import partitions
from quaff.store.probe import Line
from quaff.task import Task
from tests.engines import Server
from tests.golden import app
from tests.golden.dump import FOLDER, NAMESPACE, Golden, load, names, read
from tests.helpers import Program, wait_until

ROOT = Path(__file__).parents[2]
GOLDEN = sorted(FOLDER.glob("*.jsonl"))
#: The number of what is stored now. It rises with each change after which an older program must not touch a queue.
SCHEMA = 1
OVER = ("succeeded", "failed", "cancelled", "expired")


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> Golden:
    """One release after the other."""
    return read(request.param)


@pytest.fixture
def server(golden: Golden) -> Iterator[Server]:
    """A server with what that release had stored."""
    with Server() as server:
        load(server.redis, golden)
        yield server


@pytest.fixture
def quaff(server: Server) -> Iterator[Quaff]:
    """The application on it."""
    settings = {"result_ttl": app.FOREVER, "failed_ttl": app.FOREVER, "key_window": app.FOREVER}
    quaff = Quaff(server.url, namespace=NAMESPACE, **settings)
    for name, task in app.quaff.tasks.items():
        quaff.tasks[name] = Task(quaff, task.name, task.fn, task.settings)
    yield quaff
    quaff.store.endpoint.pool().disconnect()
    quaff.store.endpoint.tidy()


@pytest.fixture
def serve(server: Server, start_worker: Callable[..., Program]) -> Callable[..., Program]:
    """Starts a worker with the tasks of the dump."""
    env = {"QUAFF_URL": server.url, "QUAFF_NAMESPACE": NAMESPACE, "QUAFF_LEASE": "1"}
    return lambda *words, **options: start_worker(
        "tests.golden.app:quaff", "-p", "2", *words, cwd=ROOT, env=env, **options
    )


def value_of(job: Job[object]) -> object:
    """Its result, or the reason why it has none; None for what has expired, and for what has not ended."""
    try:
        return job.result(timeout=5) if job.state in OVER else None
    except JobExpired:
        return None
    except JobError as error:
        return getattr(error, "reason", type(error).__name__)


def audit(quaff: Quaff) -> list[object]:
    """What is wrong."""
    line = Line(quaff.store.endpoint)
    found: list[object] = []
    for home, keys in partitions([line], NAMESPACE).items():
        one = Audit(line, home, keys, quaff.settings.max_crashes)
        found += [*one.run(), *one.unchecked]
    line.close()
    return found


def test_this_version_has_its_dump() -> None:
    """With every key that there is. Otherwise: ``python -m tests.golden``; those that are there stay as they are."""
    held = {name for path in GOLDEN if (dump := read(path)).version == package.__version__ for name in names(dump.keys)}
    assert held >= {*NAMES}, {*NAMES} - held
    assert all(path.stat().st_size < 100_000 for path in GOLDEN), "each is small"


def test_a_dump_has_a_job_in_every_state(golden: Golden) -> None:
    """Else it would show little; what has expired is made so by the next test but one."""
    states = {job.state for job in golden.jobs.values()} | {job.ends[0] for job in golden.jobs.values()}
    assert states >= {"scheduled", "blocked", "queued", "running", "retrying", *OVER}
    wanted = "prio sched_def uniq heirs limits rates backlog flows nodes steps chunks logs prog dead tomb ghosts outbox"
    assert names(golden.keys) >= set(wanted.split()), set(wanted.split()) - names(golden.keys)


def test_every_job_of_a_dump_is_read(golden: Golden, quaff: Quaff) -> None:
    """F58: state, value, attempts, steps and lines; keys still protect; flows and schedules are there."""
    for name, known in golden.jobs.items():
        job = quaff.job(known.id)
        assert (name, job.state, value_of(job)) == (name, known.state, known.value)
        assert (name, job.info().state, job.info().id) == (name, known.state, known.id)
    assert audit(quaff) == []
    assert golden.schema == SCHEMA

    def named(name: str) -> Job[object]:
        return quaff.job(golden.jobs[name].id)

    assert list(named("succeeded with a stream").stream()) == ["a", "b"]
    running = named("running with a step").info()
    assert [(step.name, step.state) for step in running.steps] == [("one", "done")]
    assert running.progress is not None
    assert (running.progress.done, running.progress.note) == (1, "half of it")
    assert [line.text for line in running.logs] == ["half of it"]
    assert [attempt.outcome for attempt in named("retrying").info().attempts] == ["failed"]
    assert named("waiting for a signal").info().waiting_for == "approved"
    assert len(list(Inspector(quaff).failed(queue="default"))) == 2
    value = quaff.tasks["value"]
    assert value.options(key="k").delay(1).id == golden.jobs["succeeded with a key"].id
    assert [each.name for each in quaff.schedules.list()] == ["hourly"]
    assert quaff.queue("default").stats().paused
    assert {name: quaff.flow(id).state for name, id in golden.flows.items()} == dict.fromkeys(golden.flows, "running")


def test_what_was_done_by_hand_and_ended_last_is_read(golden: Golden, quaff: Quaff) -> None:
    """F58: what is blocked and put aside, who changed what, and what screens list; of a dump that has it."""
    queue, inspector = quaff.queue("default"), Inspector(quaff)
    listed = {row.id for row in inspector.jobs("state:succeeded,cancelled").jobs}
    known = {each.id for each in golden.jobs.values() if each.state in ("succeeded", "cancelled")}
    assert listed == (known if "recent" in names(golden.keys) else set())
    blocked = ["withheld()"] if "blocks" in names(golden.keys) else []
    assert queue.blocked() == blocked
    assert queue.stats().parked == len(blocked)
    words = {change.what for change in queue.changes()}
    assert words >= {"limit", "pause", "capacity", "schedule declared", *(["block", "stack"] if blocked else [])}


def test_every_job_of_a_dump_comes_to_its_end(golden: Golden, quaff: Quaff, serve: Callable[[], Program]) -> None:
    """F58: a worker of today does what was left over, with what was remembered; then nothing is left lying about."""
    for name in ("default", "alone"):
        quaff.queue(name).resume()
    quaff.unblock("withheld")
    quaff.job(golden.jobs["waiting for a signal"].id).signal("approved", "approved")
    # It was one in twenty seconds, and one a day.
    quaff.queue("default").set_limit(RateLimit(1000, key="in:{host}"), task="limited")
    quaff.queue("narrow").set_limit(RateLimit(1000, key="gate:{host}"), task="rationed")
    worker = serve()
    for name, known in golden.jobs.items():
        job = quaff.job(known.id)
        wait_until(lambda job=job: job.state in OVER, 30, f"the end of {name}: {job.state}\n{worker.output}")
        assert (name, job.state, value_of(job)) == (name, *known.ends)
    for id in golden.flows.values():
        assert quaff.flow(id).state == "succeeded"
    assert worker.stop() == 0
    assert audit(quaff) == []
    stats = quaff.queue("default").stats()
    assert stats.queued == stats.running == stats.blocked == stats.parked == stats.away == 0


def test_a_dump_of_a_later_schema_is_refused(
    golden: Golden, quaff: Quaff, server: Server, serve: Callable[..., Program]
) -> None:
    """F58: nobody reads it wrongly: callers are told, a worker says so and waits, and not a byte changes."""
    homes = [*partitions([Line(quaff.store.endpoint)], NAMESPACE)]
    for home in homes:
        server.redis.hset(home.key("meta"), "schema", SCHEMA + 1)
    before = {key: server.redis.dump(key) for key in sorted(server.redis.keys("*"))}
    with pytest.raises(StoreError, match=r"later release of Quaff: upgrade this program \[QF020\]"):
        quaff.tasks["value"].delay(1)
    with pytest.raises(StoreError, match="upgrade this program"):
        quaff.job(golden.jobs["queued"].id).info()
    worker = serve("-Q", ",".join(home.queue for home in homes), ready=False)
    worker.wait_for("later release of Quaff: upgrade this program")
    assert worker.stop() == 0
    assert {key: server.redis.dump(key) for key in sorted(server.redis.keys("*"))} == before
