"""What is measured, as data: the drains, and how much of everything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple


class Cell(NamedTuple):
    """One drain: a task, of a kind, by so many processes, over a line that takes so many milliseconds more."""

    task: str
    kind: str
    processes: int = 1
    delay_ms: float | None = None  # None: no proxy between
    peers: bool = True  # False: too dear to do with all of them

    @property
    def name(self) -> str:
        """As in results and tables."""
        line = "" if self.delay_ms is None else f", proxy +{self.delay_ms:g} ms"
        return f"{self.task}, {self.kind}, {self.processes}p{line}"


DRAINS = (
    *(Cell(task, kind) for task in ("noop", "echo", "sleep", "spin") for kind in ("sync", "async")),
    *(Cell("noop", kind, 2) for kind in ("sync", "async")),
    *(Cell(task, kind, 2, peers=False) for task in ("echo", "sleep", "spin") for kind in ("sync", "async")),
    *(Cell("noop", "sync", 1, delay, peers=False) for delay in (0, 1)),
)
#: The lines over which idle latency is measured: none, and the proxy with so many milliseconds.
LINES = (None, 0.0, 1.0)
BACKLOGS = (1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        drain: seconds that one drain should take.
        most: jobs of one drain, however fast.
        enqueue: seconds for each way to send.
        latency: jobs whose latency is taken, in one round and over one line.
        asked: calls whose result is waited for.
        idle: seconds for which an idle worker is watched.
        imports: starts of an interpreter.
        claims: claims at each backlog.
        features: jobs of each drain of Quaff with another wish.
    """

    drain: float = 1.2
    most: int = 80_000
    enqueue: float = 1.0
    latency: int = 400
    asked: int = 100
    idle: float = 6.0
    imports: int = 3
    claims: int = 300
    features: int = 10_000


FULL = Sizes()
QUICK = replace(
    FULL, drain=0.5, most=20_000, enqueue=0.2, latency=50, asked=20, idle=1.0, imports=1, claims=50, features=2_000
)
