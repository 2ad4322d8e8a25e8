"""Waiting for several file descriptors at once."""

from __future__ import annotations

import math
import select
from collections.abc import Sequence


def readable(watched: Sequence[int], seconds: float) -> set[int]:
    """Which file descriptors have something to read, waited for; those below 0 are none.

    Not ``select``: tasks may open a thousand files.
    """
    poll = select.poll()
    for descriptor in watched:
        if descriptor >= 0:
            poll.register(descriptor, select.POLLIN)
    # Rounded up: a wait that ends before its time would turn the loop for nothing.
    return {descriptor for descriptor, _ in poll.poll(math.ceil(max(0.0, seconds) * 1000))}
