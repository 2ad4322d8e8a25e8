"""What each script promises in its header, on a real server: enqueue and claim; the others are in the files beside.

Every answer is looked at twice: the second time the same call is sent, and nothing may change (I19).
"""

from __future__ import annotations

import pytest

from quaff.model import ids
from quaff.model.states import JobState
from quaff.store.queries import holds
from quaff.store.transitions import BATCH, Verdict
from tests.store.engine import Desk, fifo, keyed, process_id, unchanged

OK, ALREADY, FENCED, GONE, _ = Verdict


class TestEnqueue:
    """enqueue: nothing -> queued."""

    def test_jobs_are_stored_in_order(self, desk: Desk) -> None:
        """First in, first out, over several calls; messages byte for byte (I9, I16)."""
        messages = [bytes([n]) * n for n in range(200)]
        for start in range(0, 200, 50):
            desk.put(*messages[start : start + 50])
        assert desk.dump().number("enqueued") == 200
        assert fifo(desk.take(process_id(), 200)) == messages

    def test_an_id_is_stored_once_before_while_and_after_it_runs(self, desk: Desk) -> None:
        """The same call again answers where the job is, and changes nothing (F28, F61)."""
        (id,) = desk.put(b"m")
        assert unchanged(desk, lambda: desk.enqueue([(id, b"m")])) == [1]
        process = process_id()
        (lease,) = desk.take(process)
        assert unchanged(desk, lambda: desk.enqueue([(id, b"m")])) == [1]
        desk.settle(process, lease)
        assert unchanged(desk, lambda: desk.enqueue([(id, b"m")])) == [b"s"]
        desk.let_results_expire(id)
        desk.sweep()
        assert unchanged(desk, lambda: desk.enqueue([(id, b"m")])) == [b"s"]
        desk.let_tombstones_expire(id)
        desk.sweep()
        assert desk.enqueue([(id, b"m")]) == [0]

    @pytest.mark.parametrize(
        ("state", "letter"), [(JobState.SUCCEEDED, b"s"), (JobState.FAILED, b"f"), (JobState.CANCELLED, b"c")]
    )
    def test_it_says_how_a_job_had_ended(self, desk: Desk, state: JobState, letter: bytes) -> None:
        """A dead letter, which keeps its message, is no running job."""
        (id,) = desk.put(b"m")
        process = process_id()
        desk.settle(process, *desk.take(process), state=state)
        assert unchanged(desk, lambda: desk.enqueue([(id, b"m")])) == [letter]

    def test_another_digest_is_a_conflict_while_the_id_lives(self, desk: Desk) -> None:
        """Queued, running, ended and expired; after the tombstone it is a new job (F61)."""
        one, two, process = keyed(b"one"), keyed(b"two"), process_id()
        (id,) = desk.put(one)

        def conflict() -> None:
            assert unchanged(desk, lambda: desk.enqueue([(id, two)])) == [b"x"]
            assert unchanged(desk, lambda: desk.enqueue([(id, one[:17] + b"sent later")]))[0] != b"x"

        conflict()
        # A claim id may hold any byte, also the one that ends the token in a tombstone.
        claimed = desk.claim(process, 1, b"a|b\x00.c!")
        conflict()
        assert desk.settle(process, *claimed.leases, digest=one[1:17]) == [OK]
        conflict()
        desk.let_results_expire(id)
        desk.sweep()
        conflict()
        desk.let_tombstones_expire(id)
        desk.sweep()
        assert desk.enqueue([(id, two)]) == [0]

    def test_one_id_twice_in_a_batch_is_one_job(self, desk: Desk) -> None:
        """The second time with the same digest it is there already, with another it is a conflict."""
        id, other = ids.new_raw(), ids.new_raw()
        batch = [(id, keyed(b"a")), (other, b"plain"), (id, keyed(b"a")), (id, keyed(b"b")), (other, b"plain")]
        assert desk.enqueue(batch) == [0, 0, 1, b"x", 1]
        assert unchanged(desk, lambda: desk.enqueue(batch)) == [1, 1, 1, b"x", 1]
        assert fifo(desk.take(process_id(), 5)) == [keyed(b"a"), b"plain"]

    def test_a_whole_batch_is_taken(self, desk: Desk) -> None:
        """As many as a chunk has, some of them known."""
        known = desk.put(b"k1", b"k2")
        jobs = [(ids.new_raw(), b"m") for _ in range(BATCH - 2)]
        assert desk.enqueue([(known[0], b"k1"), *jobs, (known[1], b"k2")]) == [1, *[0] * (BATCH - 2), 1]
        assert desk.dump().number("enqueued") == BATCH

    def test_one_hint_wakes_and_no_second_is_left(self, desk: Desk) -> None:
        """The list of hints never grows, and a batch that stores nothing leaves none."""
        (id,) = desk.put(b"a")
        desk.put(b"b", b"c")
        assert desk.dump().wake == [b"1"]
        desk.take(process_id(), 3)
        desk.enqueue([(id, b"a")])
        assert desk.dump().wake == []


class TestClaim:
    """claim: queued -> running."""

    def test_a_job_is_handed_to_one_process(self, desk: Desk) -> None:
        """Each token is new, names its attempt and is held under a lease (I6, I7)."""
        desk.put(*(b"%d" % n for n in range(10)))
        one, two = process_id(), process_id()
        leases = [*desk.take(one, 4), *desk.take(two, 9)]
        assert fifo(leases) == [b"%d" % n for n in range(10)]
        assert {lease.attempt for lease in leases} == {1}
        assert desk.take(one, 9) == []
        assert set(desk.dump().lease) == {one, two}

    def test_the_same_claim_gets_the_same_jobs(self, desk: Desk) -> None:
        """A lost reply is answered again, without those that were settled or given back since (F28, F33)."""
        desk.put(b"a", b"b", b"c", b"d")
        process = process_id()
        first = desk.claim(process, 7, b"claim", 3)
        assert (fifo(first.leases), first.left, first.alone) == ([b"a", b"b", b"c"], 1, False)

        def again() -> list[bytes]:
            answer = unchanged(desk, lambda: desk.claim(process, 7, b"claim", 3))
            assert (answer.closed, answer.empty_yourself) == (False, False)
            assert set(answer.leases) <= set(first.leases) or not answer.leases
            return sorted(fifo(answer.leases))

        assert again() == [b"a", b"b", b"c"]
        desk.settle(process, first.leases[0])
        assert again() == [b"b", b"c"]
        desk.release(process, first.leases[1])
        assert again() == [b"c"]
        # The job given back is handed out anew, and the old claim has no part in it.
        assert fifo(desk.claim(process, 8, b"next", 1).leases) == [b"b"]
        assert unchanged(desk, lambda: desk.claim(process, 7, b"claim", 3)).leases == []

    def test_a_claim_that_is_not_newer_gets_nothing(self, desk: Desk) -> None:
        """A copy may arrive long after its sender gave up (F32)."""
        process = process_id()
        assert desk.claim(process, 5, b"five", 2).leases == []
        desk.put(b"a", b"b")
        assert unchanged(desk, lambda: desk.claim(process, 4, b"four", 2)).leases == []
        assert unchanged(desk, lambda: desk.claim(process, 5, b"another", 2)).leases == []
        assert unchanged(desk, lambda: desk.claim(process, 5, b"five", 2)).leases == []
        assert fifo(desk.claim(process, 6, b"six", 2).leases) == [b"a", b"b"]
        assert desk.claim(process, 2**53 - 1, b"far", 1).leases == []
        desk.put(b"c")
        assert unchanged(desk, lambda: desk.claim(process, 2**53 - 2, b"near", 1)).leases == []

    def test_a_claim_of_nothing_hands_the_hint_on(self, desk: Desk) -> None:
        """A process that woke and has no room leaves the token for another."""
        desk.put(b"a")
        process = process_id()
        desk.redis.delete(desk.key("wake"))
        answer = desk.claim(process, 1, b"none", 0)
        assert (answer.leases, answer.left) == ([], 1)
        assert desk.dump().wake == [b"1"]
        desk.take(process_id())
        assert desk.claim(process, 2, b"more", 0).left == 0

    def test_who_leaves_work_behind_leaves_a_hint(self, desk: Desk) -> None:
        """And who takes the last of it takes the hint."""
        desk.put(b"a", b"b")
        desk.redis.delete(desk.key("wake"))
        desk.take(process_id())
        assert desk.dump().wake == [b"1"]
        desk.take(process_id())
        assert desk.dump().wake == []

    def test_what_is_not_ours_is_dropped_and_counted(self, desk: Desk) -> None:
        """An id without a message, one that is twice in the line, one that runs already (I1)."""
        running, waiting = desk.put(b"running", b"waiting")
        process = process_id()
        desk.take(process)
        desk.redis.lpush(desk.key("ready"), b"stranger of 16 b", running, waiting, b"", b"x" * 1000)
        leases = desk.take(process_id(), 10)
        assert fifo(leases) == [b"waiting"]
        assert desk.dump().number("strangers") == 5
        assert desk.look(running).attempt == 1

    def test_a_paused_partition_hands_out_nothing_new(self, desk: Desk) -> None:
        """What was handed out before is answered again all the same (I14)."""
        desk.put(b"a", b"b")
        process = process_id()
        first = desk.claim(process, 1, b"one")
        desk.redis.hset(desk.key("meta"), "paused", "0")
        assert desk.claim(process, 2, b"two").leases == []
        assert desk.claim(process_id(), 1, b"one").leases == []
        assert unchanged(desk, lambda: desk.claim(process, 2, b"two")).leases == []
        desk.redis.hdel(desk.key("meta"), "paused")
        assert fifo(desk.claim(process, 3, b"three").leases) == [b"b"]
        assert fifo(first.leases) == [b"a"]

    def test_a_closed_process_gets_nothing(self, desk: Desk) -> None:
        """Its supervisor gave its jobs back: not even the same claim again."""
        desk.put(b"a")
        process = process_id()
        desk.claim(process, 1, b"one")
        desk.reap(process)
        for number, claim_id in ((1, b"one"), (2, b"two")):
            answer = unchanged(desk, lambda n=number, c=claim_id: desk.claim(process, n, c))  # type: ignore[misc]
            assert (answer.closed, answer.leases) == (True, [])
        assert fifo(desk.take(process_id())) == [b"a"]

    def test_a_process_that_never_gets_a_job_is_forgotten_too(self, desk: Desk) -> None:
        """Its first claim takes a lease, so that its silence is noticed and nothing of it is kept for ever."""
        process = process_id()
        desk.take(process)
        assert set(desk.dump().lease) == {process}
        desk.let_lapse(process)
        desk.sweep()
        assert desk.dump().claims == {process: b"closed"}
        desk.let_results_expire(process)
        desk.sweep()
        assert (desk.dump().claims, desk.dump().done, desk.dump().lease) == ({}, {}, {})

    def test_a_full_claim_is_answered_again_in_full(self, desk: Desk) -> None:
        """As many jobs as one call may have."""
        desk.put(*(b"%d" % n for n in range(BATCH)))
        process = process_id()
        first = desk.claim(process, 1, b"all", BATCH)
        again = unchanged(desk, lambda: desk.claim(process, 1, b"all", BATCH))
        assert len(first.leases) == BATCH
        assert {lease.token for lease in again.leases} == {lease.token for lease in first.leases}


class TestHolds:
    """holds: what the server thinks a process holds."""

    def test_all_of_it_comes_page_by_page(self, desk: Desk) -> None:
        """By id, with the tokens; nothing of another process (F20)."""
        desk.put(*(b"%d" % n for n in range(700)))
        mine, other = process_id(), process_id()
        leases = desk.take(mine, 500) + desk.take(mine, 150)
        desk.take(other, 50)
        first = desk.store.run(holds(desk.home, mine, b""))
        second = desk.store.run(holds(desk.home, mine, first[-1][0]))
        assert (len(first), len(second)) == (500, 150)
        assert dict(first + second) == {lease.id: lease.token for lease in leases}
        assert desk.store.run(holds(desk.home, process_id(), b"")) == []

    def test_a_repeated_claim_finds_its_jobs_among_many(self, desk: Desk) -> None:
        """Fifteen hundred held, the last claim sent again: its five hundred, not the oldest thousand (F28)."""
        desk.put(*(b"%d" % n for n in range(1500)))
        process = process_id()
        for number in (1, 2):
            assert len(desk.claim(process, number, b"c%d" % number, 500).leases) == 500
        last = desk.claim(process, 3, b"c3", 500)
        again = unchanged(desk, lambda: desk.claim(process, 3, b"c3", 500))
        assert sorted(lease.token for lease in again.leases) == sorted(lease.token for lease in last.leases)
