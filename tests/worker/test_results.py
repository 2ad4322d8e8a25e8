"""Results too large for the server, with real workers and files: kept, read, given on, lost, cleared."""

from __future__ import annotations

import os
import re
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quaff import (
    ConfigurationError,
    FileResults,
    JobFailed,
    Quaff,
    ResultDropped,
    ResultExpired,
    Workflow,
    chain,
    chord,
    group,
)
from quaff.http.answers import areport, report
from quaff.job import afound_of, found_of
from quaff.model import outcome
from quaff.task import Task
from quaff.worker import clearing
from tests.helpers import in_loop, wait_until
from tests.worker import storeapp
from tests.worker.support import Stage, kill, tree

APP = "tests.worker.storeapp:quaff"


class Large:
    """The tasks of storeapp.py on a stage, with a directory of results.

    Attributes:
        folder: where they are.
        quaff: reads them; bare: of the same application, and does not know where they are.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.folder = stage.folder / f"results-{stage.namespace}"
        self.quaff = self._application(results=FileResults(self.folder))
        self.bare = self._application()

    def _application(self, **settings: Any) -> Quaff:
        made = Quaff(self.stage.url, namespace=self.stage.namespace, **settings)
        for name, task in storeapp.quaff.tasks.items():
            made.tasks[name] = Task(made, task.name, task.fn, task.settings)
        return made

    def worker(self, *arguments: str, **environment: str) -> Any:
        """A worker that stores large results."""
        lease = environment.pop("lease", "30")
        own = {"RESULTS": str(self.folder), **environment}
        return self.stage.worker("-p", "1", "-c", "4", *arguments, app=APP, environment=own, LEASE=lease)

    def __getattr__(self, name: str) -> Task[Any, Any, Any]:
        return self.quaff.tasks[name]

    def files(self) -> list[Path]:
        """What is there."""
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def age(self) -> None:
        """The time of all of it is over."""
        for path in self.files():
            os.utime(path, (0, time.time() - 1))

    def clear(self) -> None:
        """What each worker does now and then."""
        assert self.quaff.results is not None
        clearing.clear(self.quaff, self.quaff.results)


@pytest.fixture
def alone(stage: Stage) -> Large:
    """A stage without a worker."""
    return Large(stage)


@pytest.fixture(scope="module")
def shared(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    """One worker for the tests that leave it and the files of others alone."""
    stage = Stage(server_url, tmp_path_factory.mktemp("large"))
    large = Large(stage)
    large.worker()
    yield large
    stage.end()


def test_a_large_result_comes_back_however_one_asks(shared: Large) -> None:
    """From threads and coroutines, one or many, of functions, coroutines and generators; small ones beside it."""
    jobs = shared.big.map([(5000,), (5,)])
    assert list(map(len, shared.quaff.wait_all(jobs, timeout=20))) == [5000, 5]
    assert len(jobs[0].result()) == len(shared.quaff.job(jobs[0].id).result()) == 5000
    assert shared.abig.delay(7000).result(timeout=20) == b"x" * 7000
    spoken = shared.spoken.delay()
    assert list(spoken.stream(timeout=20)) == ["one"]
    assert len(spoken.result()) == 5000

    async def main() -> list[int]:
        values = [await jobs[0].aresult(20), *await shared.quaff.await_all(jobs, timeout=20)]
        values.append((await areport(jobs[0], await afound_of(jobs[0])))["value"])
        values += await group(shared.big.s(3000), shared.abig.s(3001)).delay().aresult(20)
        return list(map(len, values))

    assert in_loop(shared.quaff, main) == [5000, 5000, 5, 5000, 3000, 3001]
    assert len(report(jobs[0], found_of(jobs[0]))["value"]) == 5000


def test_the_server_has_a_reference_and_the_file_is_for_this_user_alone(alone: Large) -> None:
    """Few bytes in the record; directories 0700, the file 0600, there for longer than the record."""
    alone.worker()
    job = alone.big.delay(100_000)
    job.result(timeout=20)
    found = job._look()
    assert len(found.record) < 300
    assert b"x" * 10 not in bytes(outcome.decode(found.record).value)
    (path,) = alone.files()
    assert path.stat().st_size >= 100_000
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(each.stat().st_mode) for each in (path.parent, alone.folder)} == {0o700}
    assert path.stat().st_mtime > time.time() + alone.quaff.settings.result_ttl


def test_take_deletes_what_is_stored(alone: Large) -> None:
    """In threads and coroutines; and what nobody can ask for (result_ttl=0) is not stored."""
    alone.worker()
    first, second, gone = alone.big.delay(5000), alone.big.delay(5001), alone.gone.delay(5000)
    for job in (first, second, gone):
        wait_until(lambda job=job: job.state == "succeeded")
    assert len(alone.files()) == 2
    assert len(first.take()) == 5000

    assert len(in_loop(alone.quaff, second.atake)) == 5001
    assert alone.files() == []
    with pytest.raises(ResultDropped):
        first.result()


def test_whoever_has_no_store_is_told_what_to_do(shared: Large, new_stage: Any) -> None:
    """A reader that was not told where results are, and a worker whose result is too large."""
    job = shared.big.delay(5000)
    job.result(timeout=20)
    for ask in (shared.bare.job(job.id).result, lambda: in_loop(shared.bare, shared.bare.job(job.id).aresult)):
        with pytest.raises(
            ConfigurationError, match=r"5,00\d bytes and kept outside the server.*Quaff\(results="
        ) as told:
            ask()
        assert job.id in str(told.value)
    without = Large(new_stage())
    without.stage.worker("-p", "1", app=APP)
    with pytest.raises(
        JobFailed, match=r"the limit is 1,000 \(MAX_RESULT\).*Quaff\(results=FileResults\(directory\)\)"
    ):
        without.abig.delay(5000).result(timeout=20)


def test_a_result_whose_data_are_gone_or_damaged_has_expired(alone: Large) -> None:
    """And the text says which file is missing, and where."""
    alone.worker()
    job = alone.big.delay(5000)
    job.result(timeout=20)
    (path,) = alone.files()
    path.write_bytes(b"half")
    with pytest.raises(ResultExpired, match=r"is damaged \(4 bytes of 5,00\d\)"):
        job.result()
    path.unlink()
    with pytest.raises(ResultExpired, match=f"{path.name} in FileResults.*is gone") as told:
        job.result()
    assert told.value.id == job.id
    assert [type(each) for each in alone.quaff.wait_all([job], return_errors=True)] == [ResultExpired]


def test_a_large_result_is_given_to_the_next_of_a_flow(shared: Large) -> None:
    """To functions, coroutines and batches, alone and deep inside an argument; a flow's own result has them too."""
    assert chain(shared.big.s(5000), shared.length.s()).delay().result(timeout=20) == 5000
    work = Workflow()
    work.add("one", shared.big.s(2000))
    work.add("two", shared.abig.s(3000))
    work.add("small", shared.big.s(3))
    work.add("all", shared.alength.s({"all": [work["one"], work["two"], work["small"]]}))
    found = work.delay().result(timeout=20)
    assert found == {"one": "x" * 2000, "two": b"x" * 3000, "small": "xxx", "all": 5003}
    assert chord([shared.big.s(1500), shared.big.s(2500)], shared.length.s()).delay().result(timeout=20) == 2


def test_large_and_small_results_of_a_batch_go_each_their_way(alone: Large) -> None:
    """And each job of a batch is given its own."""
    alone.worker()
    jobs = alone.mixed.map([(2000,), (2,), (3000,)])
    assert list(map(len, alone.quaff.wait_all(jobs, timeout=20))) == [2000, 2, 3000]
    assert len(alone.files()) == 2
    flows = [chain(alone.big.s(size), alone.lengths.s()).delay() for size in (4000, 4, 5000)]
    assert [flow.result(timeout=20) for flow in flows] == [4000, 4, 5000]
    there_and_back = chain(alone.mixed.s(6000), alone.length.s()).delay()
    assert there_and_back.result(timeout=20) == 6000


def test_a_job_whose_arguments_are_gone_is_undeliverable(alone: Large) -> None:
    """It has failed, with a text that says what is missing."""
    alone.worker()
    work = Workflow()
    work.add("one", alone.big.s(5000))
    work.add("two", alone.length.s(work["one"]), after=["one"])
    flow = work.delay()
    assert flow.result(timeout=20)["two"] == 5000
    for path in alone.files():
        path.unlink()
    flow.requeue(from_="two")
    wait_until(lambda: flow.state == "failed", 20)
    with pytest.raises(JobFailed, match=r"two: .*is gone") as told:
        flow.result(timeout=20)
    assert told.value.reason == "undeliverable"
    assert told.value.type == "ResultExpired"
    assert len(flow.job("two").info().attempts) == 1


def test_a_job_whose_arguments_cannot_be_read_now_is_tried_again(alone: Large) -> None:
    """Here because something else is in the way."""
    alone.worker()
    flow = chain(alone.big.s(5000), alone.length.s()).delay()
    assert flow.result(timeout=20) == 5000
    (path,) = alone.files()
    path.unlink()
    path.mkdir()
    last = next(node.name for node in flow.graph() if node.name.startswith("length"))
    assert flow.requeue(from_=last)
    wait_until(lambda: flow.state == "failed", 20)
    with pytest.raises(JobFailed, match="Is a directory") as told:
        flow.result(timeout=20)
    assert told.value.reason == "error"
    assert len(flow.job(last).info().attempts) == 3


def test_a_result_that_cannot_be_put_has_failed_and_is_tried_again(alone: Large) -> None:
    """As its task says; and the traceback says what could not be put, and where."""
    alone.folder.write_text("no directory")
    alone.worker()
    job = alone.big.delay(5000, "disk")
    with pytest.raises(JobFailed, match=r"File exists|Not a directory") as told:
        job.result(timeout=20)
    assert re.search(r"The result of big, 5,00\d bytes, could not be put into FileResults", told.value.traceback)
    assert len(alone.stage.runs("disk")) == 3
    with pytest.raises(JobFailed, match=r"File exists|Not a directory"):
        alone.abig.delay(5000).result(timeout=20)
    assert len(alone.big.delay(5).result(timeout=20)) == 5


def test_a_worker_that_dies_between_put_and_settle_leaves_a_file_and_no_job(alone: Large) -> None:
    """The job runs again, its result is that of the second attempt, and the first one's file goes by its age."""
    alone.worker(DEADLY=str(alone.stage.file()), lease="2")
    job = alone.big.delay(5000, "twice")
    assert len(job.result(timeout=30)) == 5000
    assert len(alone.stage.runs("twice")) == 2
    assert len(alone.files()) == 2
    alone.clear()
    assert len(alone.files()) == 2
    left = next(path for path in alone.files() if path.name not in _told(job))
    os.utime(left, (0, time.time() - 1))
    alone.clear()
    assert len(alone.files()) == 1
    assert len(job.result()) == 5000


def test_a_fenced_attempt_changes_no_result_and_its_file_goes_by_its_age(alone: Large) -> None:
    """SIGSTOP for a whole worker, a second run elsewhere, SIGCONT: what the first one stores is nobody's."""
    late = alone.worker(lease="2")
    gate = alone.stage.file()
    gate.write_text("")
    job = alone.stuck.delay("stuck", str(gate))
    gate.write_text(str(alone.stage.started("stuck").pid))
    stopped = tree(alone.stage, late)
    for pid in stopped:
        kill(pid, signal.SIGSTOP)
    alone.worker(lease="2")
    assert len(job.result(timeout=40)) == 5000
    for pid in stopped:
        kill(pid, signal.SIGCONT)
    gate.write_text("go on")
    late.wait_for("this run came too late (FENCED)")
    assert len(alone.files()) == 2
    assert len(job.result()) == 5000
    for path in alone.files():
        if path.name not in _told(job):
            os.utime(path, (0, time.time() - 1))
    alone.clear()
    assert [path.name in _told(job) for path in alone.files()] == [True]
    assert len(job.result()) == 5000


def test_what_a_flow_may_still_give_is_kept_and_cleared_when_the_flow_is_forgotten(alone: Large) -> None:
    """Whatever its time says; ``take`` leaves it, too."""
    alone.worker()
    flow = chain(alone.big.s(5000), alone.length.s()).delay()
    assert flow.result(timeout=20) == 5000
    alone.quaff.job(next(node.job for node in flow.graph() if node.name.startswith("big"))).take()
    alone.age()
    alone.clear()
    (path,) = alone.files()
    assert path.stat().st_mtime > time.time() + 60
    assert flow.requeue(from_=next(node.name for node in flow.graph() if node.name.startswith("length")))
    assert flow.result(timeout=20) == 5000
    forgetful = Quaff(alone.quaff.settings.url, namespace="elsewhere", results=FileResults(alone.folder))
    alone.age()
    assert forgetful.results is not None
    clearing.clear(forgetful, forgetful.results)
    assert alone.files() == []


def test_workers_clear_by_themselves(alone: Large) -> None:
    """What is overdue when one starts is gone soon."""
    results = FileResults(alone.folder)
    for number in range(300):
        results.put(f"{number:016x}-{'0' * 32}", b"old", -1)
    results.put(f"{'f' * 16}-{'0' * 32}", b"young", 60)
    alone.worker("-p", "2")
    wait_until(lambda: len(alone.files()) == 1, 20)


def _told(job: Any) -> str:
    """The record, as a text in which the name of a file can be found."""
    return bytes(job._look().record).decode("latin-1")
