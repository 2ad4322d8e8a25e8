"""Where attempts run: threads for ``def``, one event loop for ``async def``. Both report into the same queue."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from queue import SimpleQueue

from quaff.worker.executor import Executor, Finished, Ready
from quaff.worker.home import Home
from quaff.worker.starts import Starts

Report = Callable[[Finished], None]


class Threads:
    """Runs plain functions in a fixed number of threads that share one line of waiting jobs.

    Args:
        executor, starts: run an attempt; note its start.
        home: says where nothing may be started.
        count: threads; they use the slots 0 … count-1.
        report: called in the thread with each finished attempt.
    """

    def __init__(self, executor: Executor, starts: Starts, home: Home, count: int, report: Report) -> None:
        self._executor = executor
        self._starts = starts
        self._report = report
        self._parked: deque[None] = deque()
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self._halted = False
        self._home = home
        self.waiting: deque[Ready] = deque()
        self.size = count
        self.load = 0
        self.last_start = time.monotonic()
        for slot in range(count):
            threading.Thread(target=self._work, args=(slot,), name=f"quaff-{slot}", daemon=True).start()

    def submit(self, jobs: Sequence[Ready]) -> None:
        """Put jobs in line. Only the fetcher calls it."""
        self.load += len(jobs)
        if not self.waiting:
            self.last_start = time.monotonic()  # these wait from now on, not since the last job, long ago
        self.waiting.extend(jobs)
        for _ in range(min(len(jobs), len(self._parked))):
            try:
                self._parked.popleft()
            except IndexError:
                break
            self._tokens.put(None)

    def take_back(self) -> list[Ready]:
        """What has not been started, oldest first; it will not be."""
        taken: list[Ready] = []
        while self.waiting:
            try:
                taken.append(self.waiting.popleft())
            except IndexError:
                break
        self.load -= len(taken)
        return taken

    def halt(self) -> None:
        """Start nothing more."""
        self._halted = True

    def _work(self, slot: int) -> None:
        waiting, starts, run, report = self.waiting, self._starts, self._executor.run, self._report
        home = self._home
        while True:
            try:
                job = waiting.popleft()
            except IndexError:
                self._park()
                continue
            if self._halted or home.left:
                waiting.appendleft(job)
                return
            claim = job.claim
            self.last_start = time.monotonic()
            starts.begin(slot, claim.place, claim.lease.id, claim.lease.token, time.time_ns() // 1_000_000)
            # An empty context for each attempt: what a task sets must not be seen by the next one.
            finished = Context().run(run, job)
            home.leave_if_copied()
            starts.end(slot)
            report(finished)

    def _park(self) -> None:
        """Wait for a token. A job that came between the look and the parking is found by looking again."""
        self._parked.append(None)
        if not self.waiting:
            self._tokens.get()
            return
        try:
            self._parked.popleft()
        except IndexError:
            self._tokens.get()


class Loop:
    """Runs coroutine functions in one event loop of its own thread.

    Args:
        executor, starts: run an attempt; note its start.
        home: says where nothing may be started.
        first_slot: the first of ``size`` slots.
        size: the most coroutines at a time.
        report: called in the loop's thread with each finished attempt.
    """

    def __init__(
        self, executor: Executor, starts: Starts, home: Home, first_slot: int, size: int, report: Report
    ) -> None:
        self._executor = executor
        self._starts = starts
        self._report = report
        self._slots = deque(range(first_slot, first_slot + size))
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = _new_loop()
        self._halted = False
        self._home = home
        self.size = size
        self.load = 0
        threading.Thread(target=self._loop.run_forever, name="quaff-async", daemon=True).start()

    def submit(self, jobs: Sequence[Ready]) -> None:
        """Start jobs. Only the fetcher calls it, with no more than there is room for."""
        self.load += len(jobs)
        self._loop.call_soon_threadsafe(self._start, jobs)

    def halt(self) -> None:
        """Start nothing more."""
        self._halted = True

    def _start(self, jobs: Sequence[Ready]) -> None:
        for job in jobs:
            if self._halted or self._home.left:
                return
            task = self._loop.create_task(self._run(job), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Ready) -> None:
        slot, claim = self._slots.popleft(), job.claim
        self._starts.begin(slot, claim.place, claim.lease.id, claim.lease.token, time.time_ns() // 1_000_000)
        finished = await self._executor.arun(job)
        self._home.leave_if_copied()
        self._starts.end(slot)
        self._slots.append(slot)
        self._report(finished)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # the extra `speed`
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
