"""Over how many partitions each queue is spread, and in which of them a job is at home."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from quaff.errors import ConfigurationError
from quaff.model.ids import JobId, check_name
from quaff.model.options import TaskOptions

#: Each costs every worker of its queue a sweep now and then and, on a cluster, each process a connection.
MOST = 256


class Spread:
    """How many partitions the queues have that have more than one.

    Args:
        counts: by queue.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = {queue: count for queue, count in counts.items() if count > 1}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Each queue that has more than one, with their number."""
        return iter(self._counts.items())

    def of(self, queue: str) -> int:
        """How many a queue has."""
        return self._counts.get(queue, 1)

    def home(self, queue: str, raw: bytes) -> JobId:
        """Where a job of that queue is at home: the same for every caller with the same number of partitions.

        By the end of its id: that is random or a digest, and does not change when a job of a flow runs again.
        """
        count = self._counts.get(queue)
        return JobId(queue, int.from_bytes(raw[-4:]) % count if count else 0, raw)

    def __repr__(self) -> str:
        return repr(self._counts)


def check_spread(task: str, options: TaskOptions, partitions: Spread) -> None:
    """Refuse what holds within one partition only, where the task's queue has several (engine.md §8).

    Raises:
        ConfigurationError
    """
    count = partitions.of(options.queue)
    if count == 1:
        return
    given = {"unique": options.unique, "fair_by": options.fair_by, "rate or concurrency": options.limits}
    if found := [name for name, value in given.items() if value]:
        raise ConfigurationError(
            f"{task}: {found[0]}= holds within one partition, and queue {options.queue!r} has {count} (PARTITIONS). "
            "Give the task a queue of its own with one partition."
        )


def spread(given: Any, source: str) -> Spread:
    """What ``PARTITIONS`` says: ``mail=8,thumbs=4``, or a mapping.

    Args:
        given: the text or mapping.
        source: where it was found.

    Raises:
        ConfigurationError: it is neither, or a name or number that cannot be.
    """
    pairs: Any = dict(given) if isinstance(given, Spread) else given
    if isinstance(given, str):
        parted = [each.partition("=") for each in given.split(",") if each.strip()]
        pairs = {queue: number for queue, _, number in parted}
    if not isinstance(pairs, Mapping):
        raise ConfigurationError(f"partitions={given!r} from {source}: give a mapping, or a text such as 'mail=8'.")
    counts: dict[str, int] = {}
    for queue, number in pairs.items():
        text = str(number).strip()
        if isinstance(number, (bool, float)) or not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST):
            raise ConfigurationError(
                f"partitions={given!r} from {source}: {queue!r} has {number!r}; give a whole number from 1 to {MOST}, "
                "as in 'mail=8'."
            )
        counts[check_name("queue", queue.strip() if isinstance(queue, str) else queue)] = int(text)
    return Spread(counts)
