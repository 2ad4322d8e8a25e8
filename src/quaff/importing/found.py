"""What waits elsewhere: the line it stands in, and one message as far as it can be understood."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

from quaff.importing import plain

#: The most bytes of a message that are read, sixteen times what a job of ours may have by default.
MOST = 4 * 2**20

#: Why a message stays where it is, and what to do about it. Short: the command shows them in a table.
FOLLOWED = "something comes after it (chain, chord, callback): let their workers run it"
GONE = "its data are gone, by its own time or its deletion: nothing is left to run"
_UNREADABLE = "it is no message of this library: look at it, and delete it"
_TOO_LARGE = f"it is larger than {MOST // 2**20} MiB: let their workers run it"
_PICKLED = "it is pickled, and {}: let their workers run it, or send it anew"


class Stays(Exception):
    """Why a message is not moved, and what to do about it."""


class Source(NamedTuple):
    """A line of messages.

    Attributes:
        key: where it is on their server.
        end: the end of a list that is served first; a sorted set is served from its lowest score.
        queue: what they call it.
        delayed: its messages wait for their time.
    """

    key: bytes
    end: Literal["left", "right", "lowest"]
    queue: str
    delayed: bool = False


class Entry(NamedTuple):
    """How a message stands in its line; ``score`` in a sorted set."""

    member: bytes
    score: float = 0.0


class Found(NamedTuple):
    """One message.

    Attributes:
        member: how it stands in its line.
        id: what they call it; no other message is called so.
        name: of their task.
        due, expires: Unix seconds before which it must not, after which it need not begin.
        priority: as we count, high first.
        besides: what else there is of it and goes with it: a key, and, if that is a hash, a field of it.
        refused: why it cannot be moved, or an empty text.
    """

    member: bytes
    id: str
    name: str = "?"
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = MappingProxyType({})
    due: float | None = None
    expires: float | None = None
    priority: int = 0
    besides: tuple[bytes, ...] = ()
    refused: str = ""


class Server(Protocol):
    """Who is asked for messages."""

    def ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """The replies, in one round trip. Raises ServerUnavailable, StoreError."""
        ...

    def names(self, pattern: str) -> Iterator[bytes]:
        """The keys that match; errors as of ``ask``."""
        ...


class Peer(Protocol):
    """What is to be known of a library.

    Attributes:
        default: its queue for whoever names none.
    """

    @property
    def default(self) -> str:
        """See there."""
        ...

    def sources(self, server: Server) -> list[Source]:
        """The lines that are there, those first that are served first."""
        ...

    def read(self, server: Server, source: Source, entries: Sequence[Entry]) -> list[Found]:
        """Messages, as they stand in their line."""
        ...

    def aside(self, server: Server, sources: Sequence[Source]) -> dict[str, int]:
        """What does not wait in a line and is left alone: how many of which kind."""
        ...


def understood(entry: Entry, id: str, name: str, read: Callable[[], Found]) -> Found:
    """What ``read`` makes of a message; where it cannot make anything of it, one that is refused.

    Args:
        entry: the message.
        id, name: as far as they are known.
        read: it may raise Stays, NotPlain, and whatever one meets in data of another form than expected.
    """
    try:
        return read()
    except Stays as stays:
        why = str(stays)
    except plain.NotPlain as error:
        why = _PICKLED.format(error)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        why = _UNREADABLE
    return Found(entry.member, id, name, refused=why)


def bounded(data: bytes) -> bytes:
    """They, if it is not too much to be read. Raises Stays."""
    if len(data) > MOST:
        raise Stays(_TOO_LARGE)
    return data


def whole(entry: Entry, id: Any, name: Any, args: Any, kwargs: Any, **more: Any) -> Found:
    """A message, if its parts are what they have to be; TypeError if not."""
    texts = isinstance(id, str) and isinstance(name, str) and isinstance(kwargs, dict)
    if not (texts and id and isinstance(args, list | tuple) and all(isinstance(key, str) for key in kwargs)):
        raise TypeError("another form")
    return Found(entry.member, id, name, args, kwargs, **more)


def parsed(data: bytes) -> Any:
    """What is pickled, if it is plain, or else in JSON as Python writes it. Raises Stays, NotPlain, ValueError."""
    return plain.read(data) if plain.is_pickle(bounded(data)) else json.loads(data)


def number(given: Any) -> float | None:
    """It, if it is one that a time can be made of."""
    return float(given) if type(given) in (int, float) and abs(given) < 1e15 else None
