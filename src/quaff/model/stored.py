"""What the record of a job has in the place of a result that is too large for the server: its name elsewhere.

The name is made by the worker. It has few kinds of characters, so that it can be the name of a file or of an object:
16 hex digits that belong to the attempt alone, ``-``, the digits of the job's id, and for a job of a flow ``-`` and the
id of that, in its text form.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from msgspec.msgpack import Ext

from quaff.model import codec, ids
from quaff.model.ids import JobId

_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{32}(-(?P<flow>.{1,170}))?")


class Stored(NamedTuple):
    """Where a result is, and how many bytes it has."""

    name: str
    size: int


def name_of(place: bytes, id: bytes, token: bytes, flow: str) -> str:
    """The name for what one attempt gives.

    Args:
        place: of the partition, namespace included.
        id, token: of the attempt.
        flow: that the job is of, in text form; empty for other jobs.
    """
    own = f"{hashlib.blake2b(place + token, digest_size=8).hexdigest()}-{id.hex()}"
    return f"{own}-{flow}" if flow else own


def flow_of(name: str) -> JobId | None:
    """The flow in a name; None for other jobs, and for what is no name of ours."""
    match = _NAME.fullmatch(name)
    return ids.parse(match["flow"]) if match and match["flow"] else None


def job_of(name: str) -> str:
    """The id of the job that gave it, in text form; the bare digits where only its flow would tell the rest."""
    flow, digits = flow_of(name), name[17:49]
    return str(flow._replace(raw=bytes.fromhex(digits))) if flow else digits


def encode(stored: Stored) -> bytes:
    """As bytes, in the place of a value."""
    return codec.pack(Ext(codec.STORED, codec.pack(stored)))


def decode(data: bytes) -> Stored | None:
    """What ``encode`` made; None for bytes of a value. Raises ValueError for a name that no worker makes."""
    if data[:1] != b"\xc7" or data[2:3] != bytes([codec.STORED]):  # an extension of 17 to 255 bytes
        return None
    match codec.unpack(data[3:]):
        case [str(name), int(size)] if (found := _NAME.fullmatch(name)) and (not found["flow"] or flow_of(name)):
            return Stored(name, size)
    raise ValueError("the record says that the result is kept elsewhere, under a name that no worker makes")
