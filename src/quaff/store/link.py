"""The two connections of one worker process: one to talk, one to be woken on.

A blocked connection cannot talk, and a thread for each would cost the switch between them on every job. So the fetch
loop sends the blocking command here, waits for both its sockets with one ``select``, and reads when there is something.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from quaff.errors import QuaffError
from quaff.store.client import receive, send
from quaff.store.connect import Endpoint
from quaff.store.faults import LOST, NoAnswer, sort_out
from quaff.store.transitions import Call


class Link:
    """Talks to the server for one process. Not for sharing between threads.

    Args:
        endpoint: where to.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._talk: Any = None
        self._wake: Any = None
        self._sent: Sequence[Call[Any]] = ()
        self._until = 0.0
        self._waiting = False
        self._answer_by = 0.0

    @property
    def listening(self) -> bool:
        """True between ``listen`` and ``heard``."""
        return self._waiting

    def exchange(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """``send`` and ``receive``."""
        self.send(calls)
        return self.receive()

    def send(self, calls: Sequence[Call[Any]]) -> None:
        """Send calls, once and together; ``receive`` has to follow.

        Raises:
            NoAnswer: they may or may not have been applied; send the same calls again.
        """
        try:
            self._talk = self._connected(self._talk)
            self._sent, self._until = calls, time.monotonic() + self._timeout
            send(self._talk, calls)
        except LOST as error:
            raise NoAnswer(f"no answer from {self._endpoint.where}: {error}") from error

    def receive(self) -> list[Any]:
        """The answers to what was sent. In the place of one that no retry mends stands its StoreError.

        Raises:
            NoAnswer: as ``send``.
        """
        try:
            replies = receive(self._talk, self._sent, self._until)
        except (*LOST, ResponseError) as error:
            raise NoAnswer(f"no answer from {self._endpoint.where}: {error}") from error
        return [self._read(call, reply) for call, reply in zip(self._sent, replies, strict=True)]

    def _read(self, call: Call[Any], reply: Any) -> Any:
        if not isinstance(reply, ResponseError):
            return call.decode(reply)
        try:
            sort_out(reply, self._endpoint.where)
        except QuaffError as error:
            return error
        raise NoAnswer(f"{self._endpoint.where} refused: {reply}") from reply

    def listen(self, keys: Sequence[bytes], seconds: float) -> int:
        """Begin to wait for a token in one of ``keys``; returns the file descriptor that becomes readable.

        Raises:
            NoAnswer: the server is away.
        """
        try:
            self._wake = self._connected(self._wake)
            self._wake.send_command("BLPOP", *keys, f"{seconds:.3f}")
        except LOST as error:
            raise NoAnswer(f"no answer from {self._endpoint.where}: {error}") from error
        self._waiting = True
        self._answer_by = time.monotonic() + seconds + self._timeout
        return self.descriptor()

    def descriptor(self) -> int:
        """The file descriptor that becomes readable when the waiting is over.

        Raises:
            NoAnswer: it should have been over long ago: the line is dead, though nobody has told us.
        """
        if time.monotonic() > self._answer_by:
            self.hang_up()
            raise NoAnswer(f"{self._endpoint.where} no longer answers on the connection that wakes this process")
        descriptor: int = self._wake._sock.fileno()  # redis-py has no public name for it
        return descriptor

    def heard(self) -> bytes | None:
        """Read what ended the waiting: the key whose token came, or None when time ran out.

        Raises:
            NoAnswer: the connection is gone, or the server will not let us wait.
        """
        self._waiting = False
        try:
            reply = self._wake.read_response(timeout=self._timeout)
            return reply[0] if reply else None
        except ResponseError as error:
            raise NoAnswer(f"{self._endpoint.where} does not let this process wait: {error}") from error
        except LOST as error:
            raise NoAnswer(f"no answer from {self._endpoint.where}: {error}") from error

    def hang_up(self) -> None:
        """Wait no more; a token that was on its way is lost."""
        if self._wake is not None:
            self._wake.disconnect()
        self._waiting = False

    def _connected(self, connection: Any) -> Any:
        if connection is None:
            connection = self._endpoint.connection()
        if connection._sock is None:
            self._endpoint.revive(self._timeout)
            connection.connect()
        return connection
