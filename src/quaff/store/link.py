"""The two connections of one worker process: one to talk, one to be woken on.

A blocked connection cannot talk, and a thread for each would cost the switch between them on every job. So the fetch
loop sends the blocking command here, waits for both its sockets with one ``select``, and reads when there is something.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from quaff.store.client import exchange
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
        self._waiting = False

    @property
    def listening(self) -> bool:
        """True between ``listen`` and ``heard``."""
        return self._waiting

    def exchange(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Send calls in one round trip, once.

        Raises:
            NoAnswer: they may or may not have been applied; send the same calls again.
            StoreError: no retry mends this.
        """
        try:
            self._talk = self._connected(self._talk)
            return exchange(self._talk, calls, self._timeout)
        except (*LOST, ResponseError) as error:
            if not isinstance(error, LOST):
                sort_out(error, self._endpoint.where)
            raise NoAnswer(f"no answer from {self._endpoint.where}: {error}") from error

    def listen(self, keys: Sequence[bytes], seconds: float) -> int:
        """Begin to wait for a token in one of ``keys``; returns the file descriptor that becomes readable.

        Raises:
            NoAnswer: the server is away.
        """
        try:
            self._wake = self._connected(self._wake)
            if not self._waiting:
                self._wake.send_command("BLPOP", *keys, f"{seconds:.3f}")
                self._waiting = True
            descriptor: int = self._wake._sock.fileno()  # redis-py has no public name for it
            return descriptor
        except LOST as error:
            self._waiting = False
            raise NoAnswer(f"no answer from {self._endpoint.where}: {error}") from error

    def heard(self) -> bytes | None:
        """Read what ended the waiting: the key whose token came, or None when time ran out.

        Raises:
            NoAnswer: the connection is gone.
        """
        self._waiting = False
        try:
            reply = self._wake.read_response(timeout=self._timeout)
            return reply[0] if reply else None
        except ResponseError:
            return None
        except LOST as error:
            raise NoAnswer(f"no answer from {self._endpoint.where}: {error}") from error

    def close(self) -> None:
        """Close both connections; the next call opens them anew."""
        for connection in (self._talk, self._wake):
            if connection is not None:
                connection.disconnect()
        self._talk = self._wake = None
        self._waiting = False

    def _connected(self, connection: Any) -> Any:
        if connection is None:
            connection = self._endpoint.connection()
        if connection._sock is None:
            self._endpoint.revive(self._timeout)
            connection.connect()
        return connection
