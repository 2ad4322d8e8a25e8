"""How far an attempt has come, as its task says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

#: Characters of a note.
_LONGEST = 500


class Progress(msgspec.Struct, array_like=True, frozen=True):
    """``done`` of ``total`` (None where nobody knows), in whatever unit the task likes, and a word about it.

    ``seconds_left`` is an estimate, where ``current_job.iterate()`` could make one.
    """

    # Not float alone: what was told as 3 is seen as 3.
    done: int | float
    total: int | float | None = None
    note: str = ""
    seconds_left: float | None = None

    @property
    def fraction(self) -> float | None:
        """From 0 to 1; None without a total."""
        return None if self.total is None else min(1.0, self.done / self.total)


encode: Callable[[Progress], bytes] = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes], Progress] = msgspec.msgpack.Decoder(Progress).decode


def checked(done: Any, total: Any, note: Any) -> Progress:
    """What a task said. Raises ValueError for what is no progress."""
    if not _is_number(done) or done < 0:
        raise ValueError(f"progress(done={done!r}): give a number from 0.")
    if total is not None and (not _is_number(total) or total <= 0):
        raise ValueError(f"progress(total={total!r}): give a number above 0, or None where nobody knows.")
    # Lone surrogates, which UTF-8 cannot hold, must not fail the task.
    return Progress(done, total, str(note)[:_LONGEST].encode("utf-8", "backslashreplace").decode())


def _is_number(given: Any) -> bool:
    return type(given) in (int, float) and math.isfinite(given) and abs(given) < 2**63
