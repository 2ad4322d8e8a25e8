"""Ends the worker's processes if their supervisor dies without having done so.

A process whose task holds the GIL cannot notice that its supervisor is gone; this one, which runs nothing else, can.
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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    if groups:
        time.sleep(_PATIENCE)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    main()
