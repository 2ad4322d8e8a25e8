"""How many jobs a runner may hold beyond those it runs: hundreds if they are tiny, none if they are long."""

from __future__ import annotations

#: Seconds of work to hold in advance, at least and at most, and how many round trips it is to last for.
_AHEAD, _FAR, _TRIPS = 0.008, 0.05, 3
#: The most jobs in advance: of more, each costs the server more.
_MOST = 200
#: Seconds without a start after which waiting jobs are given back.
PATIENCE = 0.1


class Prefetch:
    """Learns from finished attempts how long jobs take, and so how many end in the time of a few round trips.

    Args:
        slots: how many run at a time.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        # Nothing is known yet: as if they had been stuck.
        self._average = PATIENCE * slots
        self._ahead = _AHEAD
        self.depth: int = 0

    def learn(self, seconds: float, count: int, trip: float) -> None:
        """``count`` attempts ran for ``seconds`` in all; a round trip takes ``trip`` seconds."""
        self._ahead = min(_FAR, max(_AHEAD, _TRIPS * trip))
        weight = min(1.0, count * 0.1)
        self._average += (seconds / count - self._average) * weight
        self._set()

    def stuck(self) -> None:
        """Jobs that were held in advance had to be given back: they are longer than was thought."""
        self._average = max(self._average, PATIENCE * self._slots)
        self._set()

    def _set(self) -> None:
        self.depth = min(_MOST, int(self._slots * self._ahead / max(self._average, 1e-6)))
