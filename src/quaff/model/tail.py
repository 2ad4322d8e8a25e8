"""What attempts say, in pieces: each item has its length in four bytes before it."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Any, ClassVar, NamedTuple


class Page(NamedTuple):
    """A part of what is kept.

    Attributes:
        begin: the position from which it counts: with values that of the first one of the newest attempt.
        next: the position that the next item will have.
        label: what was said at the beginning.
        items: from the position that was asked for, or the first one that is still there; each with its position.
    """

    begin: int = 0
    next: int = 0
    label: str = ""
    items: tuple[tuple[int, bytes], ...] = ()

    @property
    def all(self) -> bool:
        """Whether nothing comes after these."""
        return not self.items or self.items[-1][0] == self.next - 1


def framed(item: bytes) -> bytes:
    """An item as a part of a piece."""
    return len(item).to_bytes(4, "big") + item


def page(reply: list[Any], start: int = 0) -> Page:
    """What a script answers, from a position on."""
    if not reply:
        return Page()
    begin, following, label, pieces = reply
    items = [
        (position, item)
        for first, piece in zip(pieces[::2], pieces[1::2], strict=True)
        for position, item in enumerate(_items(piece), first)
        if position >= start
    ]
    return Page(begin, following, label.decode(), tuple(items))


def _items(piece: bytes) -> list[bytes]:
    items: list[bytes] = []
    at = 0
    while at < len(piece):
        end = at + 4 + int.from_bytes(piece[at : at + 4], "big")
        items.append(piece[at + 4 : end])
        at = end
    return items


class Packet(NamedTuple):
    """Some items on their way to the server.

    Attributes:
        what: LINES or VALUES.
        before: how many of them this attempt had before these.
        many: how many these are; none where an attempt begins, and data is its label then.
        data: framed.
    """

    what: bytes
    before: int
    many: int
    data: bytes


#: What attempts say: lines of their log, or the values of a generator.
LINES, VALUES = b"l", b"v"


class Outgoing:
    """What one attempt has said of one kind and the server has not been told yet.

    Anybody may add, one thread takes; no lock, because an exception set in a task's thread could leave it held.

    Args:
        what: LINES or VALUES.
        label: said once, before anything else.
    """

    #: Of a packet, by kind: most items and bytes; of what waits: most items, of which the newest stay (None: all), and
    #: bytes, at which it is full.
    _BOUNDS: ClassVar[dict[bytes, tuple[int, int, int | None, int]]] = {
        LINES: (64, 4096, 1024, 65_536),
        VALUES: (1000, 65_536, None, 262_144),
    }

    def __init__(self, what: bytes, label: str = "") -> None:
        self._what = what
        self._most, self._most_bytes, kept, self._full_at = self._BOUNDS[what]
        self._waiting: deque[tuple[int, bytes]] = deque(maxlen=kept)
        self._numbers = count()
        self._said = 0
        self._label = label
        # Each written by one side alone.
        self._bytes_in = self._bytes_out = 0

    def add(self, item: bytes) -> None:
        """Say it."""
        data = framed(item)
        self._waiting.append((next(self._numbers), data))
        self._bytes_in += len(data)

    @property
    def full(self) -> bool:
        """Whether so much waits that whoever says more should wait, too."""
        return len(self._waiting) >= self._most or self._bytes_in - self._bytes_out >= self._full_at

    def take(self) -> list[Packet]:
        """What to send now."""
        packets: list[Packet] = []
        if self._label:
            packets.append(Packet(self._what, 0, 0, self._label.encode()))
            self._label = ""
        items = [self._waiting.popleft() for _ in range(len(self._waiting))]
        self._bytes_out += sum(len(data) for _, data in items)
        if self._waiting.maxlen:
            items = _newest(items, self._full_at)
        parts: list[bytes] = []
        size = 0
        for number, data in items:
            skipped = number > self._said + len(parts)
            if parts and (skipped or len(parts) == self._most or size + len(data) > self._most_bytes):
                packets.append(self._packet(parts))
                parts, size = [], 0
            if skipped:
                self._said = number
            parts.append(data)
            size += len(data)
        if parts:
            packets.append(self._packet(parts))
        return packets

    def _packet(self, parts: list[bytes]) -> Packet:
        packet = Packet(self._what, self._said, len(parts), b"".join(parts))
        self._said += len(parts)
        return packet


def _newest(items: list[tuple[int, bytes]], most: int) -> list[tuple[int, bytes]]:
    size = 0
    for place in range(len(items) - 1, -1, -1):
        size += len(items[place][1])
        if size > most:
            return items[place + 1 :]
    return items
