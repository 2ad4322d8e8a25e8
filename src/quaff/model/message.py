"""A job's bytes: one call of one task, versioned, opaque to the scripts but for its first bytes.

``0x01 body`` or, for a job with ``key=``, ``0x02 digest(16) body``: the enqueue script compares the digest, so that
the same key with other arguments is refused. Before that may stand layers, ``kind length(4) data``: ``0x03`` is
another message, which the scripts put in line when this job is given up; ``0x04`` has the records of the jobs whose
results it is given, each after its length in four bytes, an empty one for None; ``0x05`` says where a job is at home
that runs in another queue: 16 bytes of its id there, then the partition. ``body`` is a MessagePack array
``[task, args, kwargs, created_ms]`` and, if there are any, a map of terms. A term whose name begins with ``!`` must be
understood: a worker that does not know it leaves the job to one that does; any other unknown one is passed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from quaff.model import codec, outcome, stored
from quaff.model.ids import JobId
from quaff.model.placement import Placement
from quaff.model.stored import Stored

_PLAIN, _KEYED, _CARRYING, _NEWEST = b"\x01", b"\x02", b"\x03", 9
_RESULTS, _ORIGIN = b"\x04", b"\x05"
_LAYERS = (_CARRYING, _RESULTS, _ORIGIN)
_DIGEST = 16
#: None, encoded.
_NONE = b"\xc0"

#: Terms: Unix milliseconds by which the job must have begun; its own time limit in milliseconds.
EXPIRES, TIMEOUT = "!expires", "!timeout"
#: Unix milliseconds of the nominal instant, for an occurrence of a schedule; nobody must know it.
SCHEDULED = "scheduled"
#: The flow that a job is of, by the text form of its id; nobody must know it.
FLOW = "flow"
_KNOWN = frozenset({EXPIRES, TIMEOUT})


class Message(msgspec.Struct, array_like=True, frozen=True):
    """One enqueued call. ``created_ms`` (Unix milliseconds) is 0 where the id itself tells the time."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    created_ms: int = 0
    terms: dict[str, Any] = {}


class Submission(NamedTuple):
    """A message on its way to the server; ``placement`` for one that asks for more than the end of the line."""

    id: JobId
    message: bytes
    task: str
    key: str | None = None
    placement: Placement | None = None


class CorruptMessage(ValueError):
    """These bytes were not written by this package, or were changed since."""


class NewerMessage(ValueError):
    """A later version wrote this message: a worker that knows it will come."""


_decoder = msgspec.msgpack.Decoder(Message, ext_hook=codec.from_ext)


def encode(
    task: str, args: list[Any], kwargs: dict[str, Any], terms: Mapping[str, Any] | None = None, created_ms: int = 0
) -> bytes:
    """The bytes of a plain job."""
    return _PLAIN + codec.pack((task, args, kwargs, created_ms, terms) if terms else (task, args, kwargs, created_ms))


def encode_keyed(
    task: str, args: list[Any], kwargs: dict[str, Any], created_ms: int, terms: Mapping[str, Any] | None = None
) -> bytes:
    """The bytes of a job with ``key=``: the same task and arguments give the same digest, whatever their terms."""
    # The arguments as they will come back, because what is on the wire has lost which order counts.
    same = codec.canonical(codec.unpack(codec.pack((task, args, kwargs))))
    digest = hashlib.blake2b(same, digest_size=_DIGEST).digest()
    body = (task, args, kwargs, created_ms, terms) if terms else (task, args, kwargs, created_ms)
    return _KEYED + digest + codec.pack(body)


def carrying(other: bytes, data: bytes) -> bytes:
    """``data`` with another message, which is put in line when the job is given up."""
    return _CARRYING + len(other).to_bytes(4, "big") + other + data


def _layers(data: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """A job's own bytes, and what stands before them, by its kind."""
    layers: dict[bytes, bytes] = {}
    while data[:1] in _LAYERS:
        end = 5 + int.from_bytes(data[1:5], "big")
        layers[data[:1]], data = data[5:end], data[end:]
    return data, layers


def origin(data: bytes) -> JobId | None:
    """Where a job is at home that runs in another queue; None for nearly all."""
    if data[:1] != _ORIGIN:
        return None
    home = _layers(data)[1][_ORIGIN]
    return JobId(*partition_of(home[16:]), home[:16])


def partition_of(text: bytes) -> tuple[str, int]:
    """Queue and number in ``queue#number``, as scripts name a partition."""
    queue, _, number = text.decode().rpartition("#")
    return queue, int(number)


def decode(data: bytes, fetch: Callable[[Stored], bytes] = lambda _: _NONE) -> Message:
    """The call in a job's bytes.

    Args:
        fetch: gives the bytes of a result of another job that is kept elsewhere; by default None stands in its place.

    Raises:
        CorruptMessage, NewerMessage; what ``fetch`` raises.
    """
    data, layers = _layers(data)
    kind = data[:1]
    if kind not in (_PLAIN, _KEYED):
        if data and data[0] <= _NEWEST:
            raise NewerMessage(f"message format {data[0]} is newer than this worker")
        raise CorruptMessage("the message does not begin as one of ours")
    try:
        decoder = _decoder_with(layers[_RESULTS], fetch) if _RESULTS in layers else _decoder
        message = decoder.decode(memoryview(data)[1 if kind == _PLAIN else 1 + _DIGEST :])
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError, ArithmeticError) as error:
        raise CorruptMessage(f"the message cannot be decoded: {error}") from None
    if message.terms:
        strange = [name for name in message.terms if name.startswith("!") and name not in _KNOWN]
        if strange:
            raise NewerMessage(f"the message has the term {strange[0]!r}, which this worker does not know")
        if any(type(message.terms.get(name, 0)) is not int for name in (*_KNOWN, SCHEDULED)):
            raise CorruptMessage("the message has a time that is no number of milliseconds")
    return message


def lacks_results(data: bytes) -> bool:
    """Whether a job is given results that are kept elsewhere, for which ``decode`` has to ask ``fetch``."""
    if data[:1] not in _LAYERS:
        return False
    return any(stored.decode(value) is not None for value in _values(_layers(data)[1].get(_RESULTS, b"")))


def _decoder_with(records: bytes, fetch: Callable[[Stored], bytes]) -> msgspec.msgpack.Decoder[Message]:
    results: list[Any] = []
    for value in _values(records):
        elsewhere = stored.decode(value)
        results.append(codec.unpack(value if elsewhere is None else fetch(elsewhere)))
    return msgspec.msgpack.Decoder(Message, ext_hook=codec.with_results(results))


def _values(records: bytes) -> Iterator[bytes]:
    """The value in each of these records, as bytes."""
    while records:
        end = 4 + int.from_bytes(records[:4], "big")
        yield bytes(outcome.decode(records[4:end]).value) if end > 4 else _NONE
        records = records[end:]


def digest(data: bytes) -> bytes:
    """The digest of a job with ``key=``; empty for a plain one."""
    data, _ = _layers(data)
    return data[1 : 1 + _DIGEST] if data[:1] == _KEYED else b""
