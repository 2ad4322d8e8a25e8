"""The worker's log: one line an event, on stderr, quiet by default. An application's own logging is left alone."""

from __future__ import annotations

import logging
import sys

_FORMAT = "%(asctime)s %(name)s %(message)s"


def set_up(level: str) -> None:
    """Give the root logger a handler if nobody else has, and Quaff's own loggers their level."""
    logging.getLogger("quaff").setLevel(level.upper())
    if not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(_FORMAT, "%H:%M:%S"))
        logging.getLogger().addHandler(handler)
