"""What each script promises in its header: release, reap, sweep and heartbeat, and what must run alone."""

from __future__ import annotations

import itertools

import pytest

from quaff.model import ids, outcome
from quaff.model.states import JobState
from quaff.store.transitions import BATCH, STEP, Rules, Verdict
from tests.helpers import wait_until
from tests.store.engine import HOUR, POISON, RULES, Desk, fifo, keyed, process_id, unchanged

OK, ALREADY, FENCED, GONE, _ = Verdict


def in_order(desk: Desk, count: int) -> list[bytes]:
    """Jobs ``0, 1, 2, ...`` whose ids sort as they were sent; those of one millisecond need not."""
    jobs = [(n.to_bytes(8, "big") + ids.new_raw()[8:], b"%d" % n) for n in range(count)]
    assert desk.enqueue(jobs) == [0] * count
    return [id for id, _ in jobs]


class TestRelease:
    """release: running -> queued, at no cost."""

    def test_jobs_come_back_to_the_head_in_their_order(self, desk: Desk) -> None:
        """Before what waits, and the attempt's number is used again."""
        desk.put(*(b"%d" % n for n in range(6)))
        process = process_id()
        leases = desk.take(process, 4)
        assert desk.release(process, *leases[1:]) == [OK] * 3
        again = desk.take(process, 9)
        assert fifo(again) == [b"1", b"2", b"3", b"4", b"5"]
        assert {lease.attempt for lease in again} == {1}
        assert desk.dump().tries == {}

    def test_a_token_that_does_not_hold_the_job_is_fenced(self, desk: Desk) -> None:
        """Given back before, settled, another's, unknown; and nothing comes twice into the line (I1, I19)."""
        desk.put(b"a", b"b", b"c")
        process, other = process_id(), process_id()
        one, two, three = desk.take(process, 3)
        desk.settle(process, two)
        assert desk.release(process, one, one, two) == [FENCED, OK, FENCED]
        assert unchanged(desk, lambda: desk.release(process, one, two)) == [FENCED, FENCED]
        desk.take(other)
        assert unchanged(desk, lambda: desk.release(process, one)) == [FENCED]
        stale = type(three)(three.id, three.message, three.token + b"1")
        assert unchanged(desk, lambda: desk.release(process, stale)) == [FENCED]
        assert desk.release(process, three) == [OK]

    def test_a_parked_job_waits_aside(self, desk: Desk) -> None:
        """Until its time, or until a new worker comes, which may know its task (F55)."""
        known, unknown = desk.put(b"known", b"unknown")
        process = process_id()
        first, second = desk.take(process, 2)
        desk.release(process, second, park_ms=60_000)
        desk.release(process, first)
        assert fifo(desk.take(process, 9)) == [b"known"]
        assert (desk.look(unknown).state, desk.look(unknown).parked) == (JobState.QUEUED, True)
        assert desk.look(known).parked is False
        assert desk.sweep().unparked == 0
        assert desk.sweep(unpark=True).unparked == 1
        assert fifo(desk.take(process, 9)) == [b"unknown"]

    def test_what_is_parked_once_more_waits_for_its_time(self, desk: Desk) -> None:
        """A worker that does not know the task either: the jobs do not go to and fro between it and the sweeps."""
        desk.put(*[b"unknown"] * 120)
        process = process_id()
        desk.release(process, *desk.take(process, 120), park_ms=60_000)
        swept = desk.sweep(unpark=True)
        brought = swept.unparked
        while swept.more:
            desk.release(process, *desk.take(process, 120), park_ms=60_000)
            swept = desk.sweep()
            brought += swept.unparked
            assert brought <= 120
        assert brought == 120
        assert desk.sweep().unparked == 0

    def test_parking_ends_by_itself(self, desk: Desk) -> None:
        """The server's clock says when; a hint wakes somebody."""
        desk.put(b"a")
        process = process_id()
        desk.release(process, *desk.take(process), park_ms=50)
        wait_until(lambda: desk.sweep().unparked, what="the end of the parking")
        assert desk.dump().wake == [b"1"]
        assert fifo(desk.take(process)) == [b"a"]

    def test_a_full_batch_comes_back(self, desk: Desk) -> None:
        """As many as one call may have."""
        desk.put(*(b"%d" % n for n in range(BATCH)))
        process = process_id()
        leases = desk.take(process, BATCH)
        assert set(desk.release(process, *leases)) == {OK}
        assert fifo(desk.take(process, BATCH)) == [b"%d" % n for n in range(BATCH)]


class TestReap:
    """reap: running -> queued | failed, for a process that its supervisor saw die."""

    def test_only_what_had_been_started_is_charged(self, desk: Desk) -> None:
        """The others cost nothing and keep their place before what waits (F1, F4)."""
        jobs = in_order(desk, 6)
        process = process_id()
        desk.take(process, 4)
        assert desk.reap(process, jobs[1]) == (4, 0, False)
        dump = desk.dump()
        assert dump.tries == {jobs[1]: b"1 1 0 0 "}
        assert dump.solo == [jobs[1]]
        desk.let_patience_end()
        desk.take(process_id())  # which is told to empty itself for the one that is to run alone
        assert fifo(desk.take(process_id(), 9)) == [b"0", b"2", b"3", b"4", b"5"]

    def test_the_process_is_handed_nothing_any_more(self, desk: Desk) -> None:
        """Whatever of it is still on the way: claims, settles, releases, a second reap (F32, F66)."""
        desk.put(b"a", b"b")
        process = process_id()
        first = desk.claim(process, 1, b"one", 2)
        desk.reap(process, first.leases[0].id)
        assert desk.dump().lease == {}
        assert unchanged(desk, lambda: desk.claim(process, 1, b"one", 2)).closed
        assert unchanged(desk, lambda: desk.claim(process, 2, b"two", 2)).closed
        assert unchanged(desk, lambda: desk.settle(process, *first.leases)) == [FENCED, FENCED]
        assert unchanged(desk, lambda: desk.release(process, *first.leases)) == [FENCED, FENCED]
        assert unchanged(desk, lambda: desk.heartbeat(process)) == [0]
        assert unchanged(desk, lambda: desk.reap(process, first.leases[0].id)) == (0, 0, False)

    def test_a_process_that_held_nothing_is_closed(self, desk: Desk) -> None:
        """Also one whose first claim is still on the way."""
        process = process_id()
        assert desk.reap(process) == (0, 0, False)
        desk.put(b"a")
        assert unchanged(desk, lambda: desk.claim(process, 1, b"late")).closed

    def test_the_third_crash_is_poison_with_its_history(self, desk: Desk) -> None:
        """Exactly three starts, each alone after the first, and the record of each is kept (F3, F54)."""
        message = keyed(b"digest")
        (id,) = desk.put(message)
        for number in (1, 2, 3):
            process = process_id()
            claimed = desk.claim(process, 1, b"c%d" % number, 1, idle=True)
            assert [lease.attempt for lease in claimed.leases] == [number]
            assert claimed.alone == (number > 1)
            assert desk.look(id).attempt == number
            started = outcome.encode(outcome.Attempt(number, 1, 2, "w", 3, "crashed"))
            assert desk.reap(process, id, record=started) == ((1, 0, False) if number < 3 else (0, 1, False))
        found = desk.look(id)
        assert (found.state, found.record, found.message) == (JobState.FAILED, POISON, message)
        assert [attempt.number for attempt in outcome.decode_history(found.history)] == [1, 2, 3]
        assert desk.dump().number("failed") == 1
        assert desk.enqueue([(id, message)]) == [b"f"]
        assert desk.enqueue([(id, keyed(b"other"))]) == [b"x"]
        assert unchanged(desk, lambda: desk.settle(process, claimed.leases[0])) == [ALREADY]

    def test_whose_outcome_is_lost_runs_alone_and_is_charged_nothing(self, desk: Desk) -> None:
        """It had ended beside the one that killed their process; a crash after that is its first (F5, F54)."""
        (id,) = desk.put(b"m")
        one, two = process_id(), process_id()
        desk.take(one)
        ended = outcome.encode(outcome.Attempt(1, 1, 2, "w", 3, "unsettled"))
        assert desk.reap(one, id, record=ended, letter="u", rules=Rules(1, HOUR, HOUR)) == (1, 0, False)
        assert desk.dump().tries == {id: b"0 0 1 0 "}
        claimed = desk.claim(two, 1, b"two", 1, idle=True)
        assert claimed.alone
        assert [(lease.attempt, lease.begun) for lease in claimed.leases] == [(1, True)]
        crashed = outcome.encode(outcome.Attempt(1, 3, 4, "w", 5, "crashed"))
        assert desk.reap(two, id, record=crashed) == (1, 0, False)
        assert desk.dump().tries == {id: b"1 1 1 0 "}
        history = outcome.decode_history(desk.look(id).history)
        assert [(attempt.number, attempt.outcome) for attempt in history] == [(1, "unsettled"), (1, "crashed")]

    def test_the_limit_of_crashes_can_be_one(self, desk: Desk) -> None:
        """Then the first crash is the last."""
        (id,) = desk.put(b"m")
        process = process_id()
        desk.take(process)
        assert desk.reap(process, id, rules=Rules(1, HOUR, HOUR)) == (0, 1, False)
        assert desk.look(id).state == JobState.FAILED

    def test_many_jobs_come_back_in_bounded_steps(self, desk: Desk) -> None:
        """So many a call, ``more`` until all are; and what a caller left undone the sweep finds (F63)."""
        in_order(desk, 2 * STEP + 10)
        process = process_id()
        desk.take(process, 2 * STEP + 10)
        assert desk.reap(process) == (STEP, 0, True)
        desk.dump()
        assert desk.claim(process, 99, b"late", 5).closed
        assert desk.reap(process) == (STEP, 0, True)
        assert set(desk.dump().lease) == {process}
        desk.let_lapse(process)
        assert desk.sweep().taken == 10
        dump = desk.dump()
        assert (len(dump.ready), len(dump.solo), dump.active, dump.lease) == (2 * STEP, 10, {}, {})

    def test_an_end_by_settle_forgets_the_crashes(self, desk: Desk) -> None:
        """A good job that had a bad neighbour."""
        (id,) = desk.put(b"m")
        dead, process = process_id(), process_id()
        desk.take(dead)
        desk.reap(dead, id)
        (lease,) = desk.take(process, idle=True)
        assert lease.attempt == 2
        assert desk.settle(process, lease) == [OK]
        dump = desk.dump()
        assert dump.tries == {}
        assert set(dump.history) == {id}


class TestAlone:
    """What crashed or lapsed once runs alone in its process until it ends."""

    @pytest.fixture
    def lonely(self, desk: Desk) -> bytes:
        """A job that crashed once, before two others."""
        (id,) = desk.put(b"lonely")
        dead = process_id()
        desk.take(dead)
        desk.reap(dead, id)
        desk.put(b"a", b"b", b"c", b"d")
        return id

    def test_an_idle_process_gets_it_and_nothing_else(self, desk: Desk, lonely: bytes) -> None:
        """However many it asked for; asked again it hears again that the job is to be alone."""
        process = process_id()
        answer = desk.claim(process, 1, b"one", 10, idle=True)
        assert (answer.alone, [lease.id for lease in answer.leases], answer.left) == (True, [lonely], 4)
        again = unchanged(desk, lambda: desk.claim(process, 1, b"one", 10, idle=True))
        assert (again.alone, again.leases) == (True, answer.leases)
        assert desk.dump().wake == [b"1"]

    def test_one_busy_process_is_told_to_empty_itself_and_the_others_go_on(self, desk: Desk, lonely: bytes) -> None:
        """Else a loaded queue would never run it."""
        one, two = process_id(), process_id()
        desk.let_patience_end()
        told = desk.claim(one, 1, b"one", 1)
        assert (told.empty_yourself, told.leases) == (True, [])
        assert fifo(desk.claim(two, 1, b"two", 1).leases) == [b"a"]
        assert desk.claim(one, 2, b"three", 1).empty_yourself
        assert [lease.id for lease in desk.claim(one, 3, b"four", 5, idle=True).leases] == [lonely]
        assert fifo(desk.claim(two, 2, b"five", 1).leases) == [b"b"]
        desk.claim(one, 4, b"six", 1)
        assert not {b"solo_for", b"solo_since"} & set(desk.dump().meta)

    def test_its_token_comes_past_each_process_that_is_busy_and_goes_no_further(self, desk: Desk) -> None:
        """Else two of them keep it from one that is idle, or pass it to each other for ever."""
        (id,) = desk.put(b"lonely")
        dead, *busy = (process_id() for _ in range(4))
        desk.take(dead)
        desk.reap(dead, id)
        numbers = itertools.count(1)

        def passes_on(process: bytes) -> bool:
            assert desk.redis.delete(desk.key("wake")) == 1, "there is one to take"
            number = next(numbers)
            answer = desk.claim(process, number, b"%d" % number)
            assert (answer.leases, answer.alone, answer.lonely) == ([], False, True)
            return desk.dump().wake == [b"1"]

        def once_round() -> list[bool]:
            return [passes_on(each) for each in (*busy, busy[0])]

        assert once_round() == [True, True, True, False]
        # Another one has crashed.
        (second,) = desk.put(b"second")
        another = process_id()
        desk.take(another)
        desk.reap(another, second)
        assert once_round() == [True, True, True, False]
        # Nobody idle was about: one is told to empty itself, and who has become idle since may hear of it, too.
        desk.let_patience_end()
        desk.redis.lpush(desk.key("wake"), b"1")
        assert once_round() == [True, True, True, False]
        idle = process_id()
        assert [lease.id for lease in desk.take(idle, idle=True)] == [id]
        assert [lease.id for lease in desk.take(process_id(), idle=True)] == [second]
        assert not {b"solo_since", b"solo_told"} & set(desk.dump().meta)

    def test_while_one_process_serves_the_lonely_no_other_one_stops_for_them(self, desk: Desk, lonely: bytes) -> None:
        """Several long jobs crashed together: they run again one by one, and the slots of the others stay in use."""
        dead, serving, busy = process_id(), process_id(), process_id()
        jobs = desk.take(dead, 2)
        desk.reap(dead, *(lease.id for lease in jobs))
        assert [lease.id for lease in desk.claim(serving, 1, b"one", 9, idle=True).leases] == [lonely]
        desk.let_patience_end()
        assert fifo(desk.claim(busy, 1, b"two", 1).leases) == [b"c"]
        desk.reap(serving)
        assert desk.claim(busy, 2, b"three", 1).empty_yourself, "nobody serves them any more"

    def test_for_a_second_it_is_left_to_idle_processes(self, desk: Desk, lonely: bytes) -> None:
        """The replacement of the dead process will be one; until then nobody stops working. Each passes one hint on."""
        one, two = process_id(), process_id()
        desk.redis.delete(desk.key("wake"))
        answer = desk.claim(one, 1, b"one", 9)
        assert fifo(answer.leases) == [b"a", b"b", b"c", b"d"]
        assert answer.again_ms == 1000
        assert desk.dump().wake, "an idle process must hear of it"
        answer = desk.claim(two, 1, b"two", 9)
        assert not answer.empty_yourself
        assert 0 < (answer.again_ms or 0) <= 1000
        assert desk.dump().wake, "the first one may have taken what was meant for it"
        desk.claim(one, 2, b"again", 5)
        assert not desk.dump().wake, "busy processes must not wake each other for ever"
        assert [lease.id for lease in desk.claim(process_id(), 1, b"three", 9, idle=True).leases] == [lonely]

    def test_a_process_that_empties_itself_hears_when_it_need_not_any_more(self, desk: Desk, lonely: bytes) -> None:
        """Another one became idle first."""
        one = process_id()
        desk.let_patience_end()
        told = desk.claim(one, 1, b"one", 2)
        assert (told.empty_yourself, told.again_ms) == (True, 1000)
        assert desk.claim(one, 2, b"two", 2).empty_yourself
        assert desk.claim(process_id(), 1, b"three", 2, idle=True).alone
        answer = desk.claim(one, 3, b"four", 2)
        assert (answer.empty_yourself, answer.again_ms, fifo(answer.leases)) == (False, None, [b"a", b"b"])

    def test_whoever_takes_a_token_and_nothing_else_passes_it_on(self, desk: Desk, lonely: bytes) -> None:
        """A process without room, one that is to empty itself, and one that was closed."""
        full, emptied, closed = process_id(), process_id(), process_id()
        desk.reap(closed)
        desk.let_patience_end()
        for process, count in ((full, 0), (emptied, 5), (closed, 0)):
            desk.redis.delete(desk.key("wake"))
            assert desk.claim(process, 1, b"one", count).leases == []
            assert desk.dump().wake == [b"1"]

    def test_when_the_chosen_process_is_gone_another_is_told(self, desk: Desk, lonely: bytes) -> None:
        """A process without a lease is not waited for."""
        one, two = process_id(), process_id()
        desk.let_patience_end()
        assert desk.claim(one, 1, b"one", 1).empty_yourself
        assert not desk.claim(two, 1, b"two", 1).empty_yourself
        desk.reap(one)
        assert desk.claim(two, 2, b"three", 1).empty_yourself
        assert [lease.id for lease in desk.claim(two, 3, b"four", 5, idle=True).leases] == [lonely]

    def test_given_back_or_parked_it_goes_on_waiting_to_run_alone(self, desk: Desk, lonely: bytes) -> None:
        """At a stop, as an unstarted job of a dead process, and by a worker that does not know its task."""
        process = process_id()

        def take() -> None:
            answer = desk.claim(process, take.number, b"%d" % take.number, 9, idle=True)  # type: ignore[attr-defined]
            take.number += 1  # type: ignore[attr-defined]
            assert (answer.alone, [lease.id for lease in answer.leases]) == (True, [lonely])
            self.lease = answer.leases[0]
            assert self.lease.attempt == 2

        take.number = 1  # type: ignore[attr-defined]
        take()
        desk.release(process, self.lease)
        assert desk.dump().solo == [lonely]
        take()
        desk.release(process, self.lease, park_ms=60_000)
        desk.sweep(unpark=True)
        assert desk.dump().solo == [lonely]
        take()
        desk.reap(process)
        assert desk.dump().solo == [lonely]
        process = process_id()
        take()
        assert desk.settle(process, self.lease) == [OK]

    def test_several_wait_in_line(self, desk: Desk, lonely: bytes) -> None:
        """Each alone, first come first served."""
        dead = process_id()
        desk.let_patience_end()
        desk.take(process_id())  # which is told to empty itself
        busy = desk.take(dead, 2)
        desk.reap(dead, *(lease.id for lease in busy))
        waiting = desk.dump().solo
        assert waiting[0] == lonely
        got = [desk.take(process_id(), 5, idle=True)[0].id for _ in range(3)]
        assert got == waiting
        assert fifo(desk.take(process_id(), 5, idle=True)) == [b"c", b"d"]


class TestHeartbeat:
    """heartbeat: the leases of living processes are renewed."""

    def test_a_lease_is_renewed_by_the_servers_clock(self, desk: Desk) -> None:
        """One call for all processes of a supervisor; one that never claimed has none."""
        one, two, stranger = process_id(), process_id(), process_id()
        desk.put(b"a")
        desk.take(one)
        desk.take(two)
        desk.redis.zadd(desk.key("lease"), {one: 5, two: 5})
        assert desk.heartbeat(one, stranger, two) == [1, 0, 1]
        lease = desk.dump().lease
        now = int(desk.redis.time()[0]) * 1000
        assert set(lease) == {one, two}
        assert list(lease.values()) == pytest.approx([now + desk.lease_ms] * 2, abs=10_000)

    def test_a_renewed_lease_is_not_reaped(self, desk: Desk) -> None:
        """However late the heartbeat comes, as long as it is before the sweep (F66)."""
        desk.put(b"a")
        process = process_id()
        (lease,) = desk.take(process)
        desk.let_lapse(process)
        desk.heartbeat(process)
        assert desk.sweep().taken == 0
        assert desk.settle(process, lease) == [OK]

    def test_a_lease_that_was_taken_back_is_not_brought_to_life(self, desk: Desk) -> None:
        """The sweep came first (F2, F66)."""
        desk.put(b"a")
        process = process_id()
        (lease,) = desk.take(process)
        desk.let_lapse(process)
        assert desk.sweep().taken == 1
        assert unchanged(desk, lambda: desk.heartbeat(process)) == [0]
        assert unchanged(desk, lambda: desk.settle(process, lease)) == [FENCED]


def test_the_rules_of_these_tests_are_the_defaults() -> None:
    """Three crashes, as engine.md has it."""
    assert RULES.max_crashes == 3
