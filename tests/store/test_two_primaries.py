"""F21: a primary and its replica part, and both take writes; then they are one again, and one of them has lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from quaff.errors import ServerUnavailable
from quaff.model.states import JobState
from quaff.store.transitions import Verdict
from tests.engines import Server
from tests.helpers import wait_until
from tests.store.engine import Desk, process_id, unchanged

OK, ALREADY, FENCED, GONE, _ = Verdict


class Sides(NamedTuple):
    """The two servers, and a desk at each."""

    old: Server
    new: Server
    here: Desk
    there: Desk

    def agree(self) -> bool:
        """Whether both have the same."""
        return bool(self.here.dump() == self.there.dump())

    def part(self) -> None:
        """The replica, which has all, is made a primary, and the old one has not heard of it."""
        wait_until(self.agree, 10, "a replica that has all")
        self.new.redis.execute_command("REPLICAOF", "NO", "ONE")

    def heal(self) -> None:
        """The old one follows the new one."""
        self.old.redis.execute_command("REPLICAOF", "127.0.0.1", self.new.port)
        wait_until(lambda: self.old.redis.role()[3] == b"connected", 20, "one primary")
        wait_until(self.agree, 10, "what is so by now")


@pytest.fixture
def sides(namespace: str) -> Iterator[Sides]:
    """A primary and its replica."""
    with (
        Server("--repl-diskless-sync-delay", "0") as old,
        Server("--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", str(old.port)) as new,
    ):
        wait_until(lambda: new.redis.role()[3] == b"connected", 20, "a replica")
        here, there = Desk(old.url, namespace), Desk(new.url, namespace)
        yield Sides(old, new, here, there)
        here.close()
        there.close()


def test_of_two_primaries_one_says_how_a_job_ended(sides: Sides) -> None:
    """F21, I4, I7: both handed it out, and both were told how it ended; what the one that lost has taken is gone."""
    here, there = sides.here, sides.there
    first, second, third = here.put(b"first", b"second", b"third")
    mine, other = process_id(), process_id()
    ran, runs = here.take(mine, 2)
    sides.part()

    # Here it goes on as if nothing were the matter.
    assert here.settle(mine, ran, record=b"here") == [OK]
    (late,) = here.take(mine)
    (lost,) = here.put(b"lost")
    # There nobody hears of that process any more.
    there.sweep()
    there.let_lapse(mine)
    assert there.sweep().taken == 2
    again = [lease for _ in range(3) for lease in there.take(other, idle=True)]
    assert {lease.id for lease in again} == {first, second, third}
    assert not {lease.token for lease in again} & {ran.token, runs.token, late.token}
    assert there.settle(other, *again, record=b"there") == [OK] * 3

    sides.heal()
    # Whoever ran here is told so by the one that is left, also of what was acknowledged.
    assert unchanged(there, lambda: there.settle(mine, ran, runs, late)) == [FENCED] * 3
    assert there.claim(mine, 99, b"more").closed
    assert {(found.state, found.record) for found in map(there.look, (first, second, third))} == {
        (JobState.SUCCEEDED, b"there")
    }
    # What was sent here meanwhile fell into the window; whoever is not sure sends it again, and it is stored.
    assert there.look(lost).state is None
    assert there.enqueue([(lost, b"lost")]) == [0]
    assert there.dump().number("succeeded") == 3


def test_an_old_primary_that_needs_a_replica_takes_nothing_more(sides: Sides) -> None:
    """F21, F44: min-replicas-to-write closes the window: what is refused here is done there, and nothing is lost."""
    here, there = sides.here, sides.there
    here.put(b"first", b"second")
    mine = process_id()
    (runs,) = here.take(mine)
    sides.part()
    sides.old.redis.config_set("min-replicas-to-write", 1)
    here.store.deadline = 0.2
    before = here.dump()
    for act in (lambda: here.put(b"lost"), lambda: here.settle(mine, runs), lambda: here.take(mine)):
        with pytest.raises(ServerUnavailable, match="NOREPLICAS"):
            act()
    assert here.dump() == before
    sides.heal()
    assert there.settle(mine, runs) == [OK]
    assert [lease.message for lease in there.claim(mine, 99, b"more").leases] == [b"second"]
