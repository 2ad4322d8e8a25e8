"""What Quaff wants to reach, as ratios within one run wherever that can be. They are told, and fail nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.measures.latency import percentiles
from bench.plan import BACKLOGS, LINES, Cell
from bench.results import Results, median
from bench.tasks import SLEEP

NOOP, NOOP2 = Cell("noop", "sync").name, Cell("noop", "sync", 2).name
DIRECT = str(LINES[0])


@dataclass(frozen=True)
class Target:
    """One line at the end of a run.

    Attributes:
        name: as in that line.
        sense: ``>=`` or ``<=``.
        want: the bound.
        got: finds the figure; None where it was not measured.
        remark: what the figure alone would not say.
    """

    name: str
    sense: str
    want: float
    got: Callable[[Results], float | None]
    remark: Callable[[Results], str] = lambda results: ""

    def line(self, results: Results) -> str:
        """``target NAME: want >= X, got Y, ok|short``."""
        head = f"target {self.name}: want {self.sense} {self.want:g}, got "
        found = self.got(results)
        if found is None:
            return f"{head}nothing, not measured"
        return f"{head}{found:.3g}, {'ok' if self.reached(found) else 'short'}{self.remark(results)}"

    def reached(self, found: float) -> bool:
        """Whether this figure is on the right side of the bound."""
        return found >= self.want if self.sense == ">=" else found <= self.want


def _ours(measure: str, scenario: str, figure: str, scale: float = 1) -> Callable[[Results], float | None]:
    """The median of a figure of Quaff's own."""

    def got(results: Results) -> float | None:
        found = results.spread(measure, scenario, "quaff", figure)
        return found and found.median * scale

    return got


def _against(
    measure: str, scenario: str, figure: str, floor: str, *, inverse: bool = False
) -> Callable[[Results], float | None]:
    """Quaff's figure by that of a floor in the same round, or the other way round."""

    def got(results: Results) -> float | None:
        ours, theirs = (results.values(measure, scenario, queue, figure) for queue in ("quaff", floor))
        return results.ratio(theirs, ours) if inverse else results.ratio(ours, theirs)

    return got


def best_peer(
    results: Results, measure: str, scenarios: tuple[str, ...], figures: tuple[str, ...], *, redelivering: bool = False
) -> tuple[str, dict[int, float]]:
    """The peer with the highest median of any of these figures, and that figure by round; nobody: an empty name."""
    found = {
        (name, scenario, figure): results.values(measure, scenario, name, figure)
        for name in results.peers(redelivering=redelivering)
        for scenario in scenarios
        for figure in figures
    }
    (name, *_), values = max(
        found.items(), key=lambda each: median(each[1].values()) or 0, default=(("", "", ""), dict[int, float]())
    )
    return name, values


def _fastest(results: Results) -> tuple[str, dict[int, float]]:
    cells = (NOOP, Cell("noop", "async").name)
    return best_peer(results, "drain", cells, ("rate",), redelivering=True)


def _bulkiest(results: Results) -> tuple[str, dict[int, float]]:
    return best_peer(results, "enqueue", ("",), ("bulk", "batch", "one"))


def _title(results: Results, name: str) -> str:
    return f" (best: {results.contestants[name]['title']})" if name else ""


def _two_by_one(results: Results) -> float | None:
    two, one = (results.values("drain", cell, "quaff", "rate") for cell in (NOOP2, NOOP))
    return results.ratio(two, one)


def _servers_core(results: Results) -> str:
    busy = [
        us * results.values("drain", NOOP2, "quaff", "rate")[round] / 1e6
        for round, us in results.values("drain", NOOP2, "quaff", "server_us").items()
    ]
    cpus = results.about["machine"]["cpus"]
    return f" (with two, the server's core is {median(busy) or 0:.0%} busy; {cpus} cores for all three processes)"


def _pooled_p99(results: Results) -> float | None:
    """Over all rounds together: one round has too few for it."""
    ours, floor = (
        [ms for each in results.values("latency", DIRECT, queue, "ms").values() for ms in each]
        for queue in ("quaff", "bare_wait")
    )
    return percentiles(ours)["p99"] / percentiles(floor)["p99"] if ours and floor else None


def _growth(results: Results) -> float | None:
    many, few = (results.values("claims", "", "quaff", f"us_{backlog}") for backlog in (BACKLOGS[-1], BACKLOGS[0]))
    return results.ratio(many, few)


TARGETS = (
    Target(
        "drain by best redelivering peer", ">=", 20,
        lambda results: results.ratio(results.values("drain", NOOP, "quaff", "rate"), _fastest(results)[1]),
        lambda results: _title(results, _fastest(results)[0]),
    ),
    Target("drain by bare loop", ">=", 0.6, _against("drain", NOOP, "rate", "bare")),
    Target("drain of 2 processes by 1", ">=", 1.5, _two_by_one, _servers_core),
    Target("enqueue one by bare EVALSHA", ">=", 0.9, _against("enqueue", "", "one", "bare")),
    Target(
        "enqueue bulk by best peer", ">=", 5,
        lambda results: results.ratio(results.values("enqueue", "", "quaff", "bulk"), _bulkiest(results)[1]),
        lambda results: _title(results, _bulkiest(results)[0]),
    ),
    Target("idle latency p50 by bare BLPOP + script", "<=", 1.3, _against("latency", DIRECT, "p50", "bare_wait")),
    Target("idle latency p99 by bare BLPOP + script", "<=", 2, _pooled_p99),
    Target("round trips a job under load", "<=", 0.1, _ours("drain", NOOP, "round_trips")),
    Target("commands a second of an idle worker", "<=", 1, _ours("latency", DIRECT, "sent_s")),
    Target("server bytes a queued no-op", "<=", 120, _ours("drain", NOOP, "bytes_queued")),
    Target("MB of PSS, supervisor and idle process", "<=", 60, _ours("latency", DIRECT, "pss", 1e-6)),
    Target("ms of import quaff", "<=", 30, _ours("imports", "", "ms")),
    Target(
        "10 ms sleeps on 100 async slots by ideal", ">=", 0.95,
        _ours("drain", Cell("sleep", "async").name, "rate", SLEEP / 100),
    ),
    Target(
        "1 ms of CPU, Python alone by Quaff", "<=", 1.05,
        _against("drain", Cell("spin", "sync").name, "rate", "bare_python", inverse=True),
    ),
    Target("claim at 1 M by 1 k", "<=", 2, _growth),
)  # fmt: skip
