"""A clock that stands still until it is told to move, for scripts and for what Quaff itself reads of Python's.

The product's Lua knows nothing of it: a script that asks the server for TIME is sent with a few lines in front, by
which that one command is answered with the time that comes as its last argument.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import Any
from unittest.mock import patch

import msgspec

from quaff.store.scripts import Script
from quaff.store.transitions import Call

_BEFORE = """
local TOLD = table.remove(ARGV)
local redis = setmetatable({call = function(name, ...)
  if name == 'TIME' then return {TOLD:sub(1, -4), TOLD:sub(-3) .. '000'} end
  return redis.call(name, ...)
end}, {__index = redis})
"""

#: The modules that read the wall clock for what is sent, or written down of an attempt.
_READERS = "model.ids model.outcome model.events model.options task schedules worker.executor worker.parking".split()


class Clock:
    """The time of one kit; ``now_ms``: Unix milliseconds."""

    def __init__(self) -> None:
        self.now_ms: int = time.time_ns() // 1_000_000

    @property
    def now(self) -> datetime:
        """The same as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.now_ms / 1000, UTC)

    def at_its_time(self, call: Call[Any]) -> Call[Any]:
        """The call with this clock in the place of the server's."""
        twin = _twin(call.script)
        return (
            call if twin is None else msgspec.structs.replace(call, script=twin, args=(*call.args, b"%d" % self.now_ms))
        )

    @contextmanager
    def of_python(self) -> Iterator[None]:
        """Let Quaff's own code read this clock in place of ``time.time``; everybody else's goes on."""
        wall = _Wall(self)
        with ExitStack() as stack:
            for name in _READERS:
                stack.enter_context(patch.object(import_module(f"quaff.{name}"), "time", wall))
            yield


class _Wall:
    """The module ``time``, less the time of day."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def time(self) -> float:
        return self._clock.now_ms / 1000

    def time_ns(self) -> int:
        return self._clock.now_ms * 1_000_000

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@cache
def _twin(script: Script) -> Script | None:
    """The script with its time as a last argument; None for one that does not ask for it."""
    if "'TIME'" not in script.source:
        return None
    first, rest = script.source.split("\n", 1)
    source = f"{first}{_BEFORE}{rest}"
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest().encode()
    return Script(script.name, source, sha, script.keys, script.reads)
