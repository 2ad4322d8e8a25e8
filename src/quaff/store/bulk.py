"""Jobs on their way to the server in chunks; each chunk is atomic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from quaff.model.message import Submission
from quaff.store.keys import partition
from quaff.store.transitions import BATCH, Call, enqueue

#: Bytes of messages in one chunk: a script's arguments are copied, and nobody else is served meanwhile.
_CHUNK_BYTES = 4 * 1024 * 1024


def chunks(namespace: str, submissions: Sequence[Submission]) -> Iterator[tuple[list[int], Call[list[Any]]]]:
    """Calls that store ``submissions``, each with the places of its jobs in the sequence.

    A partition's jobs keep their order.
    """
    open_chunks: dict[tuple[str, int], tuple[list[int], int]] = {}
    for place, submission in enumerate(submissions):
        where = (submission.id.queue, submission.id.partition)
        places, size = open_chunks.get(where, ([], 0))
        if places and (len(places) == BATCH or size + len(submission.message) > _CHUNK_BYTES):
            yield places, _call(namespace, submissions, places)
            places, size = [], 0
        places.append(place)
        open_chunks[where] = (places, size + len(submission.message))
    for places, _ in open_chunks.values():
        yield places, _call(namespace, submissions, places)


def _call(namespace: str, submissions: Sequence[Submission], places: list[int]) -> Call[list[Any]]:
    first = submissions[places[0]].id
    jobs = [(submissions[place].id.raw, submissions[place].message) for place in places]
    return enqueue(partition(namespace, first.queue, first.partition), jobs)
