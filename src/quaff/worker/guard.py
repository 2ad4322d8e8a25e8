"""Ends the worker's processes if their supervisor dies without having done so.

A process whose task holds the GIL cannot notice that its supervisor is gone; this one, which runs no task, can.
Run as a file with the standard library only. Standard input carries ``+PGID`` and ``-PGID`` lines; its end means that
the supervisor is gone.
"""

import os
import signal
import sys
import time

#: Seconds the processes get to give back their jobs by themselves.
_PATIENCE = 4.0


def main() -> None:
    """Follow the lines; at their end, end what is left."""
    call_it("quaff-guard")
    outlive()
    groups: set[int] = set()
    for line in sys.stdin:
        note(line, groups)
    end(groups)


def call_it(name: str) -> None:
    """The name of this process in ``ps -o comm`` and ``top``, 15 bytes at most, where there are such names."""
    if os.path.exists("/proc/self/comm"):
        with open("/proc/self/comm", "w") as comm:
            comm.write(name)


def outlive() -> None:
    """Ignore what ends the others."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def note(line: str, groups: set[int]) -> None:
    """Add or drop a group."""
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))


def end(groups: set[int]) -> None:
    """End what is left of them."""
    if groups:
        time.sleep(_PATIENCE)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    main()
