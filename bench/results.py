"""What was found: readings, and the questions that are asked of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Reading:
    """One measurement.

    Attributes:
        measure, scenario: what was measured; the scenario is empty where there is one only.
        queue: the contestant's module.
        round: from 0.
        figures: what was found; empty where ``error`` says what went wrong.
        stolen: the part of the machine's time that others of its host had meanwhile.
    """

    measure: str
    scenario: str
    queue: str
    round: int
    figures: dict[str, Any]
    stolen: float
    error: str = ""


class Spread(NamedTuple):
    """The median of a figure over rounds, its lowest and its highest."""

    median: float
    lowest: float
    highest: float


@dataclass
class Results:
    """One run.

    Attributes:
        about: date, machine, versions, sizes.
        contestants: what each says of itself, by module.
        absent: why a peer does not take part, by module.
        readings: all of them, in order.
    """

    about: dict[str, Any]
    contestants: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)

    def values(self, measure: str, scenario: str, queue: str, figure: str) -> dict[int, Any]:
        """A figure by round."""
        return {
            each.round: each.figures[figure]
            for each in self.readings
            if (each.measure, each.scenario, each.queue) == (measure, scenario, queue) and figure in each.figures
        }

    def spread(self, measure: str, scenario: str, queue: str, figure: str) -> Spread | None:
        """A figure over all rounds; None where there is none."""
        found = self.values(measure, scenario, queue, figure).values()
        return Spread(statistics.median(found), min(found), max(found)) if found else None

    def ratio(self, above: dict[int, float], below: dict[int, float]) -> float | None:
        """The median of the ratios in the same round: what shakes the machine shakes both."""
        return median(above[each] / below[each] for each in above if below.get(each))

    def peers(self, *, redelivering: bool = False) -> list[str]:
        """Other projects; those only that hand out again what a killed worker held."""
        return [
            name
            for name, about in self.contestants.items()
            if about["is_peer"] and (about["redelivers"] or not redelivering)
        ]

    def failures(self) -> Iterator[Reading]:
        """What could not be measured."""
        return (each for each in self.readings if each.error)

    def write(self, path: Path) -> None:
        """As JSON, a line for each reading."""
        head = {"about": self.about, "contestants": self.contestants, "absent": self.absent}
        lines = ",\n".join(json.dumps(asdict(each), default=str) for each in self.readings)
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'{json.dumps(head, indent=1)[:-2]},\n "readings": [\n{lines}\n]}}\n')


def read(path: Path) -> Results:
    """What ``Results.write`` wrote."""
    found = json.loads(path.read_text())
    return Results(
        found["about"], found["contestants"], found["absent"], [Reading(**each) for each in found["readings"]]
    )


def published() -> Results:
    """The newest in the repository."""
    return read(max(FOLDER.glob("*.json")))


def median(values: Iterable[float]) -> float | None:
    """None of nothing."""
    found = list(values)
    return statistics.median(found) if found else None
