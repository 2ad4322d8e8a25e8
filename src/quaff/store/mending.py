"""Calls by which an auditor sets right what it has found; each looks again before it changes anything."""

from __future__ import annotations

from collections.abc import Sequence

from quaff.store.keys import Partition
from quaff.store.scripts import load
from quaff.store.transitions import Call

#: Running jobs of a partition, holders of its limits, nodes of a flow up to which these can be counted in one call.
COUNTED = 500


def mend(partition: Partition, id: bytes, *, processes: Sequence[bytes], forget_counts: bool) -> Call[int]:
    """Put a job into the one place where it belongs; 1000 processes at most."""
    return Call(load("mend"), partition, (id, b"%d" % forget_counts, *processes), int)


def correct(partition: Partition, what: str, name: bytes, job: bytes = b"") -> Call[int]:
    """Set right a process, unique key, schedule, limit, lane, flow or counter; 0 where it cannot be told now.

    Args:
        name: which one; of a lane one of its entries in ``backlog``.
        job: that is to hold a unique key which nobody holds.
    """
    return Call(load("correct"), partition, (what.encode(), name, b"%d" % COUNTED, job), int)
