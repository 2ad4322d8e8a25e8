"""A .lua file with its includes, its SHA and the keys it declares.

A script, and each piece that it includes, says in one line which keys it takes: ``-- KEYS: msg ready``, by the names of
``keys.py``. The script is called with all of them and finds them in ``k``. ``-- @include name`` is replaced by
``lua/lib/name.lua``, where it is met first.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from quaff.store.keys import Partition

_KEYS = re.compile(r"^-- KEYS: ([\w ]+)\n", re.MULTILINE)
_INCLUDE = re.compile(r"^-- @include (\w+)\n", re.MULTILINE)


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
        """The fixed beginning of a call: EVALSHA or EVALSHA_RO, sha, number of keys, keys."""
        head = self._heads.get(partition)
        if head is None:
            # So that whoever may only look can call what only looks.
            verb = b"EVALSHA_RO" if self.reads else b"EVALSHA"
            head = (verb, self.sha, b"%d" % len(self.keys), *partition.keys(self.keys))
            self._heads[partition] = head
        return head


@cache
def load(name: str) -> Script:
    """The script of that name, read once."""
    folder = resources.files("quaff.store") / "lua"
    met: set[str] = set()

    def piece(match: re.Match[str]) -> str:
        if match[1] in met:
            return ""
        met.add(match[1])
        return _INCLUDE.sub(piece, (folder / "lib" / f"{match[1]}.lua").read_text())

    text = _INCLUDE.sub(piece, (folder / f"{name}.lua").read_text())
    keys = tuple(dict.fromkeys(key for line in _KEYS.findall(text) for key in line.split()))
    table = ", ".join(f"{key} = KEYS[{place}]" for place, key in enumerate(keys, 1))
    first, rest = text.split("\n", 1)
    source = f"{first}\nlocal k = {{{table}}}\n{_KEYS.sub('', rest)}"
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest().encode()
    return Script(name, source, sha, keys, "flags=no-writes" in first)
