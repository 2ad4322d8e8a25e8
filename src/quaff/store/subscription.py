"""A connection on which the server says that something has happened: hints, each of which may be lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from redis.exceptions import ResponseError

from quaff.store.connect import Endpoint
from quaff.store.faults import LOST, NoAnswer


def heard(endpoint: Endpoint, channels: Sequence[bytes], silence: float) -> Iterator[bytes]:
    """The channel of each message, as it comes; for a thread of its own.

    Args:
        endpoint: the server.
        channels: what to listen to.
        silence: seconds without a message after which the line may be dead.

    Raises:
        NoAnswer: the line is gone, or silent for so long, or the server does not allow it: listen again.
    """
    connection = endpoint.connection()
    try:
        endpoint.revive(silence)
        connection.connect()
        connection.send_command("SUBSCRIBE", *channels)
        while True:
            kind, channel, _ = connection.read_response(timeout=silence)
            if kind == b"message":
                yield channel
    except (*LOST, ResponseError) as error:
        raise NoAnswer(f"no hints from {endpoint.where}: {error}") from error
    finally:
        connection.disconnect()
