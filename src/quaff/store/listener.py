"""One connection on which a process hears what becomes of jobs, for all its threads and event loops.

What is heard is a hint: whoever waits looks again after it, and now and then without one.
"""

from __future__ import annotations

import os
import random
import select
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Protocol

from redis.exceptions import ResponseError

from quaff.errors import QuaffError
from quaff.store.connect import Endpoint
from quaff.store.faults import LOST

#: Seconds without anybody who waits after which the connection is closed.
_IDLE = 30.0
#: Seconds of silence after which the server is asked whether it is there, and given up if it does not say so.
_SILENCE = 10.0


class Signal(Protocol):
    """Somebody who waits."""

    def heard(self, id: bytes | None) -> None:
        """There is something to look at; None: look at all. Called in the listener's thread."""
        ...


class _Order(NamedTuple):
    """For the listener's thread: ``signal`` waits for ``ids`` of a channel, or does so no more."""

    begin: bool
    channel: bytes
    ids: tuple[bytes, ...]
    signal: Signal


class Listener:
    """A thread that begins when somebody waits and there is none; where it cannot, the next one who waits tries again.

    No lock: an exception that is set in a waiting thread could leave it held. Only the listener's thread touches what
    it knows, and orders come to it through a queue.

    Args:
        endpoint: the server.

    Attributes:
        channels: those on which something would be heard now.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._orders: deque[_Order] = deque()
        self._waiting: dict[bytes, dict[bytes, list[Signal]]] = {}
        self._thread: dict[str, threading.Thread] = {}
        self._read_end = self._write_end = -1
        self.channels: set[bytes] = set()

    @contextmanager
    def hearing(self, channel: bytes, ids: tuple[bytes, ...], signal: Signal) -> Generator[None]:
        """Within it a signal is told of what comes for ``ids``, and when ``channel`` enters or leaves ``channels``."""
        try:
            self._order(_Order(True, channel, ids, signal))
            if not self._thread:
                with suppress(RuntimeError):  # there are too many: nothing is heard, and whoever waits looks
                    threading.Thread(target=self._begin, name="quaff-listener", daemon=True).start()
            yield
        finally:
            self._order(_Order(False, channel, ids, signal))

    def _begin(self) -> None:
        # A thread that runs enters itself, and none is taken for one that never began; of several the first one stays.
        me = threading.current_thread()
        if self._thread.setdefault("one", me) is not me:
            return
        try:
            self._obey()  # also where there can be no pipe: orders must not pile up
            if self._write_end < 0:
                with suppress(OSError):  # there are too many files
                    self._read_end, write_end = os.pipe()
                    os.set_blocking(write_end, False)
                    self._write_end = write_end
            if self._write_end >= 0:
                self._work()
        finally:
            del self._thread["one"]

    def _order(self, order: _Order) -> None:
        self._orders.append(order)
        if self._write_end >= 0:  # else the thread has not begun, and looks at the orders first
            with suppress(BlockingIOError):  # full: it is about to read it anyway
                os.write(self._write_end, b"!")

    def _work(self) -> None:
        orders = select.poll()  # not ``select``: a web server may have a thousand files open
        orders.register(self._read_end, select.POLLIN)
        while True:
            self._obey()
            if not self._waiting:
                orders.poll()
                os.read(self._read_end, 4096)
                continue
            try:
                self._hear()
            except (*LOST, ResponseError, QuaffError):
                time.sleep(random.uniform(0.05, 0.5))

    def _hear(self) -> None:
        """Until the connection breaks, or nobody has waited for a while."""
        connection = self._endpoint.connection()
        subscribed: set[bytes] = set()
        try:
            self._endpoint.revive(_SILENCE)
            connection.connect()
            poll = select.poll()
            poll.register(connection._sock.fileno(), select.POLLIN)  # redis-py has no public name for it
            poll.register(self._read_end, select.POLLIN)
            asked = False
            while self._waiting or subscribed:
                new = self._waiting.keys() - subscribed
                if new:
                    connection.send_command("SUBSCRIBE", *new)
                    subscribed |= new
                ready = {descriptor for descriptor, _ in poll.poll((_SILENCE if self._waiting else _IDLE) * 1000)}
                if not ready:
                    if asked or not self._waiting:
                        return
                    connection.send_command("PING")
                    asked = True
                if self._read_end in ready:
                    os.read(self._read_end, 4096)
                    self._obey()
                if ready - {self._read_end}:
                    asked = False
                    self._read(connection)
        finally:
            connection.disconnect()
            self.channels = set()
            self._tell_everybody()

    def _read(self, connection: Any) -> None:
        while True:
            kind, channel, *rest = connection.read_response(timeout=_SILENCE)
            # Whoever waits for what is told here has said so before; it may have come after the poll.
            self._obey()
            if kind == b"subscribe":
                self.channels = self.channels | {channel}
                self._tell_everybody()
            elif kind == b"message":
                for signal in self._waiting.get(channel, {}).get(rest[0], ()):
                    signal.heard(rest[0])
            if not connection.can_read(0):
                return

    def _obey(self) -> None:
        while self._orders:
            begin, channel, ids, signal = self._orders.popleft()
            waiting = self._waiting.setdefault(channel, {})
            for id in ids:
                signals = waiting.setdefault(id, [])
                if begin:
                    signals.append(signal)
                elif signal in signals:
                    signals.remove(signal)
                if not signals:
                    del waiting[id]
            if not waiting:
                del self._waiting[channel]

    def _tell_everybody(self) -> None:
        for waiting in list(self._waiting.values()):
            for signal in {id(each): each for signals in waiting.values() for each in signals}.values():
                signal.heard(None)
