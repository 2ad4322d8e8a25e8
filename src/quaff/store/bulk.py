"""Jobs on their way to the server in chunks; each chunk is atomic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from quaff.model.durability import Durability
from quaff.model.message import Submission
from quaff.store.assurance import assured
from quaff.store.keys import partition
from quaff.store.transitions import BATCH, Call, enqueue, enqueue_routed

#: Bytes of messages in one chunk: a script's arguments are copied, and nobody else is served meanwhile.
_CHUNK_BYTES = 4 * 1024 * 1024
#: Jobs with a placement in one: each may take the place of another one, which ends by that.
PLACED = 15


class Replaced(NamedTuple):
    """What a waiting job that a newer one replaces ends as, and how long that and its tombstone are kept."""

    outcome: bytes
    ttl_ms: int
    window_ms: int


def chunks(
    namespace: str, submissions: Sequence[Submission], replaced: Callable[[], Replaced]
) -> Iterator[tuple[list[int], Call[Any]]]:
    """Calls that store ``submissions``, each with the places of its jobs in the sequence.

    The plain jobs of a partition keep their order, and so do those with a placement, if all ask for one durability.
    """

    def call(places: list[int]) -> tuple[list[int], Call[Any]]:
        some = [submissions[place] for place in places]
        home = partition(namespace, some[0].id.queue, some[0].id.partition)
        if some[0].placement is None:
            made = enqueue(home, [(each.id.raw, each.message) for each in some])
        else:
            jobs = [
                (each.id.raw, each.message, each.placement.route, each.placement.terms)
                for each in some
                if each.placement
            ]
            made = enqueue_routed(home, **replaced()._asdict(), jobs=jobs)
        return places, made if some[0].durability is None else assured(made, some[0].durability)

    if len(submissions) == 1:
        yield call([0])
        return
    open_chunks: dict[tuple[str, int, bool, Durability | None], tuple[list[int], int]] = {}
    for place, submission in enumerate(submissions):
        placed = submission.placement is not None
        where = (submission.id.queue, submission.id.partition, placed, submission.durability)
        places, size = open_chunks.get(where, ([], 0))
        if places and (len(places) == (PLACED if placed else BATCH) or size + len(submission.message) > _CHUNK_BYTES):
            yield call(places)
            places, size = [], 0
        places.append(place)
        open_chunks[where] = (places, size + len(submission.message))
    for places, _ in open_chunks.values():
        yield call(places)
