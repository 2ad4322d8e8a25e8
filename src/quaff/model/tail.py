"""What attempts say, in pieces: each item has its length in four bytes before it."""

from __future__ import annotations

from typing import Any, NamedTuple


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
