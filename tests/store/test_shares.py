"""A call does its share of work and no more, whatever its jobs ask for; who called is told where it left off."""

from __future__ import annotations

import pytest

from quaff.model.limits import Concurrency, FairBy, RateLimit, Unique
from quaff.model.placement import Placement
from quaff.model.states import JobState
from quaff.store import transitions as t
from quaff.store.bulk import PLACED
from quaff.store.transitions import PORTION, Lease, Verdict
from tests.store.engine import HOUR, Desk, fifo, process_id
from tests.store.test_placement import at

ME = process_id()


def wishing(number: int, **more: object) -> Placement:
    """A job that asks for all that there is."""
    limits = (RateLimit(10**6, per=1, burst=10**6, key="{key}"), Concurrency(10**6, key="all"))
    unique = Unique(on_conflict="replace")
    return at(priority=3, unique=unique, limits=limits, fair_by=FairBy("{key}", cap=3), key=number, **more)  # type: ignore[arg-type]


def crowd(desk: Desk, count: int = 200) -> list[bytes]:
    """So many of them."""
    ids: list[bytes] = []
    for first in range(0, count, PLACED):
        ids += desk.place(*((b"%d" % n, wishing(n)) for n in range(first, min(count, first + PLACED))))
    return ids


def all_of(desk: Desk, process: bytes = ME, count: int = 200) -> list[Lease]:
    """They are claimed, in several calls: what is left is said each time."""
    leases: list[Lease] = []
    for _ in range(count):
        number = next(desk._numbers)
        answer = desk.claim(process, number, b"c%d" % number, PORTION)
        leases += answer.leases
        assert len(answer.leases) < PORTION / 4
        if not answer.left and answer.again_ms != 0:
            break
    assert len(leases) == count
    return leases


def test_a_claim_of_jobs_with_limits_ends_early_and_says_that_some_are_left(desk: Desk) -> None:
    """So that whoever asked asks again at once."""
    crowd(desk)
    assert [int(message) for message in fifo(all_of(desk))] == list(range(200))


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.RETRYING])
def test_a_settle_of_jobs_with_limits_leaves_some_for_later(desk: Desk, state: JobState) -> None:
    """Those are as they were, and are settled by the next call; each once."""
    crowd(desk)
    items = [(lease.id, lease.token, state, HOUR, b"", b"record") for lease in all_of(desk)]
    call = t.settle(desk.home, process=ME, window_ms=HOUR, items=items)
    verdicts = desk.store.run(call)
    settled = verdicts.count(Verdict.OK)
    assert 0 < settled < 200
    assert verdicts == [Verdict.OK] * settled + [Verdict.LATER] * (200 - settled)
    assert len(desk.dump().active) == 200 - settled
    assert set(desk.settle(ME, *((id, token) for id, token, *_ in items[settled:]), state=state)) == {Verdict.OK}
    assert desk.dump().active == {}


def test_a_settle_of_plain_jobs_takes_as_many_as_a_worker_sends(desk: Desk) -> None:
    """The plain path pays nothing for it."""
    desk.put(*[b"m"] * PORTION)
    items = [(lease.id, lease.token, JobState.SUCCEEDED, HOUR, b"", b"record") for lease in desk.take(ME, PORTION)]
    verdicts = desk.store.run(t.settle(desk.home, process=ME, window_ms=HOUR, items=items))
    assert verdicts == [Verdict.OK] * PORTION


def test_a_release_begins_with_the_last_so_that_the_order_is_kept(desk: Desk) -> None:
    """Each goes to the head of the line, before those that were given back by the call before."""
    desk.put(*(b"%d" % n for n in range(PORTION)))
    leases = desk.take(ME, PORTION)
    items = [(lease.id, lease.token, 0, b"") for lease in leases]
    verdicts = desk.store.run(t.release(desk.home, process=ME, items=items))
    later = verdicts.count(Verdict.LATER)
    assert 0 < later < PORTION
    assert verdicts == [Verdict.LATER] * later + [Verdict.OK] * (PORTION - later)
    desk.dump()
    assert set(desk.release(ME, *leases[:later])) == {Verdict.OK}
    assert fifo(desk.take(ME, PORTION)) == [b"%d" % n for n in range(PORTION)]
