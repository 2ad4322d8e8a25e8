"""A connection on which a process is woken.

A blocked connection cannot talk, and a thread for it would cost a switch on every job. So the fetch loop sends the
blocking command here, waits for its sockets with one ``poll``, and reads when there is something.

As soon as a blocking command is over a server goes on with what came behind it. So the claim that is made when a token
comes may be sent behind the wait for it: then the token brings the job.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import MovedError, ResponseError

from quaff.model.codec import UNREADABLE
from quaff.store.connect import Endpoint
from quaff.store.faults import LOST, STALE, NoAnswer
from quaff.store.keys import Partition
from quaff.store.transitions import Call
from quaff.store.urls import Address


class Bell:
    """Waits for tokens in partitions that one command can wait for. Not for sharing between threads.

    Args:
        endpoint: where they are.
        timeout: seconds to wait for an answer that is due.

    Attributes:
        listening: it waits for a token; ends_at: monotonic seconds until which.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._connection: Any = None
        self._node: Address | None = None
        self._behind: Call[Any] | None = None
        self.listening: bool = False
        self.ends_at: float = 0.0

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
        self.listening, self._behind = True, None
        self.ends_at = time.monotonic() + seconds
        return self.descriptor()

    def follow(self, call: Call[Any]) -> None:
        """What the server is to do as soon as this waiting is over, token or not.

        Raises:
            NoAnswer: the connection is gone.
        """
        try:
            command = self._connection.pack_command(*call.command)
            # Not after a look at its health: the answer would be that to the wait.
            self._connection.send_packed_command(command, check_health=False)
        except LOST as error:
            self.hang_up()
            raise self._deaf(f"no answer from {self._endpoint.where}: {error}") from error
        self._behind = call

    def descriptor(self) -> int:
        """The file descriptor that becomes readable when the waiting is over.

        Raises:
            NoAnswer: it should have been over long ago: the line is dead, though nobody has told us.
        """
        if time.monotonic() > self.ends_at + self._timeout:
            self.hang_up()
            raise self._deaf(f"{self._endpoint.where} no longer answers on the connection that wakes this process")
        descriptor: int = self._connection._sock.fileno()  # redis-py has no public name for it
        return descriptor

    def heard(self) -> tuple[bytes | None, Any]:
        """Read what ended the waiting.

        Returns:
            The key whose token came, or None when time ran out or the slot has moved; and what the call behind it came
            to: None if there was none, a NoAnswer if it has to be sent again, by the usual way.

        Raises:
            NoAnswer: the connection is gone, or the server will not let us wait.
        """
        self.listening = False
        try:
            key = self._token()
            return key, self._answer()
        except LOST as error:
            raise self._deaf(f"no answer from {self._endpoint.where}: {error}") from error

    def _token(self) -> bytes | None:
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
            else:
                self._answer()
            raise NoAnswer(f"{self._endpoint.where} does not let this process wait: {error}") from error

    def _answer(self) -> Any:
        call, self._behind = self._behind, None
        if call is None:
            return None
        try:
            return call.decode(self._connection.read_response(timeout=self._timeout))
        except (ResponseError, *UNREADABLE) as error:
            return NoAnswer(str(error))

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
