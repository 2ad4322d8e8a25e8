"""A job's bytes: one call of one task, versioned, opaque to the scripts but for its first bytes.

``0x01 body`` or, for a job with ``key=``, ``0x02 digest(16) body``: the enqueue script compares the digest, so that
the same key with other arguments is refused. Before that may stand layers, ``kind length(4) data``: ``0x03`` is
another message, which the scripts put in line when this job is given up; ``0x04`` has the records of the jobs whose
results it is given, each after its length in four bytes, an empty one for None; ``0x05`` says where a job is at home
that runs in another queue: 16 bytes of its id there, then the partition. ``body`` is a MessagePack array
``[task, args, kwargs, created_ms]`` and, if there are any, a map of terms. A term whose name begins with ``!`` must be
understood: a worker that does not know it leaves the job to one that does; any other unknown one is passed over.
``0x06 sealed`` and ``0x07 digest(16) sealed`` are the same two with a body that is signed or encrypted
(``sealing.py``), bound to the job's home and id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from quaff.model import codec, outcome, sealing, stored, value
from quaff.model.durability import Durability
from quaff.model.ids import FIXED, JobId
from quaff.model.placement import Placement
from quaff.model.sealing import BARE, BadSeal, Seals
from quaff.model.stored import Stored

_PLAIN, _KEYED, _CARRYING, _NEWEST = b"\x01", b"\x02", b"\x03", 9
_RESULTS, _ORIGIN = b"\x04", b"\x05"
_LAYERS = (_CARRYING, _RESULTS, _ORIGIN)
_SEALED, _SEALED_KEYED = b"\x06", b"\x07"
_SEALED_AS = {_PLAIN: _SEALED, _KEYED: _SEALED_KEYED}
_DIGEST = 16
#: None, encoded.
_NONE = b"\xc0"

#: Terms: Unix milliseconds by which the job must have begun; its own time limit in milliseconds.
EXPIRES, TIMEOUT = "!expires", "!timeout"
#: Unix milliseconds of the nominal instant, for an occurrence of a schedule; nobody must know it.
SCHEDULED = "scheduled"
#: Unix milliseconds of when a delayed job is due, by its sender's clock; nobody must know it.
DUE = "due"
#: The flow that a job is of, by the text form of its id; nobody must know it.
FLOW = "flow"
#: What an application's middleware sent along, texts by name, such as ``traceparent``; nobody must know it.
HEADERS = "headers"
_KNOWN = frozenset({EXPIRES, TIMEOUT})


class Message(msgspec.Struct, array_like=True, frozen=True):
    """One enqueued call. ``created_ms`` (Unix milliseconds) is 0 where the id itself tells the time."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    created_ms: int = 0
    terms: dict[str, Any] = {}

    def __repr__(self) -> str:
        # Its arguments may be what nobody is to see.
        return f"<Message {self.task}>"


class Submission(NamedTuple):
    """A message on its way to the server.

    ``placement`` for one that asks for more than the end of the line, ``durability`` for more than the primary's word.
    """

    id: JobId
    message: bytes
    task: str
    key: str | None = None
    placement: Placement | None = None
    durability: Durability | None = None


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
    task: str,
    args: list[Any],
    kwargs: dict[str, Any],
    created_ms: int,
    terms: Mapping[str, Any] | None = None,
    secret: bytes = b"",
) -> bytes:
    """The bytes of a job with ``key=``: the same task and arguments give the same digest, whatever their terms.

    Args:
        secret: with it nobody can try out whether a digest is that of some arguments.
    """
    # The arguments as they will come back, because what is on the wire has lost which order counts.
    same = codec.canonical(codec.unpack(codec.pack((task, args, kwargs))))
    digest = hashlib.blake2b(same, digest_size=_DIGEST, key=secret).digest()
    body = (task, args, kwargs, created_ms, terms) if terms else (task, args, kwargs, created_ms)
    return _KEYED + digest + codec.pack(body)


def carrying(other: bytes, data: bytes) -> bytes:
    """``data`` with another message, which is put in line when the job is given up."""
    return _CARRYING + len(other).to_bytes(4, "big") + other + data


class Where(NamedTuple):
    """Whose message it is, as its reader sees it: the job's namespace, and where the job is."""

    namespace: str
    job: JobId


def seal(data: bytes, seals: Seals, where: Where, *, late: bool = False) -> bytes:
    """The bytes of ``encode`` or ``encode_keyed`` signed and encrypted, for one job.

    Args:
        late: it may be stored under another id than that, which ends as it does (``ids.FIXED``).
    """
    head, body = _parted(data, _SEALED_AS[data[:1]])
    return head + seals.seal(sealing.MESSAGE, _bound(where, late=late), head, body, late=late)


def _parted(data: bytes, kind: bytes) -> tuple[bytes, bytes]:
    """The head of a message, with that kind, and what comes after it."""
    at = 1 if data[:1] in (_PLAIN, _SEALED) else 1 + _DIGEST
    return kind + data[1:at], data[at:]


def _bound(where: Where, *, late: bool) -> bytes:
    home = sealing.place_of(where.namespace, where.job.queue, where.job.partition)
    return home + (b"\x00\x00" + where.job.raw[FIXED:] if late else b"\x00\x01" + where.job.raw)


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
    try:
        return _job_in(_layers(data)[1][_ORIGIN])
    except ValueError:
        return None  # nobody of us wrote it, so it is where it is


def _job_in(home: bytes) -> JobId:
    return JobId(*partition_of(home[16:]), home[:16])


def partition_of(text: bytes) -> tuple[str, int]:
    """Queue and number in ``queue#number``, as scripts name a partition."""
    queue, _, number = text.decode().rpartition("#")
    return queue, int(number)


def decode(
    data: bytes,
    fetch: Callable[[Stored], bytes] = lambda _: _NONE,
    *,
    seals: Seals = BARE,
    where: Where | None = None,
    most: int = 0,
) -> Message:
    """The call in a job's bytes: measured, then verified, then decrypted, then decoded.

    Args:
        fetch: gives the bytes of a result of another job that is kept elsewhere; by default None stands in its place.
        seals: the keys; with those that check anything, ``where`` must be given.
        most: bytes of the call itself, without what scripts have put before it; 0: as many as there are.

    Raises:
        CorruptMessage, NewerMessage; what ``fetch`` raises.
    """
    try:
        if data[:1] == _PLAIN and not seals.required:
            if 0 < most < len(data):
                raise _too_large(len(data), most)
            message = _decoder.decode(memoryview(data)[1:])
        else:
            message = _decode_other(data, fetch, seals, where, most)
    except (CorruptMessage, NewerMessage):
        raise
    except codec.UNREADABLE as error:
        raise CorruptMessage(f"the message cannot be read: {error}") from None
    if message.terms:
        strange = [name for name in message.terms if name.startswith("!") and name not in _KNOWN]
        if strange:
            raise NewerMessage(f"the message has the term {strange[0]!r}, which this worker does not know")
        if any(type(message.terms.get(name, 0)) is not int for name in (*_KNOWN, SCHEDULED, DUE)):
            raise CorruptMessage("the message has a time that is no number of milliseconds")
    return message


def _too_large(size: int, most: int) -> CorruptMessage:
    return CorruptMessage(f"the message is {size:,} bytes, the limit here is {most:,} (MAX_MESSAGE)")


def _decode_other(
    data: bytes, fetch: Callable[[Stored], bytes], seals: Seals, where: Where | None, most: int
) -> Message:
    """One that is not plain, or must not be."""
    data, layers = _layers(data)
    if _ORIGIN in layers and where:
        where = where._replace(job=_job_in(layers[_ORIGIN]))
    body = _opened(data, seals, where, most)
    if _RESULTS not in layers:
        return _decoder.decode(body)
    met: set[str] = set()
    given = _results(layers[_RESULTS], fetch, seals, where, met)
    message = msgspec.msgpack.Decoder(Message, ext_hook=codec.with_results(given)).decode(body)
    if met - {message.terms.get(FLOW)}:
        raise CorruptMessage("it is given the result of a job of another flow")
    return message


def _opened(data: bytes, seals: Seals, where: Where | None, most: int) -> bytes:
    """A body: measured, verified, decrypted."""
    kind = data[:1]
    if kind not in (_PLAIN, _KEYED, _SEALED, _SEALED_KEYED):
        if data and data[0] <= _NEWEST:
            raise NewerMessage(f"message format {data[0]} is newer than this worker")
        raise CorruptMessage("it does not begin as one of ours")
    if 0 < most < len(data):
        raise _too_large(len(data), most)
    head, body = _parted(data, kind)
    if kind in (_PLAIN, _KEYED):
        if seals.required:
            raise BadSeal(sealing.UNSIGNED)
        return body
    assert where is not None or not seals.checks
    bound = _bound(where, late=sealing.is_late(body)) if where else b""
    return seals.open(sealing.MESSAGE, bound, head, body)


def lacks_results(data: bytes) -> bool:
    """Whether a job is given results that are kept elsewhere, for which ``decode`` has to ask ``fetch``."""
    if data[:1] not in _LAYERS:
        return False
    return any(stored.decode(value) is not None for value in _values(_layers(data)[1].get(_RESULTS, b"")))


def _results(
    records: bytes, fetch: Callable[[Stored], bytes], seals: Seals, where: Where | None, met: set[str]
) -> list[Any]:
    """The values in these records; ``met`` gets the flows that they were sealed for."""
    given: list[Any] = []
    for data in _values(records):
        elsewhere = stored.decode(data)
        whole = data if elsewhere is None else fetch(elsewhere)
        if not data or (elsewhere is not None and whole == _NONE):
            given.append(None)  # of a job that gave nothing; or it comes later
            continue
        home = where.job if where else JobId("", 0, b"")
        opened = value.unseal(whole, seals, where.namespace if where else "", home.queue, home.partition)
        if opened.flow is not None:
            met.add(opened.flow)
        given.append(codec.unpack(opened.data))
    return given


def _values(records: bytes) -> Iterator[bytes]:
    """The value in each of these records, as bytes; empty for an empty one."""
    while records:
        end = 4 + int.from_bytes(records[:4], "big")
        yield bytes(outcome.decode(records[4:end]).value) if end > 4 else b""
        records = records[end:]


def digest(data: bytes) -> bytes:
    """The digest of a job with ``key=``; empty for a plain one."""
    if data[:1] == _PLAIN:
        return b""
    data, _ = _layers(data)
    return data[1 : 1 + _DIGEST] if data[:1] in (_KEYED, _SEALED_KEYED) else b""
