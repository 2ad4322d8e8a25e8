"""An application's server, and what it is told before the first jobs are sent to a queue."""

from __future__ import annotations

from collections.abc import Iterable, Set

from quaff.config import Settings
from quaff.errors import TooManyQueues
from quaff.model import blocking
from quaff.queues import somebody
from quaff.store.client import Steps, Store
from quaff.store.connect import Endpoint
from quaff.store.keys import partition
from quaff.store.operations import admit, block, capacity, pause, spread
from quaff.store.queries import Brakes, blocks, brakes

#: Queues of a namespace that no task names. Something of each is kept for good, and only somebody who makes up names,
#: or gives each customer a queue, comes to so many.
MOST = 1000


class Backend:
    """One application's settings and its store, made when first needed.

    Attributes:
        told: the queues to which jobs may be sent without another word.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.endpoint: Endpoint = Endpoint(settings.url, settings.url_source, settings.deadline)
        self.store: Store = Store(self.endpoint, settings.deadline)
        self.told: set[str] = set()

    def news(self, queues: Set[str], declared: Iterable[str]) -> Steps[None]:
        """What is to be done before the first jobs are sent to these: some have several partitions.

        Args:
            queues: those that are not in ``told``.
            declared: those that the code names; there may be only so many others.

        Raises:
            TooManyQueues
        """
        for queue in sorted(queues - set(declared)):
            yield from let_in(self.settings, queue)
        for queue, count in self.settings.partitions:
            if queue in queues:
                yield from spread_out(self.settings, queue, count)
        self.told |= queues


def let_in(settings: Settings, queue: str) -> Steps[None]:
    """See to it that there is room for a queue that no code names, before anything is sent there.

    Raises:
        TooManyQueues
    """
    if not (yield admit(partition(settings.namespace, "default"), queue, MOST)):
        raise TooManyQueues(
            f"queue {queue!r}: in namespace {settings.namespace} jobs go to {MOST} queues already that no task names, "
            "and something of each is kept. Nothing was sent. Keep customers or hosts apart within one queue, by "
            "fair_by=; a queue that a task names (queue=) is always let in."
        )


def spread_out(settings: Settings, queue: str, count: int) -> Steps[None]:
    """Make it known that a queue has so many partitions, and hold up those that are new as the first one is.

    In this order: whoever changes a brake changes the first partition before the others, and looks again then whether
    there are more. So of two that do both at one moment one sees what the other did.

    Raises:
        ServerUnavailable
    """
    homes = [partition(settings.namespace, queue, number) for number in range(count)]
    yield spread(homes[0], count)
    seen: tuple[object, ...] = (b"", None, None, set())
    while True:
        found: Brakes = yield brakes(homes[0])
        rules = set((yield blocks(homes[0]))[1])
        if (now := (found.paused, found.jobs, found.size, rules)) == seen:
            return
        seen, who = now, somebody()
        for home in homes[1:]:
            yield pause(home, on=bool(found.paused), lasts_ms=found.lasts_ms, who=who)
            yield capacity(home, jobs=found.jobs, size=found.size, who=who)
            for rule in rules ^ set((yield blocks(home))[1]):
                yield block(home, rule, on=rule in rules, who=who, words=str(blocking.decode(rule)))
