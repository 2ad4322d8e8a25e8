"""Where attempts run: threads for ``def``, one event loop for ``async def``. Both report into the same queue."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue

import msgspec

from quaff.worker.executor import Executor
from quaff.worker.gauge import LONG, Gauge
from quaff.worker.home import Home
from quaff.worker.prefetch import Prefetch
from quaff.worker.ready import Finished, Ready
from quaff.worker.run import CANCEL, LIMIT, Run, left_programs
from quaff.worker.starts import Start, Starts

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds for which a job may be seen off.
_SEE_OFF = 0.0005

Report = Callable[[Finished], None]


class Runner(ABC):
    """What both kinds have: a line of waiting jobs, a number of slots, and an end.

    Args:
        executor, starts: run an attempt; note its start and its end.
        home: says where nothing may be started.
        size: how many slots there are.
        report: called with each finished attempt, where it ran.
        gauge: how large this process is.

    Attributes:
        waiting: handed over and not started; the fetcher adds at one end, whoever starts takes from the other.
        load: jobs handed over and not taken off the books again. Only the fetcher changes it.
        coming: jobs that were claimed and may be handed over.
        prefetch: how many may wait.
        last_start: monotonic seconds of the latest start, or of the submit that ended an empty line.
        running: what runs, by slot.
    """

    def __init__(self, executor: Executor, starts: Starts, home: Home, size: int, report: Report, gauge: Gauge) -> None:
        self._executor = executor
        self._starts = starts
        self._home = home
        self._report = report
        self._gauge = gauge
        self._halted = False
        self._awaited = False
        self._begun: SimpleQueue[None] = SimpleQueue()
        self.waiting: deque[Ready] = deque()
        self.running: list[Run | None] = [None] * size
        self.size = size
        self.prefetch: Prefetch = Prefetch(size)
        self.load: int = 0
        self.coming: int = 0
        self.last_start: float = time.monotonic()

    def submit(self, jobs: Sequence[Ready]) -> None:
        """Put jobs in line and have the first one begin. Only the fetcher calls it."""
        idle = not self.load
        self.load += len(jobs)
        if not self.waiting:
            self.last_start = time.monotonic()  # these wait from now on, not since the last job, long ago
        self.waiting.extend(jobs)
        if idle:
            self._see_off()
        else:
            self._rouse()

    def _see_off(self) -> None:
        """Wake who runs them and wait until one has begun.

        Whoever is woken needs the interpreter's lock; a fetcher that went on would keep it until it has to wait for the
        server, which is later.
        """
        while not self._begun.empty():
            self._begun.get()
        self._awaited = True
        self._rouse()
        with suppress(Empty):
            self._begun.get(timeout=_SEE_OFF)
        self._awaited = False

    @abstractmethod
    def _rouse(self) -> None:
        """Have somebody look at the line."""

    def room(self, ahead: int) -> int:
        """How many more jobs it takes now; ``ahead`` is how many may wait beyond those that run.

        Half of these or nothing, while there is enough to do: a round trip for a few tiny jobs is a waste, and one half
        runs while the server works for the other.
        """
        load = self.load + self.coming
        free, half = self.size + ahead - load, ahead // 2
        return min(free, max(self.size, half)) if free >= half or load < self.size else 0

    def take_back(self) -> list[Ready]:
        """What has not been started, oldest first; it will not be. Only the fetcher calls it."""
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

    def _may_start(self) -> bool:
        return not (self._halted or self._home.left)

    @abstractmethod
    def cut(self, run: Run, why: str) -> None:
        """Make an attempt end that runs here; from any thread."""

    def _begin(self, slot: int, job: Ready, thread: int = 0) -> Run:
        run = self._executor.begin(job, thread)
        self.last_start = run.began
        run.smallest = self._gauge.now
        for each in job.all:
            self._note(each, run)
        self.running[slot] = run
        if self._awaited:
            self._awaited = False
            self._begun.put(None)
        return run

    def _note(self, job: Ready, run: Run) -> None:
        lease, settings = job.claim.lease, job.task.settings
        retry = settings.retry
        again = retry.again_if_killed(lease.failures + 1) if retry.retries else None
        self._starts.begin(
            Start(
                job.claim.place,
                lease.id,
                lease.token,
                int(run.at * 1000),
                run.ends_at,
                again.seconds if again else -1.0,
                settings.batch is not None,
            )
        )

    def _end(self, slot: int, run: Run, finished: Finished) -> Finished:
        self._home.leave_if_copied()
        if finished.seconds >= LONG and self._gauge.on:
            finished = msgspec.structs.replace(finished, memory=self._gauge.grown(run))
        self.running[slot] = None
        for each in run.job.all:
            self._starts.end(each.claim.lease.token)
        return finished

    @staticmethod
    def _stays(run: Run) -> bool:
        """Whether programs that the task has started would outlive it: then the supervisor ends all of them."""
        return run.cut in (LIMIT, CANCEL) and left_programs(run.began)


class Threads(Runner):
    """Runs plain functions in a fixed number of threads that share one line of waiting jobs.

    They are woken one by one: whoever has taken a job and sees another one wakes the next thread, which comes to run
    when the first one waits for something. So tiny jobs are done by one thread, which need not give up the interpreter.
    """

    def __init__(self, executor: Executor, starts: Starts, home: Home, size: int, report: Report, gauge: Gauge) -> None:
        super().__init__(executor, starts, home, size, report, gauge)
        self._parked: deque[None] = deque()
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self._rousing = False
        for slot in range(size):
            threading.Thread(target=self._work, args=(slot,), name=f"quaff-{slot}", daemon=True).start()

    def _rouse(self) -> None:
        """Wake a thread, if none is about to look at the line."""
        if self._rousing or not self._parked:
            return
        try:
            self._parked.popleft()
        except IndexError:
            return
        self._rousing = True
        self._tokens.put(None)

    def _work(self, slot: int) -> None:
        run, report = self._executor.run, self._report
        while True:
            try:
                job = self.waiting.popleft()
            except IndexError:
                self._park()
                continue
            if not self._may_start():
                self.waiting.appendleft(job)
                return
            if self.waiting:
                self._rouse()
            attempt = self._begin(slot, job, threading.get_ident())
            # An empty context for each attempt: what a task sets must not be seen by the next one.
            finished = Context().run(run, attempt)
            if self._stays(attempt):
                threading.Event().wait()
            report(self._end(slot, attempt, finished))

    def cut(self, run: Run, why: str) -> None:
        """Set an exception in its thread."""
        run.interrupt(why)

    def _park(self) -> None:
        """Wait for a token. A job that came between the look and the parking is found by looking again."""
        self._parked.append(None)
        if self.waiting:
            try:
                self._parked.popleft()
                return
            except IndexError:
                pass  # somebody has just woken this thread
        self._tokens.get()
        self._rousing = False


class Loop(Runner):
    """Runs coroutine functions in one event loop of its own thread, as many at a time as there are slots.

    Attributes:
        loop: that.
    """

    def __init__(self, executor: Executor, starts: Starts, home: Home, size: int, report: Report, gauge: Gauge) -> None:
        super().__init__(executor, starts, home, size, report, gauge)
        self._free = deque(range(size))
        self._tasks: set[asyncio.Task[None]] = set()
        self._unbegun: set[asyncio.Task[None]] = set()
        self._deaf = False
        self.loop: asyncio.AbstractEventLoop = _new_loop()
        threading.Thread(target=self._turn, name="quaff-async", daemon=True).start()

    def _rouse(self) -> None:
        self.loop.call_soon_threadsafe(self._start)

    def room(self, ahead: int) -> int:
        """None while a coroutine keeps the loop from turning."""
        return 0 if self._deaf else super().room(ahead)

    def cut(self, run: Run, why: str) -> None:
        """Cancel its coroutine."""
        self.loop.call_soon_threadsafe(run.cancel, why)

    def take_back(self) -> list[Ready]:
        """What has not been started. The loop did not come to it in time: it gets no more before it turns again."""
        self._deaf = True
        self.loop.call_soon_threadsafe(self._start)
        return super().take_back()

    def _turn(self) -> None:
        while True:
            try:
                self.loop.run_forever()
            except BaseException as error:  # noqa: BLE001  asyncio hands SystemExit and KeyboardInterrupt of any task on
                log.warning("a coroutine raised %s past its task; the event loop goes on", type(error).__name__)
            # A task may also have called loop.stop(). The loop is every coroutine's, so it goes on either way.

    def _start(self) -> None:
        self._deaf = False
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        # A job waits until its task takes its first step: behind one that blocks the loop it can still be given back.
        while len(self._unbegun) < min(len(self.waiting), len(self._free)) and self._may_start():
            task = self.loop.create_task(self._run(), context=Context())
            self._tasks.add(task)
            self._unbegun.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.remove(task)
        self._unbegun.discard(task)  # another task may have cancelled it before its first step
        self._begin_waiting()

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._unbegun.remove(task)
        if not self._may_start():
            return
        try:
            job = self.waiting.popleft()
        except IndexError:
            return
        slot = self._free.popleft()
        run = self._begin(slot, job)
        run.task = task
        finished = await self._executor.arun(run)
        if self._stays(run):
            await asyncio.Event().wait()
        self._report(self._end(slot, run, finished))
        # Here and not when the task is done, for that comes to pass a turn of the loop later.
        self._free.append(slot)
        self._begin_waiting()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # the extra `speed`
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
