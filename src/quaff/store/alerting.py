"""The call by which one worker at a time finds out what the world is to be told of."""

from __future__ import annotations

from typing import Any, NamedTuple

from quaff.store.keys import Partition
from quaff.store.scripts import load
from quaff.store.transitions import Call


class Letter(NamedTuple):
    """A dead letter: its id, when it was given up (Unix milliseconds), and its outcome (empty where none is kept)."""

    id: bytes
    given_up_ms: int
    outcome: bytes


class First(NamedTuple):
    """Who stands at the head of a line: id, message, and of one that has begun its last attempt as kept."""

    id: bytes
    message: bytes
    attempt: bytes = b""


class Told(NamedTuple):
    """What was told: the last dead letter, and whether the queue is late; None where there was nothing of that."""

    letter: Letter | None = None
    late: bool | None = None


class Due(NamedTuple):
    """What there is to tell of one partition.

    Attributes:
        now_ms: the server's clock.
        late: it was told that the queue is late.
        paused: nothing is handed out there.
        head: who waits in front: in the one line, alone, of each priority, of lanes; few of each.
        letters: jobs given up since, the first one first.
    """

    now_ms: int
    late: bool
    paused: bool
    head: list[First]
    letters: list[Letter]


def alerts(partition: Partition, who: bytes, told: Told, *, lasts_ms: int, most: int) -> Call[Due | None]:
    """Note what was told, and give what comes next, ``most`` letters of it; None while somebody else tells.

    Nobody else does for ``lasts_ms`` from now.
    """
    at = (b"%d" % told.letter.given_up_ms, told.letter.id) if told.letter else (b"", b"")
    late = b"" if told.late is None else b"%d" % told.late
    return Call(load("alerts"), partition, (who, lasts_ms, *at, late, most), _due, notes_only=True)


def _due(reply: list[Any]) -> Due | None:
    if not reply:
        return None
    now_ms, late, paused, count = reply[:4]
    head, rest = reply[4 : 4 + 3 * count], reply[4 + 3 * count :]
    letters = [Letter(id, int(at), kept) for id, at, kept in zip(rest[::3], rest[1::3], rest[2::3], strict=True)]
    first = [First(*each) for each in zip(head[::3], head[1::3], head[2::3], strict=True)]
    return Due(now_ms, late == b"1", paused == 1, first, letters)
