"""Attempts that middleware sees; where there is none, ``Executor`` runs them by itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from quaff.context import Attempt as Current
from quaff.middleware import Attempted, Ended, Middleware
from quaff.model import ids, message
from quaff.model.masking import Mask
from quaff.model.states import JobState
from quaff.worker.executor import Executor
from quaff.worker.ready import Finished, Ready, waited
from quaff.worker.run import Run

log: logging.Logger = logging.getLogger("quaff.worker")

#: Milliseconds of delay after which what sent a job is over.
_LATE = 60_000


class Observing(Executor):
    """Runs attempts, and has the application's middleware see them."""

    def run(self, run: Run) -> Finished:
        """See ``Executor``."""
        with self._seen(run) as attempted:
            finished = super().run(run)
            attempted.ended = _ended(run, finished)
        return finished

    async def arun(self, run: Run) -> Finished:
        """See ``Executor``."""
        with self._seen(run) as attempted:
            finished = await super().arun(run)
            attempted.ended = _ended(run, finished)
        return finished

    @contextmanager
    def _seen(self, run: Run) -> Generator[Attempted]:
        attempted = _attempted(run, self.worker)
        entered = []
        for each in self._app.middleware:
            try:
                around = each.attempt(attempted)
                around.__enter__()
                entered.append((each, around))
            except BaseException:  # noqa: BLE001  whatever it is, the job is not to suffer for it
                _tell(each)
        try:
            yield attempted
        finally:
            for each, around in reversed(entered):
                try:
                    around.__exit__(None, None, None)
                except BaseException:  # noqa: BLE001  as above: the text of an error is code of the user's
                    _tell(each)


def _tell(middleware: Middleware) -> None:
    log.error("%s has failed; the job goes on without it", type(middleware).__name__, exc_info=True)  # noqa: LOG014


def _attempted(run: Run, worker: str) -> Attempted:
    job, current = run.job, run.current
    lease, sent = job.claim.lease, job.message
    created_ms = sent.created_ms or ids.created_ms(lease.id)
    due_ms = sent.terms.get(message.DUE, 0)
    return Attempted(
        id=current.id,
        task=current.task,
        queue=current.queue,
        number=current.attempt,
        worker=worker,
        flow=current.flow,
        waited=waited(lease, sent, time.time()),
        late=current.attempt > 1 or current.scheduled_ms > 0 or due_ms - created_ms > _LATE,
        size=len(lease.message),
        headers=[_headers(each) for each in job.all],
        mask=_mask_of(current) if job.task.settings.sensitive else str,
    )


def _mask_of(current: Current) -> Mask:
    """That of an attempt, asked each time: what comes from the store of results is not there yet."""

    def mask(text: str) -> str:
        return current.mask(text)

    return mask


def _headers(job: Ready) -> Mapping[str, str]:
    """Those of a message, whoever wrote it: texts, or nothing."""
    found: Any = job.message.terms.get(message.HEADERS)
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, str)}


def _ended(run: Run, finished: Finished) -> Ended:
    """Of a batch the worst that has become of one."""
    states = [each.settled.state for each in (finished, *finished.fellows)]
    state = JobState.FAILED if JobState.FAILED in states else states[0]
    return Ended(str(state.value), run.error)
