"""All rounds: everything that is measured, each time by all contestants, in another order."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.contestant import Contestant, Failed
from bench.measures.claims import claims
from bench.measures.drain import drain
from bench.measures.enqueue import enqueue
from bench.measures.features import features
from bench.measures.imports import imports
from bench.measures.latency import answers, latency
from bench.plan import DRAINS, LINES, Sizes
from bench.processes import stolen
from bench.results import Reading, Results

Measure = Callable[[Contestant], dict[str, Any] | None]
MEASURES = ("imports", "enqueue", "drain", "latency", "answers", "claims", "features")


def measures(sizes: Sizes, folder: Path) -> Iterator[tuple[str, str, Measure]]:
    """What is measured: its name, the scenario, and what does it."""
    yield "imports", "", partial(imports, sizes=sizes)
    yield "enqueue", "", partial(enqueue, sizes=sizes, folder=folder)
    for cell in DRAINS:
        yield "drain", cell.name, partial(drain, cell=cell, sizes=sizes, folder=folder)
    for delay in LINES:
        yield "latency", str(delay), partial(latency, delay_ms=delay, sizes=sizes, folder=folder)
        yield "answers", str(delay), partial(answers, delay_ms=delay, sizes=sizes, folder=folder)
    yield "claims", "", partial(claims, sizes=sizes, folder=folder)
    yield "features", "", partial(features, sizes=sizes, folder=folder)


def run(
    results: Results, contestants: Sequence[Contestant], only: Sequence[str], rounds: int, sizes: Sizes, folder: Path
) -> None:
    """Fill ``results``; tells on stderr how far it is."""
    began = time.monotonic()
    table = [each for each in measures(sizes, folder) if each[0] in only or " ".join(each[:2]) in only]
    turn = 0
    for round in range(rounds):
        for name, scenario, measure in table:
            # Who comes next to whom changes with every table row, so nobody always has the cooler machine.
            order = [*contestants[turn % len(contestants) :], *contestants[: turn % len(contestants)]]
            turn += 1
            found = [reading for each in order if (reading := take(name, scenario, round, each, measure))]
            results.readings += found
            told = ", ".join(f"{each.queue} {_gist(each)}" for each in found)
            print(
                f"{time.monotonic() - began:5.0f} s  {round + 1}/{rounds}  {name} {scenario}: {told}", file=sys.stderr
            )


def take(name: str, scenario: str, round: int, contestant: Contestant, measure: Measure) -> Reading | None:
    """One reading; None for who takes no part."""
    (others, all), error = stolen(), ""
    try:
        figures = measure(contestant)
    except (Failed, RuntimeError) as failure:
        figures, error = {}, str(failure)
        print(f"bench: {contestant.name}, {name} {scenario}: {failure}", file=sys.stderr)
    if figures is None:
        return None
    others_now, all_now = stolen()
    part = (others_now - others) / max(1, all_now - all)
    return Reading(name, scenario, contestant.name, round, round_to(figures), round_to(part), error)


def round_to(value: Any) -> Any:
    """Four digits that count: more would be noise."""
    if isinstance(value, dict):
        return {key: round_to(each) for key, each in value.items()}
    if isinstance(value, list):
        return [round_to(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _gist(reading: Reading) -> str:
    first = next((value for value in reading.figures.values() if isinstance(value, float)), None)
    main = reading.figures.get("rate", reading.figures.get("p50", first))
    return "failed" if main is None else f"{main:,.3g}" if main < 1000 else f"{main:,.0f}"
