"""One attempt, from a message to an outcome. No I/O here: the completer settles what comes out."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from quaff.app import Quaff
from quaff.context import Attempt as Current
from quaff.context import enter, leave
from quaff.durable.steps import Memory
from quaff.errors import EncodeError, did_you_mean
from quaff.model import message, outcome
from quaff.model.frames import frame_of
from quaff.model.message import CorruptMessage, NewerMessage
from quaff.model.outcome import Attempt, Failure, Outcome, Settled
from quaff.model.progress import Progress
from quaff.model.retry import Again
from quaff.model.states import JobState
from quaff.model.steering import Cancel, Lost, Snooze, SoftTimeout, TimeLimit
from quaff.model.times import spoken
from quaff.worker.calling import again_after, answers_of, arguments
from quaff.worker.giving import Giving
from quaff.worker.keeping import aside, bring, kept, put
from quaff.worker.logs import first_line, printable
from quaff.worker.ready import Claim, Finished, Parked, Ready, ran, together
from quaff.worker.run import CANCEL, FOREVER, LIMIT, Interrupt, Run, Steered

log: logging.Logger = logging.getLogger("quaff.worker")


class Executor:
    """Runs attempts.

    Args:
        app: the application.
        worker: this worker's name, kept with each attempt; an attribute, too.
        stopping: empty until the worker is stopping; ``current_job.should_stop`` looks at it.
        tell: called by an attempt that has news of itself.
    """

    def __init__(self, app: Quaff, worker: str, stopping: list[bool], tell: Callable[[Current], None]) -> None:
        self._app = app
        self._settings = app.settings
        self._results = app.results
        self._seals = app.settings.seals
        self.worker = worker
        self._pid = os.getpid()
        self._talks = log.isEnabledFor(logging.DEBUG)  # asked once: it is a question for each job
        self._stopping = stopping
        self._tell = tell
        self._memory = Memory(app.store, app.settings.namespace, app.settings.max_result)
        self._result_ms = int(app.settings.result_ttl * 1000)
        self._failed_ms = int(app.settings.failed_ttl * 1000)
        self._limit = app.settings.timeout
        # Kept: a queue may have thousands of its jobs, and to look for the nearest name takes milliseconds.
        self._unknown = lru_cache(100)(self._say_unknown)

    def prepare(self, claim: Claim, now_ms: int) -> Ready | Parked | Finished:
        """Understand a claim's message; what cannot be run is parked or ended here.

        Args:
            now_ms: the server's clock, Unix milliseconds.
        """
        try:
            data, where = claim.lease.message, claim.where if self._seals.checks else None
            sent = message.decode(data, seals=self._seals, where=where, most=self._settings.max_message)
        except CorruptMessage as error:
            why = first_line(str(error), 500)
            log.warning("%s is not a message of ours, and is kept as failed (corrupt): %s", claim.id, why)
            return self._corrupt(claim, Failure("corrupt", type(error).__name__, why))
        except NewerMessage as error:
            return Parked(claim, str(error))
        task = self._app.tasks.get(sent.task)
        if task is None:
            return Parked(claim, self._unknown(sent.task), sent.created_ms)
        limit = self._limit if task.settings.timeout is None else task.settings.timeout
        if sent.terms:
            # Not for one that has begun in time, also where its attempt was not counted.
            if 0 < sent.terms.get(message.EXPIRES, 0) < now_ms and not claim.lease.begun:
                return self._expired(claim, sent.task, sent.created_ms)
            limit = sent.terms.get(message.TIMEOUT, limit * 1000) / 1000
            return Ready(claim, task, sent, limit, lacks=message.lacks_results(claim.lease.message))
        return Ready(claim, task, sent, limit)

    def _say_unknown(self, name: str) -> str:
        return f"task {name!r} is not registered in this worker.{did_you_mean(name, self._app.tasks)}"

    def begin(self, ready: Ready, thread: int) -> Run:
        """An attempt that is about to run in a thread, or in the event loop (0)."""
        home, lease, settings = ready.claim.partition, ready.claim.lease, ready.task.settings
        terms = ready.message.terms
        scheduled_ms, flow = (terms.get(message.SCHEDULED, 0), terms.get(message.FLOW, "")) if terms else (0, "")
        current = Current(
            home.queue,
            home.number,
            lease.id,
            lease.token,
            ready.task.name,
            lease.attempt,
            scheduled_ms,
            self._stopping,
            self._tell,
            message.origin(lease.message),
            flow,
            memory=self._memory if settings.batch is None else None,
            mask=ready.mask,
        )
        now, soft = time.monotonic(), settings.soft_timeout
        soft_at, ends_at = now + (FOREVER if soft is None else soft), now + (ready.limit or FOREVER)
        return Run(ready, current, time.time(), now, soft_at, ends_at, thread=thread)

    def run(self, run: Run) -> Finished:
        """Run a plain function, here."""
        ready = run.job
        try:
            if ready.lacks:
                bring(run, self._results, self._seals)
            args, kwargs = arguments(run)
        except BaseException as error:  # noqa: BLE001  a class of the user's was to be made, and may raise anything
            return self._undeliverable(run, error)
        token = enter(run.current)
        try:
            run.open = True
            with self._app.attempt_scope():
                value = ready.task.fn(*args, **kwargs)
                if ready.task.streams:
                    value = Giving(run.current, ready.task, self._settings.max_result).run(value)
            run.leave()
        except BaseException as error:  # noqa: BLE001  SystemExit or KeyboardInterrupt of a task ends the task, not the worker
            while run.open:
                try:
                    run.leave()
                except (Interrupt, SoftTimeout):
                    pass  # it was set at the last moment, and came on the way in
            return self._last_words(run, self._over(run, error))
        finally:
            leave(token)
        finished = self._returned(run, value)
        if run.large:
            finished = self._kept(run, finished)
        return self._last_words(run, finished)

    async def arun(self, run: Run) -> Finished:
        """Await a coroutine function."""
        ready = run.job
        try:
            if ready.lacks:
                await aside(bring, run, self._results, self._seals)
            args, kwargs = arguments(run)
        except BaseException as error:  # noqa: BLE001  as in run
            return self._undeliverable(run, error)
        token = enter(run.current)
        try:
            run.open = True
            async with self._app.async_attempt_scope():
                coroutine: Any = ready.task.fn(*args, **kwargs)
                if ready.task.streams:
                    coroutine = Giving(run.current, ready.task, self._settings.max_result).arun(coroutine)
                if ready.task.settings.soft_timeout is None:
                    value = await coroutine
                else:
                    run.steered = Steered(coroutine)
                    value = await run.steered
            run.leave()
        except BaseException as error:  # noqa: BLE001  as in run
            run.leave()
            return self._last_words(run, self._over(run, error))
        finally:
            leave(token)
        finished = self._returned(run, value)
        if run.large:
            finished = await aside(self._kept, run, finished)
        return self._last_words(run, finished)

    def _last_words(self, run: Run, finished: Finished) -> Finished:
        current = run.current
        if not (current.said or current.cursors):
            return finished
        current.ended = True
        self._tell(current)
        return msgspec.structs.replace(finished, speaker=current)

    # What an attempt came to

    def _returned(self, run: Run, value: Any) -> Finished:
        if run.cut == LIMIT:
            return self._over(run, Interrupt())
        if (pause := run.current.pause) is not None:
            return self._over(run, pause)
        one = run.job.task.settings.batch is None
        return self._succeeded(run.job, value, run) if one else self._answered(run, value)

    def _over(self, run: Run, error: BaseException) -> Finished:
        """An attempt that ended by an exception: its own, or one that was set to end it."""
        for iteration in run.current.iterations:
            iteration.last_word()
        return together([self._ended_by(job, error, run) for job in run.job.all])

    def _undeliverable(self, run: Run, error: BaseException) -> Finished:
        return together([self._unfit(job, error, run) for job in run.job.all])

    def _unfit(self, job: Ready, error: BaseException, run: Run) -> Finished:
        # A disk that is away may come back.
        return self._failed(job, error, run, "error" if isinstance(error, OSError) else "undeliverable")

    def _kept(self, run: Run, finished: Finished) -> Finished:
        """What an attempt came to, when its large results are in the store: without them it has failed."""
        wrong = put(self._results, run)
        if not wrong:
            return finished
        ends = zip(run.job.all, (finished, *finished.fellows), strict=True)
        errors = ((job, end, wrong.get(job.claim.lease.token)) for job, end in ends)
        return together([end if error is None else self._failed(job, error, run) for job, end, error in errors])

    def _answered(self, run: Run, value: Any) -> Finished:
        """A batch has returned."""
        try:
            answers = answers_of(run, value)
        except TypeError as error:
            return self._over(run, error.with_traceback(None))
        return together([self._one_of(run, job, answers) for job in run.job.all])

    def _one_of(self, run: Run, job: Ready, answers: dict[bytes, Any]) -> Finished:
        unfit = run.unfit.get(job.claim.lease.token)
        if unfit is not None:
            return self._unfit(job, unfit, run)
        value = answers[job.claim.lease.token]
        if isinstance(value, BaseException):
            return self._ended_by(job, value, run)
        return self._succeeded(job, value, run)

    def _ended_by(self, job: Ready, error: BaseException, run: Run) -> Finished:
        if run.cut == LIMIT:
            text = f"it ran longer than its limit of {job.limit:g} s (timeout=)"
            failure = msgspec.structs.replace(
                outcome.failure_of(error, "timeout", 1, run.current.mask), type=TimeLimit.__name__, message=text
            )
            return self._failed(job, TimeLimit(text), run, failure=failure)
        if (pause := run.current.pause) is not None:
            if error is not pause:
                text = "%s %s caught what ends its attempt (a BaseException) and went on: what came of that is dropped"
                log.warning(text, job.claim.id, job.task.name)
            return self._comes_back(job, JobState.SCHEDULED, Again(pause.delay), pause.word, None, run, pause.step)
        if isinstance(error, (Snooze, Lost)):  # what a lost one says will be refused
            return self._comes_back(job, JobState.SCHEDULED, Again(error.in_), "snoozed", None, run)
        if isinstance(error, Cancel) or (run.cut == CANCEL and isinstance(error, (Interrupt, asyncio.CancelledError))):
            return self._cancelled(job, error, run)
        return self._failed(job, error, run, "timeout" if isinstance(error, SoftTimeout) else "error")

    def _succeeded(self, ready: Ready, value: Any, run: Run) -> Finished:
        try:
            data = ready.task.signature.encode_result(value) if value is not None else b"\xc0"
        except EncodeError as error:
            text = (
                f"the result of {ready.task.name} cannot be stored: {error.args[0]}. "
                "Return plain data (numbers, text, bytes, dates, lists, dicts), or store it and return its id."
            )
            return self._failed(ready, EncodeError(text), run)
        except BaseException as error:  # noqa: BLE001  code of the result's own class, which may raise anything
            return self._failed(ready, error, run)
        settings = ready.task.settings
        ttl = settings.result_ttl if value is not None or settings.keep_none else 0
        ttl_ms = self._result_ms if ttl is None else int(ttl * 1000)
        if len(data) > self._settings.max_result or self._seals.writes:
            try:
                data = kept(run, ready, data, ttl_ms / 1000, self._settings, self._results)
            except EncodeError as error:
                return self._failed(ready, error, run)
        ended = time.time()
        attempt = self._attempt(ready.claim, run.at, ended, "succeeded", None, run.current.progress)
        record = outcome.encode(Outcome(ready.task.name, ready.message.created_ms, attempt, msgspec.Raw(data)))
        if self._talks:
            log.debug("%s %s succeeded in %s", ready.claim.id, ready.task.name, spoken(ended - run.at))
        return ran(ready, Settled(JobState.SUCCEEDED, ttl_ms, record), run.at, ended)

    def _failed(
        self, ready: Ready, error: BaseException, run: Run, reason: str = "error", failure: Failure | None = None
    ) -> Finished:
        run.error = error
        failure = failure or outcome.failure_of(error, reason, 1, run.current.mask)
        text = f"{failure.type}: {first_line(failure.message)}"
        frame = frame_of(outcome.traceback_of(error))
        again = None if reason == "undeliverable" else again_after(ready, error, run.current.mask)
        if again is None:
            log.warning("%s %s failed: %s", ready.claim.id, ready.task.name, text)
            self._show(failure)
            sent, ended = ready.message, time.time()
            attempt = self._attempt(ready.claim, run.at, ended, "failed", failure, run.current.progress)
            record = outcome.encode(Outcome(ready.task.name, sent.created_ms, attempt))
            return ran(ready, Settled(JobState.FAILED, self._failed_ms, record), run.at, ended, failure, frame)
        log.info("%s %s is tried again in %.1f s: %s", ready.claim.id, ready.task.name, again.seconds, text)
        self._show(failure)
        return self._comes_back(ready, JobState.RETRYING, again, "failed", failure, run, frame=frame)

    def _comes_back(
        self,
        ready: Ready,
        state: JobState,
        again: Again,
        word: str,
        failure: Failure | None,
        run: Run,
        step: bytes = b"",
        frame: str = "",
    ) -> Finished:
        ended = time.time()
        record = outcome.encode(self._attempt(ready.claim, run.at, ended, word, failure, run.current.progress))
        # At least a millisecond: a task that asks to run again at once must not keep the others from running.
        settled = Settled(state, max(1, int(again.seconds * 1000)), record, again.priority, again.queue, step)
        return ran(ready, settled, run.at, ended, failure, frame)

    def _cancelled(self, ready: Ready, error: BaseException, run: Run) -> Finished:
        failure = outcome.failure_of(error, "cancelled", 1, run.current.mask)
        if not isinstance(error, Cancel):
            failure = Failure("cancelled", "", "", failure.traceback)
        log.info("%s %s was cancelled", ready.claim.id, ready.task.name)
        ended = time.time()
        attempt = self._attempt(ready.claim, run.at, ended, "cancelled", failure, run.current.progress)
        record = outcome.encode(Outcome(ready.task.name, ready.message.created_ms, attempt))
        return ran(ready, Settled(JobState.CANCELLED, self._result_ms, record), run.at, ended)

    def _corrupt(self, claim: Claim, failure: Failure) -> Finished:
        now = time.time()
        record = outcome.encode(Outcome("", 0, self._attempt(claim, now, now, "failed", failure, None)))
        return Finished(claim, Settled(JobState.FAILED, self._failed_ms, record), 0.0, failure=failure)

    def _expired(self, claim: Claim, task: str, created_ms: int) -> Finished:
        log.info("%s %s has expired", claim.id, task)
        now = time.time()
        # Number 0: it was no attempt.
        record = outcome.encode(Outcome(task, created_ms, Attempt(0, 0, int(now * 1000), "", 0, "expired")))
        return Finished(claim, Settled(JobState.EXPIRED, self._result_ms, record), 0.0, task=task)

    def _show(self, failure: Failure) -> None:
        if self._talks:
            log.debug("%s", "\n".join(map(printable, failure.traceback.splitlines())))

    def _attempt(
        self, claim: Claim, began: float, ended: float, word: str, error: Failure | None, said: Progress | None
    ) -> Attempt:
        number, started_ms, ended_ms = claim.lease.attempt, int(began * 1000), int(ended * 1000)
        return Attempt(number, started_ms, ended_ms, self.worker, self._pid, word, error, said)
