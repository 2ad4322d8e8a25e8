"""The connections of one worker process on which it talks: one for each node that serves something of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from quaff.errors import QuaffError
from quaff.store.bell import Bell, connected
from quaff.store.connect import Endpoint
from quaff.store.errands import Errand, Errands
from quaff.store.faults import LOST, NoAnswer, sort_out
from quaff.store.keys import Partition
from quaff.store.transitions import Call
from quaff.store.urls import Address
from quaff.store.wire import receive, send

#: How often calls are sent on within one round: to the node that another one has named.
_REDIRECTIONS = 3
#: Seconds that a node of a cluster is left alone which did not answer; and how many times as long as it held us up, so
#: that the others are served most of the time.
_REST, _SHARE = 0.5, 2.0


class Link:
    """Talks to the server, or to the nodes of a cluster, for one process. Not for sharing between threads.

    Args:
        endpoint: where to.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._talks: dict[Address | None, Any] = {}
        self._resting: dict[Address | None, float] = {}
        self._errands = Errands((), None)
        self._sent: list[tuple[Errand, Any, float]] = []

    def bells(self, partitions: Sequence[Partition]) -> list[tuple[Bell, Sequence[Partition]]]:
        """What wakes this process for each of these partitions.

        One server is waited for in one command; of a cluster each slot needs one of its own, and a connection.
        """
        if self._endpoint.slots is None:
            return [(Bell(self._endpoint, self._timeout), partitions)]
        return [(Bell(self._endpoint, self._timeout), [each]) for each in partitions]

    def exchange(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """``send`` and ``receive``."""
        self.send(calls)
        return self.receive()

    def send(self, calls: Sequence[Call[Any]]) -> None:
        """Send calls, once and together; ``receive`` has to follow."""
        assert not self._sent, "the answers to what was sent before have not been read"
        self._errands = Errands(calls, self._endpoint.slots)
        self._send()

    def receive(self) -> list[Any]:
        """The answers to what was sent.

        In the place of one that no retry mends stands its StoreError; of a cluster, also its NoAnswer in the place of
        each that may be had later, when its node is there again.

        Raises:
            NoAnswer: the one server did not answer: the calls may or may not have been applied; send the same again.
        """
        self._receive()
        for _ in range(_REDIRECTIONS):
            if self._errands.redirected:
                self._send()
                self._receive()
        answers = self._errands.answers()
        return [self._read(answer) for answer in answers] if self._errands.troubles else answers

    def _send(self) -> None:
        self._sent = []
        try:
            if self._endpoint.doubtful:
                self._endpoint.revive(self._timeout)
        except (*LOST, ResponseError) as error:
            self._errands.fail_all(error)
            return
        for errand in self._errands.next_try():
            began = time.monotonic()
            if began < self._resting.get(errand.node, 0.0):
                self._errands.fail(
                    errand, RedisConnectionError("it did not answer a moment ago"), sent=False, news=False
                )
                continue
            try:
                connection = self._talks[errand.node] = connected(
                    self._endpoint, self._talks.get(errand.node), self._timeout, errand.node
                )
                send(connection, errand)
                self._sent.append((errand, connection, began + self._timeout))
            except (*LOST, ResponseError) as error:
                self._lost(errand, error, began)

    def _receive(self) -> None:
        for errand, connection, until in self._sent:
            began = time.monotonic()
            try:
                if not self._errands.take(errand, receive(connection, errand, until)):
                    connection.disconnect()
            except (*LOST, ResponseError) as error:
                connection.disconnect()
                self._lost(errand, error, began)
        self._sent = []

    def _lost(self, errand: Errand, error: Exception, began: float) -> None:
        self._errands.fail(errand, error, sent=True)
        if self._endpoint.slots is not None:
            now = time.monotonic()
            self._resting[errand.node] = now + max(_REST, _SHARE * (now - began))

    def _read(self, answer: Any) -> Any:
        if not isinstance(answer, Exception):
            return answer
        if isinstance(answer, LOST):
            unanswered = NoAnswer(f"no answer from {self._endpoint.where}: {answer}")
        else:
            try:
                sort_out(answer, self._endpoint.where)
            except QuaffError as error:
                return error
            unanswered = NoAnswer(f"{self._endpoint.where} refused: {answer}")
        if self._endpoint.slots is None:
            raise unanswered from answer
        return unanswered
