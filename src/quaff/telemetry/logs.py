"""The job on every record of an application's own log."""

from __future__ import annotations

import logging

from quaff.context import running


class JobFilter(logging.Filter):
    """Puts ``job_id``, ``job_task`` and ``job_attempt`` on each record; ``-``, ``-`` and 0 outside a task.

    On handlers, for records of all loggers: ``handler.addFilter(JobFilter())``, and ``%(job_id)s`` in its format.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """True."""
        attempt = running()
        record.job_id = attempt.id if attempt else "-"
        record.job_task = attempt.task if attempt else "-"
        record.job_attempt = attempt.attempt if attempt else 0
        return True
