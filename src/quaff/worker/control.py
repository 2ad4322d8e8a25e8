"""The line between a supervisor and one of its processes: one JSON object a line, over a socket pair."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import msgspec

from quaff.model.sealing import Seals
from quaff.model.source import Source
from quaff.worker.poll import readable

#: Exit codes of a process: told to go, closed by the server (start another), cannot start (do not).
DONE, CLOSED, HOPELESS = 0, 75, 2
#: That of a worker which does not wait for its server.
UNREACHABLE = 3


class Orders(msgspec.Struct, kw_only=True):
    """What a process is told at its start.

    Attributes:
        app: ``module:object``.
        flags: settings of the command line.
        queues: None serves every queue that the application's tasks name, and ``default``.
        partitions: those of the worker's queues, by queue and number, each at its place; None: as the settings have it.
        ordered: the first queue with work comes first; else they take turns, by their ``weights`` (1 where none is
            given).
        process: the process's id in hex.
        supervisor: its pid.
        worker: the worker's name, kept with each attempt.
        starts: the descriptor of the shared start records.
        traces: that of the file for the stacks of an interpreter that is held up.
        metered: it tells what it counts.
        burst: it does not wait for a server that is away at its start.
        tell_after: it says so when that many jobs have ended in it; None: never.
    """

    app: str
    flags: dict[str, str | int | float]
    queues: list[str] | None
    partitions: list[tuple[str, int]] | None = None
    ordered: bool
    weights: dict[str, int]
    supervisor: int
    worker: str
    level: str = "info"
    log_format: str = "text"
    process: str = ""
    starts: int = -1
    traces: int = -1
    tell_after: int | None = None
    metered: bool = False
    burst: bool = False


class Word(msgspec.Struct, kw_only=True):
    """A message either way.

    ``said``: from the supervisor ``orders``, ``drain``, ``stop``, ``cancel`` (``text`` is a token) or ``dump``
    (``text`` is the token of the job that matters most, or empty); from the process ``loaded`` (it knows the
    application; ``text`` is a warning; ``schedules`` are those that its code declares, each with the place of its
    queue; ``traces``: it has a file for its stacks), ``ready`` (it can claim), ``failed`` (``text`` says why it cannot
    start, ``count`` is the worker's exit code for that if it is not 2), ``closed`` (the server gave it up; it ends when
    its jobs have), ``done`` (``count`` jobs have ended in it), ``counted`` (this, by queue and task, since the last
    time), ``dumped`` (``text`` are its stacks).
    """

    said: str
    orders: Orders | None = None
    text: str = ""
    url: str = ""
    url_source: str = ""
    settings: dict[str, float] = {}
    namespace: str = ""
    queues: list[str] = []
    partitions: list[tuple[str, int]] = []
    slots: str = ""
    traces: bool = False
    schedules: list[tuple[int, str, bytes]] = []
    signing_keys: tuple[bytes, ...] = ()
    encryption_keys: tuple[bytes, ...] = ()
    require_signed: bool = False
    webhook_url: str = ""
    webhook_key: str = ""
    count: int = 0
    counted: dict[str, dict[str, dict[str, int]]] = {}

    @property
    def source(self) -> Source:
        """Where the worker's schedules are."""
        return Source(self.namespace, Seals(self.signing_keys, self.encryption_keys, required=self.require_signed))


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Word)


class Control:
    """One end of the line.

    Attributes:
        closed: True once the other side is gone.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._buffer = b""
        self.closed: bool = False

    def fileno(self) -> int:
        """For ``select``."""
        return self._end.fileno()

    @property
    def has_room(self) -> bool:
        """Whether a word can be said at once: the line fills up while the other side does not read."""
        return bool(select.select((), (self._end,), (), 0)[1])

    def say(self, word: Word) -> None:
        """Send a message; nothing happens if nobody listens any more."""
        try:
            self._end.sendall(_encoder.encode(word) + b"\n")
        except OSError:
            self.closed = True

    def hear(self) -> Iterator[Word]:
        """All messages that have come; waits for none. Sets ``closed`` at the end of the line.

        One who is gone may have forked what has a copy of that end: then the line is silent and has no end.
        """
        while not self.closed and readable([self.fileno()], 0):
            try:
                data = self._end.recv(65536)
            except OSError:
                data = b""
            if not data:
                self.closed = True
            self._buffer += data
            *lines, self._buffer = self._buffer.split(b"\n")
            for line in lines:
                yield _decoder.decode(line)

    def close(self) -> None:
        """Hang up."""
        self._end.close()


def adopt(descriptor: int) -> Control:
    """The end that was inherited, kept from the programs that tasks start."""
    os.set_inheritable(descriptor, False)
    return Control(socket.socket(fileno=descriptor))
