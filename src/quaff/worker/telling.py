"""What running attempts say of themselves, on its way to the server: a few times a second, whatever they say."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from quaff.context import Attempt
from quaff.model import progress
from quaff.store.keys import partition
from quaff.store.transitions import BATCH, Call, note

#: Seconds between two calls.
_EVERY = 0.2


class Telling:
    """The news of one process.

    Args:
        namespace: of the application.
        wake: called, from any thread, when there is news after none.
    """

    def __init__(self, namespace: str, wake: Callable[[], None]) -> None:
        self._namespace = namespace
        self._wake = wake
        self._news: deque[Attempt] = deque()
        self._next_at = 0.0

    def tell(self, attempt: Attempt) -> None:
        """An attempt has something to say; from any thread, once until it was heard."""
        self._news.append(attempt)
        if len(self._news) == 1:
            self._wake()

    @property
    def seconds_left(self) -> float:
        """Until there is something to send; infinite if nobody has said anything."""
        return max(0.0, self._next_at - time.monotonic()) if self._news else float("inf")

    def calls(self) -> list[Call[list[int]]]:
        """What to send now. Nobody waits for the answers: what is lost is said again, or was the last word anyway."""
        if not self._news or self.seconds_left > 0:
            return []
        self._next_at = time.monotonic() + _EVERY
        by_queue: dict[tuple[str, int], list[tuple[bytes, bytes, bytes]]] = {}
        for _ in range(min(BATCH, len(self._news))):
            attempt = self._news.popleft()
            # In this order: what is said from here on is news again.
            attempt.told = False
            said: Any = attempt.progress
            item = (attempt.raw, attempt.token, progress.encode(said))
            by_queue.setdefault((attempt.queue, attempt.partition), []).append(item)
        return [note(partition(self._namespace, queue, number), items) for (queue, number), items in by_queue.items()]
