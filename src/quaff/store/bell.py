"""A connection on which a process is woken.

A blocked connection cannot talk, and a thread for it would cost a switch on every job. So the fetch loop sends the
blocking command here, waits for its sockets with one ``poll``, and reads when there is something.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import MovedError, ResponseError

from quaff.store.connect import Endpoint
from quaff.store.faults import LOST, STALE, NoAnswer
from quaff.store.keys import Partition
from quaff.store.urls import Address


class Bell:
    """Waits for tokens in partitions that one command can wait for. Not for sharing between threads.

    Args:
        endpoint: where they are.
        timeout: seconds to wait for an answer that is due.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._connection: Any = None
        self._node: Address | None = None
        self._answer_by = 0.0
        self.listening: bool = False

    def listen(self, partitions: Sequence[Partition], seconds: float) -> int:
        """Begin to wait for a token of one of them; returns the file descriptor that becomes readable.

        ``listening`` until ``heard``.

        Raises:
            NoAnswer: the server is away, or will not have this connection.
        """
        slots = self._endpoint.slots
        node = None if slots is None else slots.owner(partitions[0].slot)
        if node != self._node:
            self.hang_up()
            self._connection, self._node = None, node
        try:
            self._connection = connected(self._endpoint, self._connection, self._timeout, node)
            keys = [each.key("wake") for each in partitions]
            self._connection.send_command("BLPOP", *keys, f"{seconds:.3f}")
        except LOST as error:
            raise self._deaf(f"no answer from {self._endpoint.where}: {error}") from error
        except ResponseError as error:  # in reply to the choice of a database, or to ROLE
            self.hang_up()
            raise NoAnswer(f"{self._endpoint.where} does not let this process wait: {error}") from error
        self.listening = True
        self._answer_by = time.monotonic() + seconds + self._timeout
        return self.descriptor()

    def descriptor(self) -> int:
        """The file descriptor that becomes readable when the waiting is over.

        Raises:
            NoAnswer: it should have been over long ago: the line is dead, though nobody has told us.
        """
        if time.monotonic() > self._answer_by:
            self.hang_up()
            raise self._deaf(f"{self._endpoint.where} no longer answers on the connection that wakes this process")
        descriptor: int = self._connection._sock.fileno()  # redis-py has no public name for it
        return descriptor

    def heard(self) -> bytes | None:
        """Read what ended the waiting: the key whose token came, or None when time ran out or the slot has moved.

        Raises:
            NoAnswer: the connection is gone, or the server will not let us wait.
        """
        self.listening = False
        try:
            reply = self._connection.read_response(timeout=self._timeout)
            return reply[0] if reply else None
        except MovedError as error:
            if self._endpoint.slots is not None:
                self._endpoint.slots.moved(error, self._node)
            return None
        except ResponseError as error:
            if isinstance(error, STALE):
                self.hang_up()
            raise NoAnswer(f"{self._endpoint.where} does not let this process wait: {error}") from error
        except LOST as error:
            raise self._deaf(f"no answer from {self._endpoint.where}: {error}") from error

    def hang_up(self) -> None:
        """Wait no more; a token that was on its way is lost."""
        if self._connection is not None:
            self._connection.disconnect()
        self.listening = False

    def _deaf(self, text: str) -> NoAnswer:
        if self._endpoint.slots is not None:
            self._endpoint.slots.doubtful = True
        return NoAnswer(text)


def connected(endpoint: Endpoint, connection: Any, timeout: float, node: Address | None) -> Any:
    """That connection, or a first one, connected."""
    if connection is None:
        connection = endpoint.connection(node=node)
    if connection._sock is None:
        endpoint.revive(timeout)
        connection.connect()
    return connection
