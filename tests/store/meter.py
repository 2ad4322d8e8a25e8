"""What calls cost the server, by its own CPU clock."""

from __future__ import annotations

from typing import Any, NamedTuple

from quaff.store.transitions import Call
from tests.store.engine import Desk


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

    def worst(self) -> dict[str, float]:
        """The most that a call of each script has cost, in ms."""
        found: dict[str, float] = {}
        for name, ms in self.costs:
            found[name] = max(ms, found.get(name, 0.0))
        return {name: round(ms, 2) for name, ms in sorted(found.items(), key=lambda each: -each[1])}
