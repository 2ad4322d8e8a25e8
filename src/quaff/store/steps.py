"""Calls by which a running attempt remembers, and by which a job is sent signals."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from quaff.model import steps as model
from quaff.store.keys import Partition
from quaff.store.scripts import load
from quaff.store.transitions import Call


class Kept(IntEnum):
    """What the server says to a step."""

    OK = 1
    FENCED = 3
    TOO_MANY = 5
    TOO_LARGE = 6


class Heard(IntEnum):
    """What the server says to an attempt that wants a signal."""

    RECEIVED = 1
    TIMED_OUT = 2
    FENCED = 3
    NOT_YET = 4


def step(partition: Partition, items: Sequence[tuple[bytes, bytes, bytes]]) -> Call[list[Kept]]:
    """Remember steps: items of ``(id, token, step without its time)``, BATCH at most."""
    flat = tuple(value for item in items for value in item)
    args = (b"%d" % model.MOST, b"%d" % model.MOST_BYTES, *flat)
    return Call(load("step"), partition, args, lambda reply: [Kept(code) for code in reply])


def recall(partition: Partition, id: bytes) -> Call[tuple[int, bytes]]:
    """The server's time in Unix milliseconds, and what a job remembers."""
    return Call(load("recall"), partition, (id,), lambda reply: (reply[0], reply[1]))


def receive(
    partition: Partition, id: bytes, token: bytes, untimed: bytes, timeout_ms: int
) -> Call[tuple[Heard, bytes]]:
    """Take the signal that a wait is for, or see that its time is up; ``timeout_ms``: -1 for a wait without an end."""
    args = (id, token, untimed, b"%d" % timeout_ms)
    return Call(load("receive"), partition, args, lambda reply: (Heard(reply[0]), reply[1]))


def signal(partition: Partition, id: bytes, *, signal_id: bytes, name: bytes, value: bytes) -> Call[bytes]:
    """Send a job a signal.

    Answers ``b"d"`` if it is there, ``b"n"`` or ``b"b"`` if there are too many or too large ones, a state's letter for
    a job that has ended, ``b""``, or, for a job that runs in another queue, its id there and that partition.
    """
    bounds = (b"%d" % model.MOST_SIGNALS, b"%d" % model.MOST_SIGNAL_BYTES)
    return Call(load("signal"), partition, (id, signal_id, name, value, *bounds), bytes)


def rerun(partition: Partition, id: bytes, *, call_id: bytes, from_step: bytes) -> Call[bytes]:
    """Send a dead letter back without some of its steps; ``b"x"`` if it has none of that name, else as ``requeue``."""
    return Call(load("rerun"), partition, (id, call_id, from_step), bytes)
