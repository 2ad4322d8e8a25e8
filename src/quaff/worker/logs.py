"""The worker's log: one line an event, on stderr, quiet by default. An application's own logging is left alone.

As text or as JSON; what is logged inside a job says which one.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from quaff.context import running

_FORMAT = "%(asctime)s %(name)s %(message)s"
#: What every record has; the rest was given with ``extra=``, or put on it by a filter.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def about_the_job() -> dict[str, Any]:
    """``job_id``, ``job_task``, ``job_queue`` and ``job_attempt`` of the job that runs here; empty outside of one."""
    attempt = running()
    if attempt is None:
        return {}
    return {
        "job_id": attempt.id,
        "job_task": attempt.task,
        "job_queue": attempt.queue,
        "job_attempt": attempt.attempt,
    }


class TextFormatter(logging.Formatter):
    """A line for people, with the job at its end if it is logged inside of one."""

    def __init__(self) -> None:
        super().__init__(_FORMAT, "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Its lines, which do nothing to a terminal, whatever a job has put into them."""
        return "\n".join(map(printable, super().format(record).split("\n")))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name that logging looks for
        """Without a traceback, which comes after it."""
        job = about_the_job()
        # What the worker itself says of a job names it.
        if not job or record.name.startswith("quaff."):
            return super().formatMessage(record)
        which = f"{job['job_id']} {job['job_task']}, attempt {job['job_attempt']}, queue {job['job_queue']}"
        return f"{super().formatMessage(record)} [{which}]"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, the job, ``exception``.

    And whatever came with ``extra=``, as text where JSON has no word for it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        line |= {name: value for name, value in vars(record).items() if name not in _USUAL and name not in line}
        line |= about_the_job()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)


#: By the name of ``--log-format``.
FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    """The handler of a process whose application has none.

    An exception that is set in a task's thread (see ``run.py``) leaves its lock held nowhere: it may come between
    ``acquire()`` and what follows it, and not between a ``with`` and its block.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit it, if its filters let it through."""
        kept = bool(self.filter(record))
        if kept:
            assert self.lock is not None
            with self.lock:
                self.emit(record)
        return kept

    def flush(self) -> None:
        """Whoever emits has the lock."""
        if self.stream:  # a program may have been started without one
            self.stream.flush()


def set_up(level: str, format: str = "text") -> None:
    """Give the root logger a handler if nobody else has, and Quaff's own loggers their level."""
    logging.getLogger("quaff").setLevel(level.upper())
    if not logging.getLogger().handlers:
        handler = _Stderr(sys.stderr)
        handler.setFormatter(FORMATTERS[format]())
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
    return line if line.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
