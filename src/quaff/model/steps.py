"""What a job remembers from one attempt to the next, as the scripts keep it (``store/lua/lib/steps.lua``)."""

from __future__ import annotations

from typing import Any, NamedTuple

from quaff.errors import StepError

#: The kinds of steps: done; an iteration; a sleep; a wait for a signal, one that got it, and one whose time was up.
DONE, ITERATION, SLEEP, WAIT, RECEIVED, TIMED_OUT = "s", "i", "z", "w", "v", "t"

#: Steps of one job, and bytes of all of them together.
MOST, MOST_BYTES = 1000, 1024 * 1024
#: Signals that a job was sent and has not taken, and bytes of them.
MOST_SIGNALS, MOST_SIGNAL_BYTES = 100, 64 * 1024
#: Bytes of the cursor of an iteration.
MOST_CURSOR = 4096
#: Bytes of a name: its length has one.
_LONGEST_NAME = 200


class Step(NamedTuple):
    """One of them.

    Attributes:
        name: unique in the job.
        kind: one of the letters above.
        ms: Unix milliseconds, the server's: when it was done, or until when it waits.
        attempt: the number of the attempt that wrote it.
        signal: the name of the signal that a wait is for.
        value: encoded; of a signal that came without the 16 bytes of its id.
    """

    name: str
    kind: str
    ms: int
    attempt: int
    signal: str
    value: bytes


#: In the place of what cannot be read.
CORRUPT = [Step("", "?", 0, 0, "", b"")]


def encode(name: str, kind: str, attempt: int, value: bytes = b"", signal: str = "") -> bytes:
    """A step without its time, which the server adds."""
    names = b"".join(len(text).to_bytes() + text for text in (name.encode(), signal.encode()))
    return kind.encode() + attempt.to_bytes(4, "big") + names + value


def decode(data: bytes) -> list[Step]:
    """The steps of a job, in the order in which they came."""
    steps: list[Step] = []
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        record, data = data[4:end], data[end:]
        name_end = 19 + record[18]
        signal_end = name_end + 1 + record[name_end]
        kind = record[13:14].decode()
        steps.append(
            Step(
                record[19:name_end].decode(),
                kind,
                int(record[:13]),
                int.from_bytes(record[14:18], "big"),
                record[name_end + 1 : signal_end].decode(),
                record[signal_end + (16 if kind == RECEIVED else 0) :],
            )
        )
    return steps


def checked_name(call: str, name: Any) -> str:
    """A name for a step or a signal. Raises StepError."""
    if isinstance(name, str) and name and len(name.encode("utf-8", "replace")) <= _LONGEST_NAME and _is_text(name):
        return name
    raise StepError(f"{call}: {name!r} is no name: give a text of 1 to {_LONGEST_NAME} bytes.")


def _is_text(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)
