"""What is done to many jobs some at a time: how far it has come, and its one entry in the list of changes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from quaff.config import Settings
from quaff.errors import QuaffError
from quaff.model import outcome
from quaff.store.client import Store
from quaff.store.keys import Partition
from quaff.store.operations import purge
from quaff.store.queries import stats


class Step(NamedTuple):
    """How far it has come: of ``total`` jobs ``seen`` were tried, and with ``done`` it was done."""

    total: int
    seen: int
    done: int


def written_down(steps: Iterator[Step], write: Callable[[int], None]) -> Generator[Step]:
    """The steps; whatever was done by then is written down at their end, also where nobody goes on to it.

    Args:
        write: given how many.
    """
    done = 0
    try:
        for step in steps:
            done = step.done
            yield step
    except GeneratorExit:
        if done:
            write(done)
        raise
    except BaseException:
        # What went wrong first is what has to be told; where it is the server, this will not do either.
        with suppress(QuaffError):
            if done:
                write(done)
        raise
    if done:
        write(done)


def purged(store: Store, settings: Settings, homes: Sequence[Partition], *, scheduled: bool) -> Iterator[Step]:
    """Cancel what waits in a queue, a few jobs at a time.

    Args:
        homes: all of its partitions.
        scheduled: also what waits for its time.
    """
    places = ("queued", "parked", *(("scheduled",) if scheduled else ()))
    counts = [sum(each[place] for place in places) for each in store.run_many([stats(home) for home in homes])]
    record = outcome.cancelled("the queue was purged")
    ttl_ms, window_ms = int(settings.result_ttl * 1000), int(settings.key_window * 1000)
    done = 0
    for home, count in zip(homes, counts, strict=True):
        # What is sent meanwhile must not make this endless: no more than there were at the start.
        left = count
        while left > 0:
            gone, waiting = store.run(
                purge(home, outcome=record, ttl_ms=ttl_ms, window_ms=window_ms, scheduled=scheduled)
            )
            done += gone
            left = min(left - gone, waiting)
            yield Step(max(sum(counts), done), done, done)
