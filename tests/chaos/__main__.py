"""``python -m tests.chaos --duration 60 --seed 1``: everything that can go wrong, card after card, and the arithmetic.

The same seed deals the same cards in the same order; what they meet depends on the machine. Exit code 0: the promise
was kept; 1: it was not; 3: the run is void, because it did not meet what it has to. What tells why is left in the
directory named at the end.
"""

from __future__ import annotations

import argparse
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.chaos.deck import DECK
from tests.chaos.mutants import MUTANTS, SOURCE, mutate
from tests.chaos.run import Plan, Run
from tests.chaos.verdict import KILLS, Verdict
from tests.helpers import SRC

KEPT, BROKEN, VOID = 0, 1, 3


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--duration", type=float, default=60.0, help="seconds; every card is played once in any case")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--rate", type=float, default=40.0, help="jobs a second")
    parser.add_argument("--cards", default=",".join(DECK), help="only these")
    parser.add_argument("--without", choices=MUTANTS, help="leave out a rule of the engine: the run has to fail")
    parser.add_argument("--keep", action="store_true", help="keep the directory of a run that passed, too")
    return parser.parse_args(arguments)


def commit() -> str:
    """Of the checkout, with a + if something in it is in no commit; empty where git knows nothing of it."""
    command = ("git", "-C", str(SRC.parent), "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+")
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def report(run: Run, verdict: Verdict, seconds: Sequence[float]) -> None:
    """The summary, on stdout."""
    counts = verdict.counts
    sent = ("accepted", "refused", "unknown")
    ends = ("succeeded", "poison", "recovered", "lost in a window", "second runs")
    print("calls:   " + ", ".join(f"{counts[each]} {each}" for each in sent))
    print("jobs:    " + ", ".join(f"{counts[each]} {each}" for each in ends))
    print("again:   " + ", ".join(f"{count} {cause}" for cause, count in sorted(verdict.causes.items())))
    print(f"starts:  {counts['starts']}, {counts['starts cut short']} of them cut short")
    print("deeds:   " + ", ".join(f"{kind} {counts[f'{kind} deeds']}" for kind in (*KILLS, "stopped", "silent")))
    slowest = max(run.probes, key=lambda each: each[1])
    print(f"probes:  {len(run.probes)}, the slowest {slowest[1]:.2f} s after {slowest[0]}")
    print("seconds: raging {:.1f}, draining {:.1f}".format(*seconds))
    for each in dict.fromkeys(run.without):
        print(f"without: {each}")


def conclude(run: Run, verdict: Verdict) -> int:
    """What was met, what was wrong, and the exit code."""
    met = run.sometimes(verdict)
    for what, count in met.items():
        print(f"met: {count:5d} × {what}")
    for fault in verdict.faults[:50]:
        print(f"FAULT {fault}")
    missing = [what for what, count in met.items() if not count]
    if missing:
        print(f"void: the run has not met: {'; '.join(missing)}")
    return BROKEN if verdict.faults else VOID if missing else KEPT


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also then nothing of it stays
    print(f"chaos: seed {options.seed}, {options.duration:g} s, {options.rate:g} jobs a second", flush=True)
    home = Path(tempfile.mkdtemp(prefix="quaff-chaos", dir="/tmp"))
    source = mutate(options.without, home) if options.without else SOURCE
    run = Run(Plan(options.duration, options.seed, options.rate, options.cards.split(","), source), home)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    about = f"commit {commit() or 'unknown'}, {run.servers.engine()}, {python}"
    print(f"chaos: {about}", flush=True)
    try:
        clock = time.monotonic()
        run.rage()
        raged, clock = time.monotonic() - clock, time.monotonic()
        run.heal()
        verdict = run.judge()
        report(run, verdict, (raged, time.monotonic() - clock))
        code = conclude(run, verdict)
        if code or options.keep:
            run.keep()
    except BaseException:
        print(f"everything is kept in {home}")
        with suppress(Exception):
            run.keep()
        raise
    finally:
        run.end()
    if code or options.keep:
        print(f"everything is kept in {home}")
    else:
        shutil.rmtree(home, ignore_errors=True)
    lost = sum(fault.startswith("lost") for fault in verdict.faults)
    if code:
        print(f"chaos: {about}")
    print(f"chaos: {verdict.counts['accepted']} jobs, {lost} lost, {len(verdict.faults)} faults, seed {options.seed}")
    return code


if __name__ == "__main__":
    sys.exit(main())
