"""Their server: what is asked there, a page of a line, and one message out of its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from quaff.errors import ConfigurationError, StoreError
from quaff.importing.found import Entry, Found, Source
from quaff.store.connect import Endpoint
from quaff.store.pages import PAGE as LOOK
from quaff.store.probe import Line

#: Messages that are read, sent and removed at a time.
PAGE = 100
#: Pages of all keys of a server after which the search for a library's is given up.
_MOST = 20_000

# Whoever else takes it first has it: then nothing that belongs to it is touched. No shebang, which servers before 7 do
# not know; all keys are declared. The message is near the end from which it is looked for, behind those that stay.
_TAKE = """
local gone
if ARGV[1] == 'lowest' then
  gone = redis.call('ZREM', KEYS[1], ARGV[2])
else
  gone = redis.call('LREM', KEYS[1], ARGV[1] == 'right' and -1 or 1, ARGV[2])
end
if gone == 1 and ARGV[3] then
  redis.call('HDEL', KEYS[2], ARGV[3])
elseif gone == 1 and KEYS[2] then
  redis.call('DEL', KEYS[2])
end
return gone
"""


class Theirs:
    """A connection to the server of another library; see ``found.Server``.

    Args:
        url: in any form in which ours may be given.
        seconds: for each question.

    Attributes:
        where: it, without its password.

    Raises:
        ConfigurationError: a URL of another form, or of a cluster.
    """

    def __init__(self, url: str, seconds: float = 5.0) -> None:
        endpoint = Endpoint(url, "the command line", seconds)
        if endpoint.kind == "cluster":
            raise ConfigurationError(f"{endpoint.where}: other libraries do not use a cluster; name their server.")
        self.where: str = endpoint.where
        self._line = Line(endpoint, seconds)

    def ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """The replies, in one round trip. Raises ServerUnavailable, StoreError."""
        self._line.refused = ""
        replies = self._line.ask(commands)
        if self._line.refused:
            raise StoreError(f"{self.where} refuses: {self._line.refused}")
        return replies

    def names(self, pattern: str) -> Iterator[bytes]:
        """The keys that match, some perhaps twice; errors as of ``ask``."""
        cursor = b"0"
        for _ in range(_MOST):
            ((cursor, found),) = self.ask(("SCAN", cursor, "MATCH", pattern, "COUNT", LOOK))
            yield from found
            if cursor == b"0":
                return
        raise StoreError(f"{self.where} has too many keys to look for {pattern} among them.")

    def length(self, source: Source) -> int:
        """How many stand in a line."""
        (length,) = self.ask(("ZCARD" if source.end == "lowest" else "LLEN", source.key))
        return int(length)

    def page(self, source: Source, after: int) -> list[Entry]:
        """The next ones in a line, as they are served, behind so many."""
        if source.end == "lowest":
            (flat,) = self.ask(("ZRANGE", source.key, after, after + PAGE - 1, "WITHSCORES"))
            return [Entry(member, float(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]
        if source.end == "left":
            (members,) = self.ask(("LRANGE", source.key, after, after + PAGE - 1))
        else:
            (members,) = self.ask(("LRANGE", source.key, -after - PAGE, -after - 1))
            members.reverse()
        return [Entry(member) for member in members]

    def take(self, source: Source, several: Sequence[Found]) -> int:
        """Remove messages, each with what belongs to it in one step; how many of them were still there."""
        return sum(self.ask(*(_taking(source, each) for each in several))) if several else 0


def _taking(source: Source, found: Found) -> tuple[Any, ...]:
    key, field = found.besides[:1], found.besides[1:]
    return ("EVAL", _TAKE, 1 + len(key), source.key, *key, source.end, found.member, *field)
