"""Job ids: 128 bits made by the client before the first send, and the text form that finds a job again.

The text form is ``<queue>-<partition>-<32 hex digits>``: it carries the partition, so any process can find a job
by its id alone. The server stores only the 16 raw bytes, because the partition is already in the key.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from typing import NamedTuple
from uuid import UUID

from quaff.errors import ConfigurationError

NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_RESULT_KEY = re.compile(r"(?P<queue>.+):result:(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.DOTALL)
#: Where the bytes of an id begin that are the same in all runs of a job of a flow, and in what follows a failed job.
FIXED = 7
_FOREIGN = re.compile(rb"[^A-Za-z0-9._-]|\.(?=[0-9a-f]{2})")
_TEXT = re.compile(r"(?P<queue>[A-Za-z0-9._-]{1,128})-(?P<partition>[0-9]{1,4})-(?P<raw>[0-9a-f]{32})")


class JobId(NamedTuple):
    """Where a job lives (queue, partition) and its 16 raw bytes."""

    queue: str
    partition: int
    raw: bytes

    def __str__(self) -> str:
        return f"{self.queue}-{self.partition}-{self.raw.hex()}"


def check_name(what: str, name: object) -> str:
    """A queue's or task's name. Raises ConfigurationError for characters that keys, URLs and ACLs cannot hold."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigurationError(f"{what} name {name!r}: use 1 to 128 of the characters A-Z a-z 0-9 . _ -")
    return name


def new_raw() -> bytes:
    """16 random bytes that sort by time of creation (RFC 9562, version 7: 48 bits of Unix milliseconds, 74 random)."""
    random = os.urandom(10)
    head = (time.time_ns() // 1_000_000).to_bytes(6, "big")
    return head + bytes((0x70 | random[0] & 0x0F, random[1], 0x80 | random[2] & 0x3F)) + random[3:]


def next_raw(raw: bytes) -> bytes:
    """The id of another run of a job of a flow: of now, and with the end of the one before (``FIXED``)."""
    return new_raw()[:FIXED] + raw[FIXED:]


def keyed_raw(queue: str, task: str, key: str) -> bytes:
    """The 16 bytes that belong to ``key=``: the same for every caller (RFC 9562, version 8)."""
    digest = bytearray(hashlib.blake2b(f"{queue}/{task}/{key}".encode(), digest_size=16).digest())
    digest[6] = 0x80 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    return bytes(digest)


def created_ms(raw: bytes) -> int:
    """Unix milliseconds of a time-ordered id; 0 for a keyed one, which does not know."""
    return int.from_bytes(raw[:6], "big") if len(raw) == 16 and raw[6] >> 4 == 7 else 0


def parse(text: str) -> JobId | None:
    """The parts of an id's text form, or None if it is not one."""
    match = _TEXT.fullmatch(text)
    return JobId(match["queue"], int(match["partition"]), bytes.fromhex(match["raw"])) if match else None


def queue_name(text: str) -> str:
    """Any text as the name of a queue, different for different texts; one that is a name already stays as it is.

    What a name cannot hold becomes ``.`` and two hex digits for each byte, and so does a ``.`` that could be taken for
    that. A text too long for a name ends in its hash.
    """
    data = text.encode("utf-8", "surrogatepass")
    name = _FOREIGN.sub(lambda match: b".%02x" % ord(match[0]), data).decode()
    return name if len(name) <= 128 else f"{name[:95]}.{hashlib.blake2b(data, digest_size=16).hexdigest()}"


def result_key(queue_key: str, raw: bytes) -> str:
    """The key that the snippet of 2011 gives a job: ``<queue key>:result:<uuid>``."""
    return f"{queue_key}:result:{UUID(bytes=raw)}"


def parse_result_key(text: str) -> tuple[str, JobId] | None:
    """The queue key and the job in a ``result_key``, or None if it is not one."""
    match = _RESULT_KEY.fullmatch(text)
    return (match["queue"], JobId(queue_name(match["queue"]), 0, UUID(match["uuid"]).bytes)) if match else None
