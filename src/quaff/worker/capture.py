"""What a task, and whatever it calls, logs with ``logging``, kept with its job."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from quaff.context import running
from quaff.worker.logs import loosen


class Capture(logging.Handler):
    """Gives the records of an attempt to it, whichever logger they come from; Quaff's own are not the task's.

    Args:
        level: of the least record that is kept.
    """

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.setFormatter(logging.Formatter("%(message)s"))

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock of ``Handler``: an exception that is set in the task's thread could leave it held."""
        kept = bool(self.filter(record))
        if kept:
            self.emit(record)
        return kept

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it; what cannot be formatted is reported as of any handler."""
        attempt = running()
        if attempt is None or attempt.ended or record.name.partition(".")[0] == "quaff":
            return
        try:
            attempt.log(record.levelno, record.name, self.format(record), record.created)
        except Exception:  # noqa: BLE001  whatever the arguments of a record raise when they are made a text
            self.handleError(record)


@contextmanager
def captured(level: str) -> Iterator[None]:
    """As ``capture``, for the length of a block, and as far as the levels of the loggers let records through."""
    number = logging.getLevelNamesMapping().get(level)
    if number is None:
        yield
        return
    handler = Capture(number)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def capture(level: str) -> None:
    """Keep records from this level on; after the application was loaded, so that its own logging is set up."""
    number = logging.getLevelNamesMapping().get(level)
    if number is not None:
        logging.getLogger().addHandler(Capture(number))
        loosen(number)
