"""What crosses the line to the server more than once: seen from outside, as the proxy passes it on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from quaff.store.scripts import load


class Witness:
    """Reads requests and counts calls that were sent again.

    Attributes:
        again: how often a claim, and how often the settle of one token, was sent again.
    """

    def __init__(self) -> None:
        self._claim, self._settle = load("claim"), load("settle")
        self._seen: set[bytes] = set()
        self.again: Counter[str] = Counter()

    def watch(self, data: bytes) -> None:
        """Look at a chunk of requests; a call that is torn between two is missed, which only makes the counts low."""
        for arguments in _calls(data, self._claim.sha):
            own = arguments[1 + len(self._claim.keys) :]
            if len(own) > 2 and int(own[3]) > 0:
                self._count("claim", own[2])
        for arguments in _calls(data, self._settle.sha):
            for token in arguments[1 + len(self._settle.keys) + 3 :: 6]:
                self._count("settle", token)

    def _count(self, what: str, which: bytes) -> None:
        mark = what.encode() + which
        self.again[what] += mark in self._seen
        self._seen.add(mark)


def _calls(data: bytes, sha: bytes) -> Iterator[list[bytes]]:
    """What follows each mention of a script, up to the end of its call."""
    at = data.find(sha)
    while at >= 0:
        at += len(sha) + 2
        found = []
        while data[at : at + 1] == b"$":
            line = data.find(b"\r\n", at)
            if line < 0:
                return
            size = int(data[at + 1 : line])
            if line + 4 + size > len(data):
                return
            found.append(data[line + 2 : line + 2 + size])
            at = line + 4 + size
        yield found
        at = data.find(sha, at)
