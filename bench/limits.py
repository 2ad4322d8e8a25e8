"""What priorities, turns, unique keys and limits cost: drain rates beside the plain one's, in the same run.

    python bench/limits.py --jobs 20000 --rounds 3 --json FILE

Jobs with a rate or concurrency limit are claimed for free slots only, never in advance, so that claim and start are one
moment; their rows show that price and have no bound.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drain import BenchError, Lab, machine, measure, running, versions
from ordered import TASKS, quaff

#: Those that are claimed for free slots only.
NOT_PREFETCHED = {"concurrency", "rate"}
#: What the others reach at least, as a part of the plain rate.
BOUND = 0.4
WORKER = ["-m", "quaff", "worker", "-A", "ordered:quaff", "-p", "1", "-c", "8"]


def drain(lab: Lab, name: str, jobs: int) -> float:
    """Jobs a second."""
    lab.refill(lambda: TASKS[name].map((number,) for number in range(jobs)))
    with tempfile.TemporaryFile() as said, running(WORKER, lab.url, said) as process:
        return measure(lab, process, jobs).rate


def run(jobs: int, rounds: int) -> dict[str, Any]:
    """All rounds; prints as it goes."""
    rates: dict[str, list[float]] = {name: [] for name in TASKS}
    ratios: dict[str, list[float]] = {name: [] for name in TASKS}
    with tempfile.TemporaryDirectory(prefix="quaff-bench-", ignore_cleanup_errors=True) as folder:
        lab = Lab(Path(folder) / "server")
        try:
            quaff.override(url=lab.url)
            about = versions(lab)
            for number in range(rounds):
                names = list(TASKS)
                order = names[number % len(names) :] + names[: number % len(names)]
                found = {name: drain(lab, name, jobs) for name in order}
                for name, rate in found.items():
                    rates[name].append(rate)
                    ratios[name].append(rate / found["plain"])
                print(
                    f"round {number + 1}: " + ", ".join(f"{name} {rate:,.0f}/s" for name, rate in found.items()),
                    flush=True,
                )
        finally:
            lab.close()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": about,
        "settings": {"jobs": jobs, "rounds": rounds},
        "rates": rates,
        "ratios": ratios,
    }


def main() -> int:
    """The command; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs a drain (default 20000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    given = parser.parse_args()
    try:
        result = run(given.jobs, given.rounds)
    except BenchError as error:
        print(f"limits: {error}", file=sys.stderr)
        return 1
    missed = []
    print(f"{'':>20}{'jobs/s':>10}{'ratio':>8}")
    for name, ratios in result["ratios"].items():
        ratio = statistics.median(ratios)
        bounded = name not in NOT_PREFETCHED
        missed += [name] if bounded and ratio < BOUND else []
        note = "" if bounded else "  not prefetched"
        print(f"{name:>20}{statistics.median(result['rates'][name]):>10,.0f}{ratio:>8.2f}{note}")
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    if missed:
        print(f"limits: below {BOUND} of the plain rate: {', '.join(missed)}", file=sys.stderr)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
