"""F65: asked for a result while it expires, at any moment and in any way: always one of the true answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from quaff import Job, JobNotFound, Quaff, ResultExpired
from quaff.model import codec, outcome
from quaff.model.ids import JobId
from quaff.model.outcome import Attempt, Outcome
from quaff.store.transitions import Call
from tests.helpers import in_loop, wait_until
from tests.store.engine import Desk, process_id

VALUE = "what came of it"
RECORD = outcome.encode(Outcome("t", 0, Attempt(1, 1, 2, "w", 1, "succeeded"), msgspec.Raw(codec.pack(VALUE))))


@pytest.fixture
def quaff(server_url: str, namespace: str) -> Iterator[Quaff]:
    """An application on that queue."""
    quaff = Quaff(server_url, namespace=namespace)
    yield quaff
    quaff.store.endpoint.abandon_pool()


def job_of(quaff: Quaff, id: bytes) -> Job[Any]:
    """The handle of a job."""
    return quaff.job(str(JobId("default", 0, id)))


def when_told(quaff: Quaff, act: Callable[[], object]) -> None:
    """Whoever is told that his job has ended is told so just before something happens."""
    run, arun = quaff.store.run, quaff.store.aio.run

    def passed_on(call: Call[Any], answer: Any) -> Any:
        if call.script.name == "watch" and b"s" in answer:
            act()
        return answer

    async def asend(call: Call[Any]) -> Any:
        return passed_on(call, await arun(call))

    quaff.store.run = lambda call: passed_on(call, run(call))  # type: ignore[method-assign]
    quaff.store.aio.run = asend  # type: ignore[method-assign]


ASK: dict[str, Callable[[Quaff, Job[Any]], Any]] = {
    "result": lambda _, job: job.result(10),
    "take": lambda _, job: job.take(10),
    "wait_all": lambda quaff, job: quaff.wait_all([job], 10)[0],
    "aresult": lambda quaff, job: in_loop(quaff, lambda: job.aresult(10)),
}


@pytest.mark.parametrize("ask", ASK)
@pytest.mark.parametrize("error", [None, ResultExpired, JobNotFound])
def test_who_waits_and_comes_a_moment_too_late_is_told_what_is_so_by_then(
    desk: Desk, quaff: Quaff, ask: str, error: type[Exception] | None
) -> None:
    """F65: the value was there when the end was told, and is gone at the look at it, perhaps with all of the job."""
    (id,) = desk.put(b"m")
    me = process_id()
    leases = desk.take(me)
    told: list[bytes] = []

    def expire() -> None:
        told.append(id)
        if error is not None:
            (desk.let_results_expire if error is ResultExpired else desk.let_tombstones_expire)(id)
            assert desk.sweep().expired == 1

    when_told(quaff, expire)

    def end() -> None:
        wait_until(lambda: desk.dump().watched, 10, "somebody who waits")
        desk.settle(me, *leases, record=RECORD)

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(end)
        if error is None:
            assert ASK[ask](quaff, job_of(quaff, id)) == VALUE
        else:
            with pytest.raises(error):
                ASK[ask](quaff, job_of(quaff, id))
        ended.result()
    assert told == [id]


def test_what_one_is_told_while_it_expires_goes_one_way(desk: Desk, quaff: Quaff) -> None:
    """F65: the value, then that it was there, then nothing, while somebody sweeps all the time."""
    me, met, over = process_id(), Counter[str](), threading.Event()
    sweeping = Desk(desk.url, desk.home.namespace)
    sweeping.home = desk.home

    def sweep() -> None:
        while not over.is_set():
            sweeping.sweep()

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for _ in range(40):
            (id,) = desk.put(b"m")
            desk.settle(me, *desk.take(me), ttl_ms=15, window_ms=30, record=RECORD)
            seen = [look(job_of(quaff, id))]
            while seen[-1] != "unknown":
                seen.append(look(job_of(quaff, id)))
            assert [*dict.fromkeys(seen)] == sorted(set(seen), key=["kept", "expired", "unknown"].index), seen
            met.update(set(seen))
    finally:
        over.set()
        sweeper.join()
        sweeping.close()
    assert set(met) == {"kept", "expired", "unknown"}, met


def look(job: Job[Any]) -> str:
    """One of the true answers."""
    try:
        assert job.result(0) == VALUE
    except ResultExpired:
        return "expired"
    except JobNotFound:
        return "unknown"
    return "kept"


def test_a_value_that_is_due_is_gone_though_nobody_sweeps(desk: Desk, quaff: Quaff) -> None:
    """F65: when it expires is no matter of who lives; that the job succeeded is known on."""
    me = process_id()
    (id,) = desk.put(b"m")
    job = job_of(quaff, id)
    desk.settle(me, *desk.take(me), ttl_ms=50, record=RECORD)
    wait_until(lambda: look(job) == "expired", 5, "the end of its time")
    assert job.state == job.info().state == "succeeded"
    assert desk.dump().res == {id: RECORD}
