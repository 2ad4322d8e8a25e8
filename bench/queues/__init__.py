"""One module for each queue, floor or peer, all with the same few names; ``driver.py`` uses them.

    TITLE                        as in the table
    PACKAGES                     whose versions are told
    SETTINGS, GUARANTEE          said in the table: how it is set up here; what becomes of a job whose worker is killed
    REDELIVERS                   whether such a job runs again by itself, with these settings
    SLOTS                        jobs at once in one process, by kind: "sync" (plain functions), "async" (coroutines)
    IMPORT                       what an application imports, for the time that takes
    FLOOR_OF                     tasks and measures that a floor is there for; whoever does not say takes part in all
    GAP                          seconds between two jobs while latency is measured, if a fast beat would fill the queue
    worker(processes, kind)      the commands that run jobs: programs with their arguments
    enqueue(kind, task, args)    sends one call
    batch(kind, task, calls)     sends many, one by one inside a block, pipeline or the like; if there is such a thing
    bulk(kind, task, calls)      sends many; if there is such a thing
    ask(kind, task, args)        sends one and waits for its result; if there is a way to wait
    connect()                    before any of them, if need be

Functions may be coroutines. A module with a file of requirements beside it (NAME.txt) is a peer, and gets an
environment of its own. ``URL`` is the server, ``RESULTS`` is true where results have to be kept.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:1/0")
RESULTS = "BENCH_RESULTS" in os.environ


def program(name: str) -> str:
    """A program of the environment that runs this."""
    return str(Path(sys.executable).with_name(name))
