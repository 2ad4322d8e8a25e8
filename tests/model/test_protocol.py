"""Every state of the protocol is looked at; and each piece of it that is taken away is missed."""

from __future__ import annotations

import pytest

from tests.model.protocol import Plan, search

PLAIN = Plan(jobs=1, sendable=1, cancel=True, retry=True, claims=3, attempts=3)
FAILOVER = Plan(jobs=1, sendable=1, failover=True)
HEIR = Plan(jobs=2, sendable=1, parents=(0,), cancel=True, retry=True)
FAN_IN = Plan(jobs=3, sendable=2, parents=(0, 1), claims=2, attempts=1)


@pytest.mark.parametrize("plan", [PLAIN, FAILOVER, HEIR, FAN_IN], ids=["plain", "failover", "heir", "fan-in"])
def test_no_state_breaks_a_promise(plan: Plan) -> None:
    """I2, I3, I4: one end for each job, by whoever holds it; what waits begins once, not before (F2, F28, F32, F60)."""
    found = search(plan)
    assert found.fault is None, found.way
    assert found.states > 1000


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        (PLAIN._replace(without="fence"), "ended by somebody who did not hold it"),
        (FAILOVER._replace(without="lease"), "ended by somebody who did not hold it"),
        (PLAIN._replace(without="tombstone"), "put in line twice"),
        (FAN_IN._replace(without="once"), "begun too early"),
        (PLAIN._replace(without="asked"), "asked to stop comes back"),
    ],
    ids=["fence", "lease", "tombstone", "once", "asked"],
)
def test_what_is_taken_away_is_missed(plan: Plan, fault: str) -> None:
    """So the search can fail: without the fence, its random part, the tombstone, the answer ALREADY, the stop."""
    found = search(plan)
    assert found.fault is not None
    assert fault in found.fault
    assert found.way
