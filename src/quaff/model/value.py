"""What a job gave, as it is kept: plain, or sealed for that job.

A sealed value is an extension in the place of the plain one: 16 bytes of the job's id, the length of its flow's id in
one byte, that id in its text form, and the sealed text. So whoever is given results of others can see whose they are.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec.msgpack import Ext

from quaff.model import codec, sealing
from quaff.model.ids import JobId
from quaff.model.sealing import BadSeal, Seals

_EXTENSIONS = (b"\xc7", b"\xc8", b"\xc9")
_RAW = 16


class Opened(NamedTuple):
    """The plain value, encoded, and the job and flow that it was sealed for (None, None for one that was not)."""

    data: bytes
    raw: bytes | None = None
    flow: str | None = None


def seal(data: bytes, seals: Seals, namespace: str, job: JobId, flow: str) -> bytes:
    """An encoded value, sealed for the job that gave it, as it is at home; ``flow`` is empty for one of none."""
    place = sealing.place_of(namespace, job.queue, job.partition)
    of = flow.encode()
    head = job.raw + len(of).to_bytes() + of
    return codec.pack(Ext(codec.SEALED, head + seals.seal(sealing.RESULT, place, head, data)))


def is_sealed(data: bytes) -> bool:
    """Whether ``seal`` made it."""
    at = _EXTENSIONS.index(data[:1]) if data[:1] in _EXTENSIONS else -1
    return at >= 0 and data[1 + 2**at : 2 + 2**at] == bytes([codec.SEALED])


def unseal(data: bytes, seals: Seals, namespace: str, queue: str, number: int) -> Opened:
    """The value that a job of that partition gave. Raises BadSeal."""
    if not is_sealed(data):
        if seals.required:
            raise BadSeal(sealing.UNSIGNED)
        return Opened(data)
    try:
        text = bytes(_extension(data).data)
        end = _RAW + 1 + text[_RAW]
        head, flow = text[:end], text[_RAW + 1 : end].decode()
    except (msgspec.DecodeError, IndexError, ValueError):
        raise BadSeal("it is cut short") from None
    place = sealing.place_of(namespace, queue, number)
    return Opened(seals.open(sealing.RESULT, place, head, text[end:]), text[:_RAW], flow)


_extension = msgspec.msgpack.Decoder(Ext).decode
