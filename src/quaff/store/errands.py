"""Calls on their way to the nodes that serve them, and what is known of their answers after each try."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.exceptions import MovedError, ResponseError

from quaff.errors import StoreError
from quaff.model.codec import UNREADABLE
from quaff.model.durability import Durability, strongest
from quaff.store.faults import LOST, REDIRECTIONS, STALE, NoAnswer, Trouble
from quaff.store.slots import Slots, redirected
from quaff.store.transitions import Call
from quaff.store.urls import Address

#: In the place of an answer that nobody has asked for yet.
_NONE = NoAnswer("not sent")


class Errand(NamedTuple):
    """What goes to one node in one try.

    ``node``: None for the one server, or for whichever node; ``places``: those of the calls among all; ``asking``: the
    slot is on its way there, and only who says so is served.
    """

    node: Address | None
    places: Sequence[int]
    calls: Sequence[Call[Any]]
    asking: bool = False

    @property
    def durability(self) -> Durability | None:
        """What the server has to be able to confirm."""
        return self.calls[0].durability if len(self.calls) == 1 else strongest(call.durability for call in self.calls)


class Errands:
    """Calls until each of them is answered. What was answered is not sent again.

    Args:
        calls: what is to be done.
        slots: the map of the cluster; None where there is one server.

    Attributes:
        troubles: what the last try failed with.
        redirected: whether another node was named for some of them, so that another try makes sense at once.
    """

    def __init__(self, calls: Sequence[Call[Any]], slots: Slots | None) -> None:
        self._calls = calls
        self._slots = slots
        self._replies: list[Any] = []
        self._asked: dict[int, Address] = {}
        self.troubles: list[Trouble] = []
        self.redirected: bool = False

    @property
    def harmless(self) -> bool:
        """Whether nobody need know if they were applied."""
        return all(call.harmless for call in self._calls)

    def next_try(self) -> list[Errand]:
        """What is still to be sent, by node."""
        asked, self._asked = self._asked, {}
        first, self.troubles, self.redirected = not self._replies, [], False
        if self._slots is None and first:
            return [Errand(None, range(len(self._calls)), self._calls)]
        if first:
            self._replies = [_NONE] * len(self._calls)
        places = [place for place, reply in enumerate(self._replies) if isinstance(reply, Exception)]
        if self._slots is None:
            return [Errand(None, places, [self._calls[place] for place in places])]
        by_node: dict[tuple[Address | None, bool], list[int]] = {}
        for place in places:
            node = asked.get(place) or self._slots.owner(self._calls[place].partition.slot)
            by_node.setdefault((node, place in asked), []).append(place)
        return [
            Errand(node, places, [self._calls[place] for place in places], asking)
            for (node, asking), places in by_node.items()
        ]

    def take(self, errand: Errand, replies: list[Any]) -> bool:
        """The replies to an errand. False if its connection leads to a server that does not serve this any more."""
        failed = [place for place, reply in zip(errand.places, replies, strict=True) if isinstance(reply, Exception)]
        if len(replies) == len(self._calls):
            self._replies = replies
        else:
            for place, reply in zip(errand.places, replies, strict=True):
                self._replies[place] = reply
        if not failed:
            return True
        for place in failed:
            self._note(errand, place, self._replies[place])
        return not any(isinstance(self._replies[place], STALE) for place in failed)

    def fail(self, errand: Errand, error: Exception, *, sent: bool, news: bool = True) -> None:
        """There are no replies; ``sent``: the calls may have been applied; ``news``: the map may be out of date."""
        self.troubles.append(Trouble(error, sent and isinstance(error, LOST)))
        if len(errand.places) == len(self._calls):
            self._replies = [error] * len(self._calls)
        else:
            for place in errand.places:
                self._replies[place] = error
        if self._slots is not None and news:
            self._slots.doubtful = True

    def fail_all(self, error: Exception) -> None:
        """Nothing could be sent of what is not answered."""
        replies = self._replies or [_NONE] * len(self._calls)
        places = [place for place, reply in enumerate(replies) if isinstance(reply, Exception)]
        self.fail(Errand(None, places, [self._calls[place] for place in places]), error, sent=False)

    def answers(self) -> list[Any]:
        """Each answer as its call reads it; in the place of what is not answered, or cannot be read, stands why."""
        pairs = list(zip(self._calls, self._replies, strict=True))
        if not self.troubles:
            try:
                return [call.decode(reply) for call, reply in pairs]
            except UNREADABLE:
                pass
        return [reply if isinstance(reply, Exception) else _read(call, reply) for call, reply in pairs]

    def all_answers(self) -> list[Any]:
        """The same where all are answered. Raises StoreError in the place of one that cannot be read."""
        answers = self.answers()
        for answer in answers:
            if isinstance(answer, StoreError):
                raise answer
        return answers

    def _note(self, errand: Errand, place: int, reply: Exception) -> None:
        self.troubles.append(Trouble(reply, False))
        if self._slots is None or not isinstance(reply, ResponseError):
            return
        if isinstance(reply, MovedError):
            self._slots.moved(reply, errand.node)
            self.redirected = True
        elif isinstance(reply, REDIRECTIONS):
            node = redirected(reply, errand.node)
            if node is not None:
                self._asked[place] = node
                self.redirected = True
        elif isinstance(reply, STALE):
            self._slots.doubtful = True


def _read(call: Call[Any], reply: Any) -> Any:
    try:
        return call.decode(reply)
    except UNREADABLE as error:
        return StoreError(
            f"what is kept in {call.partition.queue}#{call.partition.number} cannot be read ({call.script.name}: "
            f"{error}): it was damaged, or somebody else has written it. `quaff audit` looks for what is wrong there."
        )
