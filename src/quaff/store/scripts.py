"""A .lua file with its includes, its SHA and the keys it declares.

A script says which keys it takes in one line of its own, ``local msg, ready = unpack(KEYS)``; the names are those of
``keys.py``. ``-- @include name`` is replaced by ``lua/lib/name.lua``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from quaff.store.keys import Partition

_KEYS = re.compile(r"^local ([\w, ]+) = unpack\(KEYS\)$", re.MULTILINE)
_INCLUDE = re.compile(r"^-- @include (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """One transition.

    Attributes:
        name: the file's stem.
        source: the text as the server gets it.
        sha: its SHA-1 in hex, as EVALSHA wants it.
        keys: the names of its KEYS, in order.
        reads: True if it changes nothing, so that an unanswered call leaves no doubt behind.
    """

    name: str
    source: str
    sha: bytes
    keys: tuple[str, ...]
    reads: bool
    _heads: dict[Partition, tuple[bytes, ...]] = field(default_factory=dict, repr=False, compare=False)

    def head(self, partition: Partition) -> tuple[bytes, ...]:
        """The fixed beginning of a call: EVALSHA, sha, number of keys, keys."""
        head = self._heads.get(partition)
        if head is None:
            head = (b"EVALSHA", self.sha, b"%d" % len(self.keys), *partition.keys(self.keys))
            self._heads[partition] = head
        return head


@cache
def load(name: str) -> Script:
    """The script of that name, read once."""
    folder = resources.files("quaff.store") / "lua"
    text = (folder / f"{name}.lua").read_text()
    source = _INCLUDE.sub(lambda match: (folder / "lib" / f"{match[1]}.lua").read_text().rstrip(), text)
    declared = _KEYS.search(text)
    assert declared is not None, f"{name}.lua does not say which keys it takes"
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest().encode()
    return Script(name, source, sha, tuple(re.split(r",\s*", declared[1])), "flags=no-writes" in text.splitlines()[0])
