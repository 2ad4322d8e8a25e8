"""Tracebacks for people: the frames of the application's own code, and of the others how many there were."""

from __future__ import annotations

import re
from collections.abc import Iterator

from quaff.model.frames import is_foreign

_FRAME = re.compile(r'  File "(?P<path>.*)", line \d+')


def folded(traceback: str) -> list[tuple[bool, str]]:
    """Its lines, each with whether it speaks of somebody else's code; such frames in a row become one line.

    Args:
        traceback: as Python writes it.
    """
    lines: list[tuple[bool, str]] = []
    skipped = 0
    for theirs, text in _parts(traceback.rstrip().splitlines()):
        if theirs:
            skipped += 1
            continue
        if skipped:
            lines.append((True, f"  … {skipped} {'frame' if skipped == 1 else 'frames'} of libraries"))
            skipped = 0
        lines.append((False, text))
    return [*lines, (True, f"  … {skipped} frames of libraries")] if skipped else lines


def _parts(lines: list[str]) -> Iterator[tuple[bool, str]]:
    """A frame with the source that follows it; any other line by itself."""
    frame: list[str] = []
    theirs = False
    for line in lines:
        match = _FRAME.match(line)
        if match is None and frame and line.startswith("    "):
            frame.append(line)
            continue
        if frame:
            yield theirs, "\n".join(frame)
            frame = []
        if match is None:
            yield False, line
        else:
            frame, theirs = [line], is_foreign(match["path"])
    if frame:
        yield theirs, "\n".join(frame)
