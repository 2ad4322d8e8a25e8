"""A worker without processes and threads: the executor, scripts and chores of the real one, a turn at a time, here."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Generator, Sequence
from contextvars import Context
from functools import cache
from typing import Any, NamedTuple

from quaff.app import Quaff
from quaff.context import Attempt
from quaff.errors import QuaffError
from quaff.model.ids import JobId
from quaff.model.message import Message
from quaff.model.outcome import Failure
from quaff.model.states import JobState
from quaff.store.keys import Partition, partition
from quaff.store.transitions import Call, Claimed, Verdict, claim, release, settle
from quaff.testing.chores import Chores
from quaff.testing.clock import Clock
from quaff.testing.store import KitStore, Seen
from quaff.worker.batching import Batches
from quaff.worker.blocking import Blocks
from quaff.worker.completer import ending
from quaff.worker.executor import Executor
from quaff.worker.gauge import Gauge
from quaff.worker.parking import Parking
from quaff.worker.ready import Claim, Finished, Parked, Ready
from quaff.worker.run import Run
from quaff.worker.telling import Telling
from quaff.worker.watch import Watch

#: Turns in which nothing is found to run, after which there is nothing.
_ROUNDS = 100


class Ended(NamedTuple):
    """What an attempt came to: what ended it if it has not succeeded, the state of its job, what is recorded.

    Of a batch, ``error`` and ``state`` are those of the job that came off worst.
    """

    error: BaseException | None
    state: JobState
    record: bytes


class Worker:
    """Runs what is due, for one kit.

    Args:
        app: the application; ``store``: its server.
        seen: the partitions that there are.
        clock: what is moved on where something comes a millisecond later.

    Attributes:
        chores: what its supervisor would do.
        known: what has been started, by the job at home.
        history: the states that each job has been in here.
    """

    def __init__(self, app: Quaff, store: KitStore, seen: Seen, clock: Clock) -> None:
        settings = app.settings
        self._app, self._store, self._seen, self._clock = app, store, seen, clock
        self._process = os.urandom(8)
        self._numbers = itertools.count(1)
        self._lease_ms = int(settings.lease * 1000)
        self._window_ms = int(settings.key_window * 1000)
        self._partitions = settings.partitions
        self._telling = Telling(settings.namespace, lambda: None)
        self._speaking = threading.RLock()
        self._executor = _Noting(app, "test", [], self._tell)
        self._blocks, self._parking = Blocks(self), Parking()
        self._loop: asyncio.Runner | None = None
        self.known: dict[JobId, Message] = {}
        self.history: defaultdict[JobId, list[JobState]] = defaultdict(list)
        for queue in app.queue_names():
            for number in range(self._partitions.of(queue)):
                seen.add(partition(settings.namespace, queue, number))
        self.chores: Chores = Chores(app, store, seen.partitions, self._process)

    def exchange(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Send calls one by one; their answers, an error in the place of one."""
        answers: list[Any] = []
        for call in calls:
            try:
                answers.append(self._store.run(call))
            except QuaffError as error:
                answers.append(error)
        return answers

    # What is due

    def due(self) -> Generator[Ready]:
        """Attempts to run, one after the other, as long as there are any; the next one when the last is over."""
        rounds = 0  # with nothing to run: what the chores cannot get done must not keep them at it for ever
        while rounds < _ROUNDS:
            rounds += 1
            for home in self._seen.shared:
                claimed = self.claim(home)
                if claimed.leases:
                    rounds = 0
                yield from self.sorted(home, claimed)
            if rounds == 0 or self.chores.do():
                continue
            if self.next_ms() != self._clock.now_ms + 1:
                return
            self._clock.now_ms += 1  # what is to run again at once does so in a millisecond

    def next_ms(self) -> int | None:
        """When something becomes due next, as far as is known, after ``due`` has come to its end."""
        soon = self.chores.soon + [self.claim(home, 0).again_ms or 0 for home in self._seen.shared]
        return min((self._clock.now_ms + ms for ms in soon if ms > 0), default=None)

    def claim(self, home: Partition, most: int | None = None) -> Claimed:
        """What one queue hands out to a free slot: a job, or a batch; or ``most`` jobs."""
        tasks = [task for task in self._app.tasks.values() if task.settings.queue == home.queue]
        count = max((task.settings.batch.size for task in tasks if task.settings.batch), default=1)
        count = count if most is None else most
        call = claim(
            home,
            process=self._process,
            number=next(self._numbers),
            claim_id=urlsafe_b64encode(os.urandom(8)).rstrip(b"="),
            count=count,
            free=count,
            idle=True,
            lease_ms=self._lease_ms,
        )
        return self._store.run(call)

    def sorted(self, home: Partition, claimed: Claimed) -> Generator[Ready]:
        """The attempts in a claim's answer; what nobody takes goes back."""
        self._blocks.learn(home, claimed.blocks)
        ready: list[Ready] = []
        batches = Batches()
        for lease in claimed.leases:
            prepared = self._executor.prepare(Claim(0, home, lease), claimed.now_ms)
            if isinstance(prepared, Ready):
                prepared = self._blocks.sift(prepared)
            if isinstance(prepared, Parked):
                self._give_back(prepared.claim, self._parking.park(prepared))
            elif isinstance(prepared, Finished):
                self._settle(prepared)
            elif prepared.task.settings.batch is not None:
                batches.add(prepared, alone=True)  # alone: company that is not there yet is not waited for
            else:
                ready.append(prepared)
        ready += batches.full()
        try:
            while ready:
                yield ready.pop(0)
        finally:
            for job in ready:
                self.give_back(job)

    def give_back(self, job: Ready) -> None:
        """One that was not begun goes to the head of its queue."""
        for each in job.all:
            self._give_back(each.claim, 0)

    # An attempt

    def run(self, job: Ready) -> Ended:
        """Run one attempt here, and settle it."""
        if job.task.is_async:
            return self._in_own_loop(job)
        run = self._begin(job, threading.get_ident())
        try:
            # An empty context, as in a worker: what the test or another task has set is not there.
            finished = Context().run(self._executor.run, run)
        finally:
            self._end(run)
        return self._over(job, finished)

    async def arun(self, job: Ready) -> Ended:
        """As ``run``, a coroutine in this loop; a plain function in a thread, where no loop is in its way."""
        if not job.task.is_async:
            return await asyncio.to_thread(self.run, job)
        finished = await asyncio.get_running_loop().create_task(self._await(job), context=Context())
        return self._over(job, finished)

    def _in_own_loop(self, job: Ready) -> Ended:
        loop = self._loop = self._loop or asyncio.Runner()
        finished: list[Finished] = []

        def run() -> None:
            finished.append(loop.run(self._await(job), context=Context()))

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            run()
        else:
            thread = threading.Thread(target=run, name="quaff-async")
            thread.start()
            thread.join()
        return self._over(job, finished[0])

    async def _await(self, job: Ready) -> Finished:
        run = self._begin(job, 0)
        run.task = asyncio.current_task()
        try:
            return await self._executor.arun(run)
        finally:
            self._end(run)

    def _begin(self, job: Ready, thread: int) -> Run:
        for each in job.all:
            home = each.claim.where.job
            self.known[home] = each.message
            self.history[home].append(JobState.RUNNING)
        run = self._executor.begin(job, thread)
        slots, watch = _watched(os.getpid())
        slots.running.append(run)
        watch.wake()
        return run

    def _end(self, run: Run) -> None:
        _watched(os.getpid())[0].running.remove(run)

    def _over(self, job: Ready, finished: Finished) -> Ended:
        self._settle(finished)
        ends = (finished, *finished.fellows)
        errors = [(self._executor.errors.pop(each.claim.lease.token, None), each.settled.state) for each in ends]
        # Of a batch, one that is given up tells more than one that is tried again.
        errors.sort(key=lambda each: (each[1] is not JobState.FAILED, each[0] is None))
        return Ended(*errors[0], finished.settled.record)

    # Telling the server

    def _settle(self, finished: Finished) -> None:
        self._flush()
        left = [finished, *finished.fellows]
        while left:
            items = [ending(each, self._partitions) for each in left]
            home = left[0].claim.partition
            verdicts = self._store.run(settle(home, process=self._process, window_ms=self._window_ms, items=items))
            for each, verdict in zip(left, verdicts, strict=True):
                if verdict is Verdict.OK:
                    self.history[each.claim.where.job].append(each.settled.state)
            left = [each for each, verdict in zip(left, verdicts, strict=True) if verdict is Verdict.LATER]

    def _give_back(self, claimed: Claim, park_ms: int) -> None:
        items = [(claimed.lease.id, claimed.lease.token, park_ms, b"")]
        self._store.run(release(claimed.partition, process=self._process, items=items))

    def _tell(self, attempt: Attempt) -> None:
        self._telling.tell(attempt)
        self._flush()

    def _flush(self) -> None:
        """What attempts say is sent where they say it: there is no other thread that would."""
        with self._speaking:
            while calls := self._telling.calls():
                self._telling.answered(self.exchange(calls))

    def close(self) -> None:
        """End the event loop of its own."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()


class _Noting(Executor):
    """Keeps what ended an attempt, by its job's token: a record has only its text."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.errors: dict[bytes, BaseException] = {}

    def _ended_by(self, job: Ready, error: BaseException, run: Run) -> Finished:
        self.errors[job.claim.lease.token] = run.current.pause or error
        return super()._ended_by(job, error, run)

    def _failed(
        self, ready: Ready, error: BaseException, run: Run, reason: str = "error", failure: Failure | None = None
    ) -> Finished:
        self.errors[ready.claim.lease.token] = error
        return super()._failed(ready, error, run, reason, failure)


class _Slots:
    """What runs in this process, of whichever kit, for those who keep it to its time limits."""

    def __init__(self) -> None:
        self.running: list[Run | None] = []

    @property
    def load(self) -> int:
        return len(self.running)

    def cut(self, run: Run, why: str) -> None:
        if run.thread:
            run.interrupt(why)
        elif run.task is not None:
            run.task.get_loop().call_soon_threadsafe(run.cancel, why)


@cache
def _watched(pid: int) -> tuple[_Slots, Watch]:
    slots = _Slots()
    return slots, Watch([slots], 6.0, Gauge())
