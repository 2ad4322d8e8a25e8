"""What each script promises in its header: settle and lookup."""

from __future__ import annotations

from typing import Any

import pytest

from quaff.model import ids
from quaff.model.states import JobState
from quaff.store.transitions import BATCH, Verdict
from tests.store.engine import Desk, process_id, unchanged

OK, ALREADY, FENCED, GONE, _ = Verdict


class TestSettle:
    """settle: running -> succeeded | failed | cancelled."""

    def test_every_verdict_in_one_batch(self, desk: Desk) -> None:
        """OK, ALREADY, FENCED in its three ways, and GONE; the others do not spoil the one that is right (F2, F28)."""
        mine, done, taken, waiting, others = desk.put(b"1", b"2", b"3", b"4", b"5")
        process, other = process_id(), process_id()
        leases = {lease.id: lease for lease in desk.take(process, 4)}
        foreign = desk.take(other)
        desk.settle(process, leases[done])
        desk.release(process, leases[taken])
        desk.take(other)
        desk.release(process, leases[waiting])
        unknown = ids.new_raw()
        batch = [
            leases[mine],
            leases[done],
            leases[taken],
            leases[waiting],
            (done, b"other token"),
            (others, leases[mine].token),
            (unknown, b"token"),
        ]
        assert desk.settle(process, *batch) == [OK, ALREADY, FENCED, FENCED, FENCED, FENCED, GONE]
        repeated = unchanged(desk, lambda: desk.settle(process, *batch))
        assert repeated == [ALREADY, ALREADY, FENCED, FENCED, FENCED, FENCED, GONE]
        assert desk.settle(other, *foreign) == [OK]

    def test_a_token_that_only_begins_like_the_right_one_is_fenced(self, desk: Desk) -> None:
        """Compared as a whole, in either direction."""
        (id,) = desk.put(b"m")
        process = process_id()
        (lease,) = desk.take(process)
        for token in (lease.token + b"0", lease.token[:-1], b"", lease.token + b"|"):
            assert unchanged(desk, lambda token=token: desk.settle(process, (id, token))) == [FENCED]  # type: ignore[misc]
        desk.settle(process, lease)
        for token in (lease.token + b"0", lease.token[:-1], b"", lease.token + b"|"):
            assert unchanged(desk, lambda token=token: desk.settle(process, (id, token))) == [FENCED]  # type: ignore[misc]

    def test_one_job_twice_in_a_batch_ends_once(self, desk: Desk) -> None:
        """At most one OK per token, and the counters know it (I4, I12)."""
        desk.put(b"a", b"b")
        process = process_id()
        one, two = desk.take(process, 2)
        assert desk.settle(process, one, two, one, one) == [OK, OK, ALREADY, ALREADY]
        assert desk.dump().number("succeeded") == 2

    def test_what_is_recorded_first_stands(self, desk: Desk) -> None:
        """A late settle changes neither state nor record (I2)."""
        (id,) = desk.put(b"m")
        process = process_id()
        (lease,) = desk.take(process)
        desk.settle(process, lease, record=b"first")
        assert unchanged(desk, lambda: desk.settle(process, lease, state=JobState.FAILED, record=b"x")) == [ALREADY]
        found = desk.look(id)
        assert (found.state, found.record, found.message) == (JobState.SUCCEEDED, b"first", b"")

    def test_a_dead_letter_keeps_its_message(self, desk: Desk) -> None:
        """So that it can be sent back; other ends drop it."""
        (id,) = desk.put(b"m")
        process = process_id()
        desk.settle(process, *desk.take(process), state=JobState.FAILED)
        assert desk.look(id)[:1] == (JobState.FAILED,)
        assert desk.look(id).message == b"m"
        assert desk.take(process_id()) == []
        assert desk.dump().number("failed") == 1

    def test_no_time_to_live_keeps_no_record(self, desk: Desk) -> None:
        """The tombstone is there all the same, for the window."""
        (id,) = desk.put(b"m")
        process = process_id()
        (lease,) = desk.take(process)
        desk.settle(process, lease, ttl_ms=0)
        assert (desk.look(id).state, desk.look(id).record) == (JobState.SUCCEEDED, b"")
        desk.sweep()
        assert unchanged(desk, lambda: desk.settle(process, lease)) == [ALREADY]

    @pytest.mark.parametrize(("ttl_ms", "window_ms"), [(1, 10**12), (10**12, 1), (0, 0)])
    def test_a_tombstone_lives_as_long_as_the_longer_of_window_and_result(
        self, desk: Desk, ttl_ms: int, window_ms: int
    ) -> None:
        """Its instant has 13 digits, whatever the two are."""
        (id,) = desk.put(b"m")
        process = process_id()
        desk.settle(process, *desk.take(process), ttl_ms=ttl_ms, window_ms=window_ms)
        until = int(desk.dump().tomb[id][1:14])
        now = int(desk.redis.time()[0]) * 1000
        assert until - now == pytest.approx(max(ttl_ms, window_ms), abs=20_000)

    def test_a_full_batch_is_settled(self, desk: Desk) -> None:
        """As many as one call may have, of three kinds."""
        desk.put(*(b"%d" % n for n in range(BATCH)))
        process = process_id()
        leases = desk.take(process, BATCH)
        states = [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]
        for n, state in enumerate(states):
            assert set(desk.settle(process, *leases[n::3], state=state)) == {OK}
        dump = desk.dump()
        assert sum(dump.number(word) for word in ("succeeded", "failed", "cancelled")) == BATCH
        assert (dump.active, dump.held, dump.ready) == ({}, {}, [])


class TestLookup:
    """lookup: changes nothing."""

    def test_it_tells_where_a_job_is(self, desk: Desk) -> None:
        """Queued, running with its attempt, parked, ended with its record, ended without it, unknown."""
        (id,) = desk.put(b"m")
        process = process_id()
        seen: list[Any] = []

        def look() -> None:
            found = unchanged(desk, lambda: desk.look(id))
            seen.append((found.state, found.attempt, found.parked, found.record, found.message))

        look()
        (lease,) = desk.take(process)
        look()
        desk.release(process, lease, park_ms=60_000)
        look()
        desk.sweep(unpark=True)
        desk.settle(process, *desk.take(process))
        look()
        desk.let_results_expire(id)
        look()
        desk.sweep()
        look()
        desk.let_tombstones_expire(id)
        desk.sweep()
        look()
        ended = (JobState.SUCCEEDED, 0, False)
        assert seen == [
            (JobState.QUEUED, 0, False, b"", b"m"),
            (JobState.RUNNING, 1, False, b"", b"m"),
            (JobState.QUEUED, 0, True, b"", b"m"),
            (*ended, b"record", b""),
            (*ended, b"", b""),
            (*ended, b"", b""),
            (None, 0, False, b"", b""),
        ]
