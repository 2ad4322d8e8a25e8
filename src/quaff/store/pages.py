"""Reads of whole keys, page by page: for an auditor alone, who comes seldom. No page holds the server for long."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from quaff.errors import StoreError
from quaff.store.keys import Partition, partition
from quaff.store.probe import Command, Line

#: Entries that the server looks at for one page.
PAGE = 500
#: Pages of all that is on a server, whosever it is, after which looking for our keys is given up.
_MOST = 20_000


def names(line: Line, namespace: str) -> Iterator[bytes]:
    """Every key of a namespace on one node; some may come twice.

    Raises:
        ServerUnavailable: it does not answer.
        StoreError: this account may not look for keys.
    """
    pattern = f"quaff:{{{namespace}/*"
    cursor = b"0"
    for _ in range(_MOST):
        (reply,) = line.ask([("SCAN", cursor, "MATCH", pattern, "COUNT", PAGE)])
        if reply is None:
            raise StoreError(f"the server does not tell which queues there are: {line.refused}")
        cursor, found = reply
        yield from found
        if cursor == b"0":
            return


def partitions(lines: Iterable[Line], namespace: str) -> dict[Partition, set[bytes]]:
    """The partitions that are there, each with all its keys; some of them may be none of ours.

    Args:
        lines: one to each node that has keys. What moves to a node that was already asked may be missing.
        namespace: whose they are.

    Raises:
        ServerUnavailable: one of them does not answer.
        StoreError: this account may not look for keys.
    """
    form = re.compile(
        rb"quaff:\{%b/([A-Za-z0-9._-]{1,128})#([0-9]{1,4})\}:.+" % re.escape(namespace.encode()), re.DOTALL
    )
    found: dict[Partition, set[bytes]] = {}
    for key in chain.from_iterable(names(line, namespace) for line in lines):
        match = form.fullmatch(key)
        if match:
            home = partition(namespace, match[1].decode(), int(match[2]))
            found.setdefault(home, set()).add(key)
    return found


def hash_page(key: bytes, cursor: bytes, *, values: bool) -> Command:
    """A page of a hash; of one with large values only the fields, or, where the server cannot, a short page."""
    return ("HSCAN", key, cursor, "COUNT", PAGE, *(() if values else ("NOVALUES",)))


def hash_fields(line: Line, key: bytes, *, values: bool) -> dict[bytes, bytes]:
    """A hash; its values are empty where they are not wanted. Raises as ``_page``."""
    found: dict[bytes, bytes] = {}
    cursor, able = b"0", not values
    while True:
        command = hash_page(key, cursor, values=not able)
        reply = line.ask([command])[0] if able else _page(line, command)
        if reply is None and able:
            able = False
            continue
        if reply is None:
            return found
        cursor, items = reply
        found.update(dict.fromkeys(items, b"") if able else zip(items[::2], items[1::2], strict=True))
        if cursor == b"0":
            return found


def scores(line: Line, key: bytes) -> dict[bytes, float]:
    """A sorted set. Raises as ``_page``."""
    found: dict[bytes, float] = {}
    cursor = b"0"
    while True:
        reply = _page(line, ("ZSCAN", key, cursor, "COUNT", PAGE))
        if reply is None:
            return found
        cursor, items = reply
        found.update(zip(items[::2], map(float, items[1::2]), strict=True))
        if cursor == b"0":
            return found


def entries(line: Line, key: bytes) -> list[bytes]:
    """A list, from the end at which jobs come: what comes meanwhile moves the others on, so none is passed over.

    Raises as ``_page``.
    """
    found: list[bytes] = []
    at = 0
    while True:
        reply = _page(line, ("LRANGE", key, at, at + PAGE - 1))
        if not reply:
            return found
        found.extend(reply)
        at += len(reply)


def _page(line: Line, command: Command) -> Any:
    """The reply; None where the key is of another kind, which is a finding of its own.

    Raises:
        ServerUnavailable: the server does not answer.
        StoreError: it refuses to show it, which is no empty key.
    """
    (reply,) = line.ask([command])
    if reply is None and not line.refused.startswith("WRONGTYPE"):
        raise StoreError(f"the server does not let this program read its keys: {line.refused}")
    return reply


def atomically(line: Line, commands: Sequence[Command]) -> list[Any]:
    """The replies to commands that run as one; None where there is an error instead.

    Raises:
        StoreError: the server refuses to run them.
    """
    replies = line.ask([("MULTI",), *commands, ("EXEC",)])[-1]
    if replies is None:
        raise StoreError(f"the server does not let this program read several keys at one moment: {line.refused}")
    return [None if isinstance(reply, Exception) else reply for reply in replies]
