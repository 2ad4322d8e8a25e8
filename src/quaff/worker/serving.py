"""What a supervisor does for the queues of its worker, put together: chores, and ears for what hurries them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from quaff.queues import QueueStats, stats_of
from quaff.store.client import Store
from quaff.store.connect import Endpoint
from quaff.store.keys import Partition, partition
from quaff.store.transitions import Kept, Rules
from quaff.worker.burst import Burst
from quaff.worker.control import Word
from quaff.worker.courier import Courier
from quaff.worker.ears import Ears
from quaff.worker.maintenance import Chores
from quaff.worker.presence import Presence
from quaff.worker.starts import Start
from quaff.worker.timekeeping import Timekeeper


class Serving:
    """The chores of one worker.

    Args:
        word: what its first process said when it had loaded the application.
        name: the worker's.

    Attributes:
        chores: these.
        presence: says what the worker is and does.
    """

    def __init__(self, word: Word, name: str) -> None:
        settings = word.settings
        rules = Rules(
            int(settings["max_crashes"]), int(settings["failed_ttl"] * 1000), int(settings["key_window"] * 1000)
        )
        keep = Kept(int(settings["failed_count"]), int(settings["failed_bytes"]))
        self._endpoint = Endpoint(word.url, word.url_source, settings["deadline"])
        self._store = store = Store(self._endpoint, settings["deadline"])
        lease = settings["lease"]
        # One list for all of them: it grows at its end, so that each place in it goes on meaning the same.
        self._partitions = [partition(word.namespace, *each) for each in word.partitions]
        ttl_ms = int(settings["result_ttl"] * 1000)
        timekeeper = Timekeeper(store, word.source, self._partitions, name, lease, ttl_ms, rules.window_ms)
        courier = Courier(store, word.namespace, self._partitions, rules.window_ms)
        self.chores: Chores = Chores(store, self._partitions, lease, rules, keep, timekeeper, courier)
        self.chores.declare(word.schedules)
        self.presence: Presence = Presence(store, self._partitions, name, word.slots)
        self.chores.introduce(self.presence)
        if word.webhook_url or settings["alert_wait"]:
            # Few want it, and it brings an HTTP client along.
            from quaff.worker.alerts import Alerts
            from quaff.worker.webhook import Webhook

            webhook = Webhook(word.webhook_url, word.webhook_key) if word.webhook_url else None
            Alerts(store, self._partitions, word.source, webhook, settings["alert_wait"])
        self._heard = 0
        # Not to what the first sweep has found meanwhile: nobody has been told of it.
        self._listen(self._partitions[: len(word.partitions)])

    @property
    def queues(self) -> list[str]:
        """Those that it serves."""
        return list(dict.fromkeys(each.queue for each in self._partitions))

    def queue_at(self, place: int) -> str:
        """The queue of a partition, by its place in the worker's list."""
        return self._partitions[place].queue

    def answer(self, start: Start, pid: int, text: str) -> None:
        """Where a job is in its code, for whoever has asked."""
        self.presence.answer(start, pid, text)
        self.chores.hear()

    def stats(self) -> dict[str, QueueStats]:
        """How many jobs of each queue are where; from any thread. Raises as ``Store.run``."""
        return stats_of(self._store, [*self._partitions])

    def burst(self, processes: Callable[[], Iterable[bytes]]) -> Burst:
        """Begin to look whether there is nothing to do any more, for these processes."""
        return Burst(self._store, self._partitions, processes)

    def grown(self) -> Sequence[tuple[str, int]]:
        """All partitions, by queue and number, if there are more than when this was asked before; else nothing.

        Another program may spread a queue over more than this worker was told.
        """
        homes = [*self._partitions]
        if len(homes) == self._heard:
            return ()
        self._listen(homes)
        return [(each.queue, each.number) for each in homes]

    def _listen(self, homes: Sequence[Partition]) -> None:
        first, self._heard = self._heard, len(homes)
        calls: dict[str, Callable[[int], None]] = {
            "stop": self.chores.hurry,
            "outbox": self.chores.deliver,
            "requests": self.chores.hear,
        }
        Ears(self._endpoint, dict(enumerate(homes[first:], first)), calls)
