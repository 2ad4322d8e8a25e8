"""Reads of whole keys, page by page: for an auditor alone, who comes seldom. No page holds the server for long."""

from __future__ import annotations

import re
from collections.abc import Iterator

from quaff.store.connect import Endpoint
from quaff.store.keys import Partition, partition
from quaff.store.probe import ask

#: Entries that the server looks at for one page, and the seconds that one page may take.
PAGE, _SECONDS = 500, 5.0
#: Pages of all that is on a server, whosever it is, after which looking for our keys is given up.
_MOST = 20_000


def names(endpoint: Endpoint, namespace: str) -> Iterator[bytes]:
    """Every key of a namespace; some may come twice. Raises ServerUnavailable."""
    pattern = f"quaff:{{{namespace}/*"
    cursor = b"0"
    for _ in range(_MOST):
        (reply,) = ask(endpoint, [("SCAN", cursor, "MATCH", pattern, "COUNT", PAGE)], _SECONDS)
        if reply is None:
            return
        cursor, found = reply
        yield from found
        if cursor == b"0":
            return


def partitions(endpoint: Endpoint, namespace: str) -> dict[Partition, set[bytes]]:
    """The partitions that are there, each with all its keys; some of them may be none of ours."""
    form = re.compile(
        rb"quaff:\{%b/([A-Za-z0-9._-]{1,128})#([0-9]{1,4})\}:.+" % re.escape(namespace.encode()), re.DOTALL
    )
    found: dict[Partition, set[bytes]] = {}
    for key in names(endpoint, namespace):
        match = form.fullmatch(key)
        if match:
            home = partition(namespace, match[1].decode(), int(match[2]))
            found.setdefault(home, set()).add(key)
    return found
