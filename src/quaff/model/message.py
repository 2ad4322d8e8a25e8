"""A job's bytes: one call of one task, versioned, opaque to the scripts but for its first bytes.

``0x01 body`` or, for a job with ``key=``, ``0x02 digest(16) body``: the enqueue script compares the digest, so that
the same key with other arguments is refused. ``body`` is a MessagePack array ``[task, args, kwargs, created_ms]``.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgspec

from quaff.model import codec
from quaff.model.ids import JobId

_PLAIN, _KEYED, _NEWEST = b"\x01", b"\x02", 9
_DIGEST = 16


class Message(msgspec.Struct, array_like=True, frozen=True):
    """One enqueued call. ``created_ms`` (Unix milliseconds) is 0 where the id itself tells the time."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    created_ms: int = 0


class Submission(NamedTuple):
    """A message on its way to the server."""

    id: JobId
    message: bytes
    task: str
    key: str | None = None


class CorruptMessage(ValueError):
    """These bytes were not written by this package, or were changed since."""


class NewerMessage(ValueError):
    """A later version wrote this message: a worker that knows it will come."""


_decoder = msgspec.msgpack.Decoder(Message, ext_hook=codec.from_ext)


def encode(task: str, args: list[Any], kwargs: dict[str, Any]) -> bytes:
    """The bytes of a plain job."""
    return _PLAIN + codec.pack((task, args, kwargs, 0))


def encode_keyed(task: str, args: list[Any], kwargs: dict[str, Any], created_ms: int) -> bytes:
    """The bytes of a job with ``key=``: the same task and arguments give the same digest."""
    # The arguments as they will come back, because what is on the wire has lost which order counts.
    same = codec.canonical(codec.unpack(codec.pack((task, args, kwargs))))
    digest = hashlib.blake2b(same, digest_size=_DIGEST).digest()
    return _KEYED + digest + codec.pack((task, args, kwargs, created_ms))


def decode(data: bytes) -> Message:
    """The call in a job's bytes.

    Raises:
        CorruptMessage, NewerMessage
    """
    kind = data[:1]
    if kind not in (_PLAIN, _KEYED):
        if data and data[0] <= _NEWEST:
            raise NewerMessage(f"message format {data[0]} is newer than this worker")
        raise CorruptMessage("the message does not begin as one of ours")
    try:
        return _decoder.decode(memoryview(data)[1 if kind == _PLAIN else 1 + _DIGEST :])
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError, ArithmeticError) as error:
        raise CorruptMessage(f"the message cannot be decoded: {error}") from None


def digest(data: bytes) -> bytes:
    """The digest of a job with ``key=``; empty for a plain one."""
    return data[1 : 1 + _DIGEST] if data[:1] == _KEYED else b""
