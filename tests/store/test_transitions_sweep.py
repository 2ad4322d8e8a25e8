"""What the sweep promises in its header: silent processes, outages, parking and expiry, by the server's clock alone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from quaff.model import outcome
from quaff.model.states import JobState
from quaff.store.transitions import STEP, Verdict
from tests.helpers import wait_until
from tests.store.engine import HOUR, POISON, Desk, fifo, keyed, process_id, unchanged

OK, ALREADY, FENCED, GONE, _ = Verdict


def now_ms(desk: Desk) -> int:
    """The server's clock."""
    seconds, micros = desk.redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


class TestLapse:
    """running -> queued | failed where a lease has lapsed."""

    def test_the_first_lapse_is_free_and_each_further_one_a_crash(self, desk: Desk) -> None:
        """Four starts at most, the first number twice, alone from the second on (F1, F54)."""
        message = keyed(b"digest")
        (id,) = desk.put(message)
        numbers, places = [], []
        for _ in range(4):
            process = process_id()
            answer = desk.claim(process, 1, b"claim", 5, idle=True)
            (lease,) = answer.leases
            numbers.append(lease.attempt)
            assert answer.alone == (len(numbers) > 1)
            desk.let_lapse(process)
            assert desk.sweep().taken == 1
            dump = desk.dump()
            places.append((dump.solo == [id], dump.tries.get(id)))
            assert dump.claims[process] == b"closed"
            assert unchanged(desk, lambda: desk.settle(process, lease)) in ([FENCED], [ALREADY])  # noqa: B023
        assert numbers == [1, 1, 2, 3]
        assert places == [(True, b"0 0 1 0 "), (True, b"1 1 2 0 "), (True, b"2 2 3 0 "), (False, None)]
        found = desk.look(id)
        assert (found.state, found.record, found.message) == (JobState.FAILED, POISON, message)
        history = outcome.decode_history(found.history)
        assert [(attempt.number, attempt.outcome) for attempt in history] == [(n, "lapsed") for n in numbers]
        assert all(attempt.ended_ms == pytest.approx(time.time() * 1000, abs=60_000) for attempt in history)

    def test_a_lapse_and_crashes_add_up(self, desk: Desk) -> None:
        """A crash is charged by whoever sees it, the supervisor or the sweep."""
        (id,) = desk.put(b"m")
        one, two, three = process_id(), process_id(), process_id()
        desk.take(one)
        desk.reap(one, id)
        desk.take(two, idle=True)
        desk.let_lapse(two)
        desk.sweep()
        assert desk.dump().tries == {id: b"1 1 1 0 "}
        desk.take(three, idle=True)
        assert desk.reap(three, id) == (1, 0, False)
        assert desk.dump().tries == {id: b"2 2 1 0 "}

    def test_a_silent_process_is_closed_and_the_others_live(self, desk: Desk) -> None:
        """All its jobs come back; a process that beats, or holds nothing, loses nothing."""
        desk.put(*(b"%d" % n for n in range(6)))
        silent, alive = process_id(), process_id()
        desk.take(silent, 3)
        kept = desk.take(alive, 2)
        desk.let_lapse(silent)
        assert desk.sweep() == (3, 0, 0, False, 0, 1, None, None, 1)
        dump = desk.dump()
        assert (len(dump.solo), set(dump.lease)) == (3, {alive})
        assert desk.settle(alive, *kept) == [OK, OK]
        assert unchanged(desk, lambda: desk.claim(silent, 99, b"late")).closed

    def test_many_jobs_come_back_in_bounded_steps(self, desk: Desk) -> None:
        """So many a sweep, over any number of silent processes, ``more`` until all are back (F63)."""
        desk.put(*(b"%d" % n for n in range(250)))
        big, small = process_id(), [process_id() for _ in range(25)]
        desk.take(big, 200)
        for process in small:
            desk.take(process, 2)
        desk.let_lapse(big, *small)
        steps = []
        while not steps or steps[-1].more:
            steps.append(desk.sweep())
            desk.dump()
            assert len(steps) < 20
        assert sum(step.taken for step in steps) == 250
        assert max(step.taken for step in steps) <= STEP
        dump = desk.dump()
        assert (len(dump.solo), dump.lease, dump.active) == (250, {}, {})

    def test_the_bound_holds_over_many_processes_of_a_few_jobs(self, desk: Desk) -> None:
        """Each of them takes less than a share, and all of them together no more than the whole (F63)."""
        desk.put(*(b"%d" % n for n in range(32)))
        processes = [b"process%d" % n for n in range(10)]
        for process, count in zip(processes, [14, *[2] * 9], strict=True):
            desk.take(process, count)
        desk.let_lapse(*processes)
        first, second = desk.sweep(), desk.sweep()
        assert (first.taken, first.more) == (STEP, True)
        assert (second.taken, second.processes) == (2, 0)

    def test_a_second_sweep_changes_nothing(self, desk: Desk) -> None:
        """But the time it was here (I19)."""
        desk.put(b"a", b"b", b"c")
        process = process_id()
        one, two, three = desk.take(process, 3)
        desk.settle(process, one)
        desk.release(process, two, park_ms=60_000)
        desk.let_lapse(process)
        desk.let_results_expire(one.id)
        assert desk.sweep(unpark=True) == (1, 1, 1, False, 0, 0, None, None, 1)
        assert three.id in desk.dump().solo
        assert unchanged(desk, lambda: desk.sweep(unpark=True)) == (0, 0, 0, False, 0, 0, None, None, 1)


class TestOutage:
    """After a gap in the sweeps nothing is reaped for one whole lease."""

    @pytest.fixture
    def brief(self, server_url: str, namespace: str) -> Iterator[Desk]:
        """A lease of 800 ms: half of it is longer than any pause of ``wait_until``."""
        desk = Desk(server_url, namespace, lease_ms=800)
        yield desk
        desk.dump()
        desk.close()

    def test_a_silent_process_is_reaped_when_its_lease_is_over(self, brief: Desk) -> None:
        """Not before, and one that beats not at all, in real time (F1, F25)."""
        brief.put(b"a", b"b")
        brief.sweep()
        brief.allow_reaping()
        silent, alive = process_id(), process_id()
        began = now_ms(brief)
        brief.take(silent)
        (kept,) = brief.take(alive)

        def swept() -> int:
            brief.heartbeat(alive)
            return brief.sweep().taken

        assert wait_until(swept, what="the end of the lease") == 1
        assert now_ms(brief) - began >= 800
        assert brief.settle(alive, kept) == [OK]

    def test_after_a_gap_a_live_worker_has_one_lease_to_come_back(self, brief: Desk) -> None:
        """The first sweep after an outage reaps nobody, though all leases are long over (F26)."""
        brief.put(b"a", b"b")
        brief.sweep()
        silent, back = process_id(), process_id()
        brief.take(silent)
        (kept,) = brief.take(back)
        brief.let_lapse(silent, back)
        brief.redis.hset(brief.key("meta"), "last_tick", now_ms(brief) - 401)
        began = now_ms(brief)
        assert brief.sweep().taken == 0
        assert brief.heartbeat(back) == [1]

        def swept() -> int:
            brief.heartbeat(back)
            return brief.sweep().taken

        assert wait_until(swept, what="the end of the reprieve") == 1
        assert now_ms(brief) - began >= 800
        assert brief.settle(back, kept) == [OK]

    def test_the_very_first_sweep_reaps_nobody(self, desk: Desk) -> None:
        """Nobody knows what was before."""
        desk.put(b"a")
        process = process_id()
        desk.take(process)
        desk.redis.zadd(desk.key("lease"), {process: 1})
        assert desk.sweep().taken == 0
        assert desk.sweep().taken == 0
        assert desk.dump().number("reap_from") == pytest.approx(now_ms(desk) + desk.lease_ms, abs=5000)

    def test_a_short_pause_is_no_gap(self, desk: Desk) -> None:
        """Less than half a lease."""
        desk.put(b"a")
        process = process_id()
        desk.take(process)
        desk.let_lapse(process)
        desk.redis.hset(desk.key("meta"), "last_tick", now_ms(desk) - desk.lease_ms // 2 + 5000)
        assert desk.sweep().taken == 1

    def test_a_sweep_during_the_reprieve_does_not_prolong_it(self, desk: Desk) -> None:
        """Else frequent sweeps would put the reaping off for ever."""
        desk.sweep()
        first = desk.dump().number("reap_from")
        desk.sweep()
        assert desk.dump().number("reap_from") == first


class TestClock:
    """Time never goes back by a little; a jump by more than a minute is believed."""

    def test_a_clock_that_was_put_back_holds_nothing_off(self, desk: Desk) -> None:
        """Leases and reprieves written by a clock ten hours ahead end one lease from now (F49, I22)."""
        desk.put(b"a")
        process = process_id()
        desk.take(process)
        ahead = now_ms(desk) + 10 * HOUR
        desk.redis.zadd(desk.key("lease"), {process: ahead + desk.lease_ms})
        desk.redis.hset(desk.key("meta"), mapping={"clock": ahead, "last_tick": ahead, "reap_from": ahead})
        assert desk.sweep().taken == 0
        dump, limit = desk.dump(), now_ms(desk) + desk.lease_ms
        assert dump.number("clock") <= limit - desk.lease_ms
        assert dump.number("reap_from") <= limit
        assert dump.lease[process] <= limit

    def test_within_a_minute_time_stands_still(self, desk: Desk) -> None:
        """What was seen is not unseen: new leases are measured from the later time (I22)."""
        seen = now_ms(desk) + 40_000
        desk.redis.hset(desk.key("meta"), "clock", seen)
        process = process_id()
        desk.put(b"a")
        desk.take(process)
        assert desk.dump().lease[process] == seen + desk.lease_ms
        desk.sweep()
        assert desk.dump().number("clock") == seen

    def test_a_jump_forward_reaps_nobody(self, desk: Desk) -> None:
        """It looks like an outage, and is treated as one (F48)."""
        desk.put(b"a")
        process = process_id()
        desk.take(process)
        desk.redis.zadd(desk.key("lease"), {process: now_ms(desk) - 10 * HOUR})
        desk.redis.hset(desk.key("meta"), mapping={"last_tick": now_ms(desk) - 10 * HOUR, "reap_from": 0})
        assert desk.sweep().taken == 0


class TestExpiry:
    """parked -> queued; results and tombstones expire."""

    def test_first_the_result_goes_and_then_the_tombstone(self, desk: Desk) -> None:
        """In real time: the value is gone when it is due, the state is known for longer (F65)."""
        (id,) = desk.put(b"m")
        process = process_id()
        desk.settle(process, *desk.take(process), ttl_ms=100, window_ms=700)
        assert desk.look(id).record == b"record"
        wait_until(lambda: desk.sweep().expired, what="the end of the result")
        assert (desk.look(id).state, desk.look(id).record) == (JobState.SUCCEEDED, b"")
        assert desk.dump().res == {}
        wait_until(lambda: desk.sweep().expired, what="the end of the tombstone")
        assert desk.look(id).state is None
        assert (desk.dump().tomb, desk.dump().done) == ({}, {})

    def test_a_dead_letter_goes_whole(self, desk: Desk) -> None:
        """Its message, record and history at the end of its time, then its tombstone."""
        (id,) = desk.put(b"m")
        process = process_id()
        desk.take(process)
        desk.reap(process, id)
        last = process_id()
        desk.settle(last, *desk.take(last, idle=True), state=JobState.FAILED)
        assert set(desk.dump().history) == {id}
        desk.let_results_expire(id)
        assert desk.sweep().expired == 1
        dump = desk.dump()
        assert (dump.msg, dump.res, dump.history, set(dump.tomb)) == ({}, {}, {}, {id})
        desk.let_tombstones_expire(id)
        desk.sweep()
        assert desk.dump().tomb == {}

    def test_a_crowd_expires_in_bounded_steps(self, desk: Desk) -> None:
        """No kind has to wait for all of another one (F63)."""
        desk.put(*(b"%d" % n for n in range(400)))
        process = process_id()
        leases = desk.take(process, 400)
        desk.settle(process, *leases[:250])
        desk.release(process, *leases[250:], park_ms=HOUR)
        desk.let_tombstones_expire(*(lease.id for lease in leases[:250]))
        steps = []
        while not steps or steps[-1].more:
            steps.append(desk.sweep(unpark=not steps))
            assert len(steps) < 20
        assert [sum(step.expired for step in steps), sum(step.unparked for step in steps)] == [250, 150]
        assert all(step.expired > 0 and step.unparked > 0 for step in steps[:4])
        assert max(step.expired + step.unparked for step in steps) <= 2 * STEP
        assert len(fifo(desk.take(process, 400))) == 150


def test_an_empty_claim_and_a_sweep_say_how_many_processes_serve_the_queue(desk: Desk) -> None:
    """By it they know whether to wait for tokens, and their supervisors how often to sweep."""
    for number in range(3):
        assert desk.claim(process_id(), 1, b"c").processes == number + 1
    assert desk.sweep().processes == 3
