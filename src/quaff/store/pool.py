"""The connections of a process's threads, each lent for one round trip."""

from __future__ import annotations

import os
import select
from typing import Any

import redis


class Pool(redis.ConnectionPool):
    """redis-py's pool without its lock, its events and its counters, which cost a tenth of sending one job.

    Without the lock also because an exception that a signal raises, or that is set in a thread, could leave it locked;
    what is done here to the list and the set is one step each.
    """

    def get_connection(self, command_name: object = None, *keys: object, **options: object) -> Any:
        """A connected one, that nobody else has; the one given back last is taken first."""
        self._checkpid()
        connection: Any
        try:
            connection = self._available_connections.pop()
        except IndexError:
            connection = self.make_connection()
        self._in_use_connections.add(connection)
        try:
            # What can be read before anything was asked is the end of the line, or what nobody has read to its end.
            if connection._sock is not None and _readable(connection):
                connection.disconnect()
            if connection._sock is None:
                connection.connect()
        except BaseException:
            self.release(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        """Take one back; of another process's, or of a pool before this one, nothing is kept."""
        if connection in self._in_use_connections and connection.pid == os.getpid():
            self._in_use_connections.discard(connection)
            self._available_connections.append(connection)


def _readable(connection: Any) -> bool:
    sock, poll = getattr(connection, "watch", (None, None))
    if poll is None or sock is not connection._sock:
        poll = select.poll()
        poll.register(connection._sock, select.POLLIN)
        connection.watch = (connection._sock, poll)
    return bool(poll.poll(0))
