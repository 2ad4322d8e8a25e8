"""What operators block, as one process last heard it, and whether a job it was handed is among it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from quaff.errors import QuaffError
from quaff.model import blocking
from quaff.model.blocking import Rule
from quaff.store.faults import NoAnswer
from quaff.store.keys import Partition
from quaff.store.queries import blocks
from quaff.store.transitions import Call
from quaff.worker.ready import Parked, Ready

log: logging.Logger = logging.getLogger("quaff.worker")


class Sender(Protocol):
    """A link, as far as is needed here."""

    def exchange(self, calls: Sequence[Call[Any]]) -> Sequence[Any]:
        """Send calls; their answers, an error in the place of one."""
        ...


class Blocks:
    """The rules by partition, asked for when a claim's answer tells that they have changed.

    Args:
        link: the connections of this process.
    """

    def __init__(self, link: Sender) -> None:
        self._link = link
        self._version: dict[Partition, int] = {}
        self._rules: dict[Partition, dict[str, list[Rule]]] = {}

    def learn(self, partition: Partition, version: int) -> None:
        """A claim was answered with this version of the rules; 0: there are none."""
        if version == self._version.get(partition, 0):
            return
        found: Any = (0, [])
        if version:
            try:
                found = self._link.exchange([blocks(partition)])[0]
            except NoAnswer as error:
                found = error
        by_task: dict[str, list[Rule]] = {}
        if isinstance(found, QuaffError):
            # Asked again with the next claim; until then what was known holds.
            return
        for data in found[1]:
            try:
                rule = blocking.decode(data)
            except (ValueError, TypeError) as error:
                log.warning("queue %s: a rule of what is blocked cannot be read here: %s", partition.queue, error)
            else:
                by_task.setdefault(rule.task, []).append(rule)
        self._version[partition], self._rules[partition] = found[0], by_task

    def sift(self, ready: Ready) -> Ready | Parked:
        """The job itself, or, if it is not to be started, the same as one to be put aside."""
        rules = self._rules.get(ready.claim.partition, {}).get(ready.task.name)
        if not rules:
            return ready
        message = ready.message
        try:
            arguments = ready.task.signature.arguments(tuple(message.args), message.kwargs)
        except TypeError:
            return ready  # it fits the function no more, which is for the attempt to find out
        rule = next((rule for rule in rules if rule.fits(arguments)), None)
        return ready if rule is None else Parked(ready.claim, f"an operator blocks {rule}", message.created_ms)
