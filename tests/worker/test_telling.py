"""Who wakes the thread that tells the server what attempts say."""

from __future__ import annotations

import threading
from typing import Any

from quaff.context import Attempt
from quaff.model.progress import Progress
from quaff.model.tail import VALUES, Outgoing
from quaff.worker.telling import Telling
from tests.helpers import wait_until


class Meeting(Outgoing):
    """Values of a thread that stops when it has said that there are some, until all are there."""

    def __init__(self, barrier: threading.Barrier) -> None:
        super().__init__(VALUES)
        self._barrier = barrier

    @property
    def full(self) -> bool:
        self._barrier.wait(10)
        return False


def attempt(telling: Telling, raw: bytes, said: dict[bytes, Outgoing]) -> Attempt:
    """One that has something to say."""
    progress = None if said else Progress(1, 2, "")
    return Attempt("q", 0, raw, raw, "t", 1, 0, [], telling.tell, progress=progress, said=said)


def test_of_two_who_have_the_first_news_at_the_same_time_one_wakes() -> None:
    """Both see those of the other: neither is the first."""
    rung: list[None] = []
    telling, barrier = Telling("n", lambda: rung.append(None)), threading.Barrier(2)
    tellers = [
        threading.Thread(target=telling.tell, args=[attempt(telling, raw, {VALUES: Meeting(barrier)})])
        for raw in (b"a", b"b")
    ]
    for each in tellers:
        each.start()
    for each in tellers:
        each.join()
    assert rung


def test_who_rings_after_its_news_was_heard_does_not_silence_the_next_one() -> None:
    """A thread may stand still between the two."""
    rung: list[None] = []
    telling, barrier = Telling("n", lambda: rung.append(None)), threading.Barrier(2)
    slow = Meeting(barrier)
    slow.add(b"1")
    teller = threading.Thread(target=telling.tell, args=[attempt(telling, b"a", {VALUES: slow})])
    teller.start()
    heard: list[Any] = wait_until(telling.calls, 5, "its news")
    telling.answered([b""] * len(heard))
    barrier.wait(10)
    teller.join()
    assert (telling.calls(), telling.seconds_left) == ([], float("inf"))
    rung.clear()
    said = Outgoing(VALUES)
    said.add(b"2")
    telling.tell(attempt(telling, b"b", {VALUES: said}))
    assert rung


def test_news_beside_news_that_waits_for_its_time_wakes_nobody() -> None:
    """However often is looked meanwhile: it goes with the rest."""
    rung: list[None] = []
    telling = Telling("n", lambda: rung.append(None))
    telling.tell(attempt(telling, b"a", {}))
    telling.answered([b""] * len(telling.calls()))
    for number in range(100):
        telling.tell(attempt(telling, b"%d" % number, {}))
        assert telling.calls() == []
    assert 0 < telling.seconds_left < 1
    assert len(rung) == 2
