"""What calls cost the server, by its own CPU clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from quaff.store.transitions import Call
from tests.store.engine import Desk

#: Milliseconds of the server that no call may take.
SLOW_MS = 5.0


class Cost(NamedTuple):
    """One call: its script, and milliseconds of the server's CPU."""

    script: str
    ms: float


class Meter:
    """Measures each call of a desk.

    ``SLOWLOG`` has wall time, and who shares a core with others is slow through no fault of his own: an entry says that
    a script took long, or that the server was put aside meanwhile. The CPU time of the server's process says which: it
    goes on only while that process runs. It is read before and after the call, by a script, so that reading the
    command, writing the answer and the append-only file count as well: it is never less than what the script took, and
    a call below 5 ms by this clock would be in no slow log if the server had its core for itself.
    """

    def __init__(self, desk: Desk) -> None:
        self.costs: list[Cost] = []
        self._redis = desk.redis
        self._run = desk.store.run
        self._clock = self._redis.register_script("return string.format('%.6f', os.clock())")
        self._clock()
        desk.store.run = self._measured  # type: ignore[method-assign]

    def _measured(self, call: Call[Any]) -> Any:
        before = float(self._clock())
        try:
            return self._run(call)
        finally:
            self.costs.append(Cost(call.script.name, (float(self._clock()) - before) * 1000))

    def round_is_over(self) -> list[Cost]:
        """What was measured since the last one."""
        costs, self.costs = self.costs, []
        return costs


def worst_calls(rounds: Sequence[list[Cost]]) -> dict[str, float]:
    """By script the most that a call has cost, in ms, where each is repeated in the same state in every round.

    Of the repetitions of a call the cheapest counts. What a script does, it does each time; a host that was busy with
    another virtual machine, or a cold cache, is not there three times at the same call.
    """
    found: dict[str, float] = {}
    for name in {cost.script for cost in rounds[0]}:
        same = zip(*([cost.ms for cost in costs if cost.script == name] for costs in rounds), strict=False)
        found[name] = round(max(map(min, same)), 2)
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def nothing_slow(rounds: Sequence[list[Cost]]) -> None:
    """No call took 5 ms of the server's own time: what the slow log has beyond that is not our doing (see Meter)."""
    worst = worst_calls(rounds)
    print(worst)
    assert max(worst.values()) < SLOW_MS, f"I18: {worst}"
