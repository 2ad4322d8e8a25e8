"""The worker's log: one line an event, on stderr, quiet by default. An application's own logging is left alone."""

from __future__ import annotations

import logging
import sys

_FORMAT = "%(asctime)s %(name)s %(message)s"


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    """The handler of a process whose application has none."""


def set_up(level: str) -> None:
    """Give the root logger a handler if nobody else has, and Quaff's own loggers their level."""
    logging.getLogger("quaff").setLevel(level.upper())
    if not logging.getLogger().handlers:
        handler = _Stderr(sys.stderr)
        handler.setFormatter(logging.Formatter(_FORMAT, "%H:%M:%S"))
        logging.getLogger().addHandler(handler)


def loosen(level: int) -> None:
    """Let records from this level on come to handlers, where the application leaves that to us; stderr stays quiet."""
    root = logging.getLogger()
    ours = next((handler for handler in root.handlers if isinstance(handler, _Stderr)), None)
    if ours is not None and root.level == logging.WARNING and level < logging.WARNING:
        root.setLevel(level)
        ours.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.partition(".")[0] == "quaff")


def first_line(text: str, limit: int = 200) -> str:
    """The beginning of a text as one printable line, so that one record is one line of the log."""
    return printable(text.splitlines()[0][:limit]) if text.strip() else ""


def printable(line: str) -> str:
    """A line that does nothing to a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
