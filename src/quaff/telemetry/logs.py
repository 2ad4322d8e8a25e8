"""The job on every record of an application's own log."""

from __future__ import annotations

import logging

from quaff.worker.logs import JsonFormatter, about_the_job

__all__ = ["JobFilter", "JsonFormatter"]

_OUTSIDE = {"job_id": "-", "job_task": "-", "job_queue": "-", "job_attempt": 0}


class JobFilter(logging.Filter):
    """Puts ``job_id``, ``job_task``, ``job_queue`` and ``job_attempt`` on each record; ``-`` and 0 outside a task.

    On handlers, for records of all loggers: ``handler.addFilter(JobFilter())``, and ``%(job_id)s`` in its format.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """True."""
        vars(record).update(about_the_job() or _OUTSIDE)
        return True
