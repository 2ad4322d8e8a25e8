"""The loop of one worker process: free slots -> claim a batch; finished attempts -> settle; both in one round trip.

One thread, one ``poll`` over three things: the connection it is woken on, the pipe that says attempts have finished,
and the line to the supervisor. Nothing here runs user code.
"""

from __future__ import annotations

import logging
import math
import os
import random
import select
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quaff.errors import StoreError
from quaff.model.ids import created_ms
from quaff.store.faults import NoAnswer
from quaff.store.keys import Partition
from quaff.store.link import Link
from quaff.store.transitions import BATCH, Call, Claimed, claim
from quaff.worker.completer import Completer
from quaff.worker.executor import Claim, Executor, Finished, Parked, Ready
from quaff.worker.holdings import Holdings
from quaff.worker.prefetch import PATIENCE, Prefetch
from quaff.worker.runners import Runner

log = logging.getLogger("quaff.worker")

#: Seconds between two looks when no token came; a lost token costs this much.
_POLL = 5.0
#: Under load, how soon a queue found empty is looked at again, so that an order of queues holds.
_LOOK_AGAIN = 0.05
#: Finished attempts wait at most this long for company.
_FLUSH = 0.002


@dataclass(slots=True)
class Line:
    """One partition as this process sees it. ``kinds``: which runners its jobs need, as the application has it."""

    place: int
    partition: Partition
    kinds: frozenset[str]
    number: int = 0
    look_at: float = 0.0


class Fetcher:
    """Claims for the runners and settles what they finish.

    Args:
        process: this process's id, random per start.
        link: its connections.
        lines: the partitions it serves, in order of preference.
        executor, completer: the parts.
        runners: by kind, ``sync`` and ``async``.
        lease_ms: the lease.
        control: the file descriptor of the line to the supervisor.
    """

    def __init__(
        self,
        process: bytes,
        link: Link,
        lines: Sequence[Line],
        executor: Executor,
        runners: Mapping[str, Runner],
        completer: Completer,
        lease_ms: int,
        control: int,
    ) -> None:
        self._process = process
        self._link = link
        self._lines = lines
        self._by_key = {line.partition.key("wake"): line for line in lines}
        self._executor = executor
        self._runners = runners
        self._completer = completer
        self._lease_ms = lease_ms
        self._control = control
        self._prefetch = Prefetch()
        self._held = Holdings(process)
        self._claiming: tuple[Line, Call[Claimed]] | None = None
        self._alone = False
        self._emptying = False
        self._away = 0.0
        self._token_from: Line | None = None
        self.claiming = True
        self.closed = False

    @property
    def holds(self) -> int:
        """Jobs this process has under lease."""
        return len(self._held)

    def step(self, longest: float) -> bool:
        """One turn: talk to the server if there is a reason, else wait at most ``longest`` seconds for one.

        Returns:
            True if the supervisor has said something.
        """
        self._gather()
        self._give_back_what_is_stuck()
        calls = self._calls()
        if calls:
            try:
                self._answered(calls, self._link.exchange(calls))
                self._back_again()
            except NoAnswer as error:
                return self._wait_out(error)
            except StoreError as error:
                # A reply that no retry mends (rights, a damaged key): say so, and go on asking, slowly.
                return self._wait_out(error)
            return self._wait(0.0)
        return self._wait(longest)

    # What to send

    def _calls(self) -> list[Call[Any]]:
        calls = self._completer.calls() if self._completer.pending else []
        calls += self._held.calls()
        if self._claiming is None and self.claiming:
            self._claiming = self._next_claim()
        if self._claiming is not None:
            calls.append(self._claiming[1])
        return calls

    def _next_claim(self) -> tuple[Line, Call[Claimed]] | None:
        now = time.monotonic()
        if self._token_from is not None:
            line, self._token_from = self._token_from, None
            return self._claim(line, self._room(line) if self._hungry else 0)
        if not self._hungry:
            return None
        for line in self._lines:
            if line.look_at <= now:
                room = self._room(line)
                if room:
                    return self._claim(line, room)
        return None

    def _claim(self, line: Line, count: int) -> tuple[Line, Call[Claimed]]:
        line.number += 1
        # Random, and made once: a lost reply is answered with the same jobs when the same claim is sent again.
        claim_id = urlsafe_b64encode(os.urandom(8)).rstrip(b"=")
        return line, claim(
            line.partition,
            process=self._process,
            number=line.number,
            claim_id=claim_id,
            count=count,
            idle=not self._held,
            lease_ms=self._lease_ms,
        )

    def _room(self, line: Line) -> int:
        """How many jobs may be claimed from a line now."""
        rooms = [self._runners[kind].room(self._prefetch.depth) for kind in line.kinds]
        return max(0, min(BATCH, *rooms))

    @property
    def _hungry(self) -> bool:
        """Whether jobs may be claimed at all: not while one runs alone, or while the process empties itself for one."""
        return self.claiming and not (self._held and (self._alone or self._emptying))

    # What came back

    def _answered(self, calls: list[Call[Any]], replies: list[Any]) -> None:
        settles = sum(1 for call in calls if call.script.name == "settle")
        for refused, verdict in self._completer.answered(replies[:settles]):
            log.warning("%s: this run came too late (%s); another one is recorded", refused.id, verdict.name)
        self._held.answered()
        if self._claiming is not None:
            line, _ = self._claiming
            self._claiming = None
            self._claimed(line, replies[-1])

    def _claimed(self, line: Line, answer: Claimed) -> None:
        self.closed = self.closed or answer.closed
        if answer.closed:
            self.claiming = False
        self._emptying = answer.empty_yourself
        self._alone = answer.alone
        now = time.monotonic()
        if answer.empty_yourself:
            line.look_at = 0.0
        elif not answer.left:
            line.look_at = now + (_POLL if self._link.listening else _LOOK_AGAIN)
        ready: dict[str, list[Ready]] = {"sync": [], "async": []}
        for lease in answer.leases:
            each = Claim(line.place, line.partition, lease)
            prepared = self._executor.prepare(each)
            if isinstance(prepared, Ready):
                kind = "async" if prepared.task.is_async else "sync"
                self._held.take(each, self._runners[kind])
                ready[kind].append(prepared)
            else:
                self._held.take(each, None)
                self._cannot_run(prepared)
        for kind, jobs in ready.items():
            if jobs:
                self._runners[kind].submit(jobs)

    def _cannot_run(self, prepared: Parked | Finished) -> None:
        if isinstance(prepared, Finished):
            log.warning("%s is not a message of ours; it is kept as failed (corrupt)", prepared.claim.id)
            self._completer.report(prepared)
            return
        # Soon at first, rarely later: a deploy of the right worker may be seconds or days away.
        made = created_ms(prepared.claim.lease.id)
        age_ms = int(time.time() * 1000) - made if made else 0
        self._held.give_back(prepared.claim, park_ms=max(1000, min(60_000, age_ms // 4)))
        log.warning("%s is parked: %s", prepared.claim.id, prepared.why)

    def _gather(self) -> None:
        news = self._completer.gather()
        seconds, count = 0.0, 0
        for finished in news:
            runner = self._held.drop(finished.claim)
            if runner is self._runners["sync"]:
                seconds += finished.seconds
                count += 1
        if count:
            self._prefetch.learn(seconds, count)

    # Giving back

    def halt(self) -> None:
        """Claim and start nothing more, and give back what has not been started."""
        self.claiming = False
        for runner in self._runners.values():
            runner.halt()
            self._held.give_back_waiting(runner)

    def give_back_everything(self) -> None:
        """Give back all that is held, running or not; what runs on will be fenced."""
        self._held.give_back_everything()

    def _give_back_what_is_stuck(self) -> None:
        # Nothing may wait behind a long job while another worker has a free slot; nor in a process that is stopping.
        for runner in self._runners.values():
            if runner.waiting and (not self.claiming or time.monotonic() - runner.last_start > PATIENCE):
                self._prefetch.stuck()
                self._held.give_back_waiting(runner)

    # Waiting

    def _wait(self, longest: float) -> bool:
        """Sleep until something happens; True if it was the supervisor."""
        now = time.monotonic()
        watched = [self._completer.read_end, self._control]
        wake = -1
        if longest > 0:
            wake = self._listen(now)
            if self._hungry:
                longest = min([longest, *(line.look_at - now for line in self._lines if self._room(line))])
            longest = self._until_flush(longest)
            self._completer.sleeping = True
            if len(self._completer.finished) >= self._completer.wake_at:
                longest = 0.0
        elif self._link.listening:
            wake = self._link.listen((), 0)
        if wake >= 0:
            watched.append(wake)
        readable = _readable(watched, longest)
        self._completer.sleeping = False
        if self._completer.read_end in readable:
            self._completer.drain_wakeups()
        if wake in readable:
            self._heard()
        return self._control in readable

    def _until_flush(self, longest: float) -> float:
        """Tiny jobs are settled in company, long ones at once."""
        waiting = sum(len(runner.waiting) for runner in self._runners.values())
        enough = waiting // 2
        self._completer.wake_at = max(1, enough)
        if waiting:
            return min(longest, _FLUSH if enough > 1 else PATIENCE)
        return longest

    def _listen(self, now: float) -> int:
        """Block on the wake lists if there is room and nothing left to ask."""
        if not self._link.listening:
            if not self._hungry or not all(self._room(line) for line in self._lines):
                return -1
            if any(line.look_at <= now for line in self._lines):
                return -1
            # From here on a token tells; until one comes there is no need to look.
            for line in self._lines:
                line.look_at = now + _POLL * random.uniform(0.8, 1.0)
        try:
            return self._link.listen(tuple(self._by_key), _POLL)
        except NoAnswer:
            return -1

    def _heard(self) -> None:
        try:
            key = self._link.heard()
        except NoAnswer:
            for line in self._lines:
                line.look_at = 0.0
            return
        woken = self._by_key.get(key) if key else None
        if woken is None:
            return
        woken.look_at = 0.0
        # The token is ours now: claim with it, or hand it on with an empty claim.
        self._token_from = woken if self.claiming else None

    def _wait_out(self, error: Exception) -> bool:
        """The server is away: say so once, wait a little, keep everything."""
        if not self._away:
            log.error("%s; trying again", error)
        self._away = min(1.0, random.uniform(0.05, max(0.05, self._away * 3)))
        return bool(_readable([self._control], self._away))

    def _back_again(self) -> None:
        if self._away:
            log.warning("the server answers again")
            self._away = 0.0


def _readable(watched: Sequence[int], seconds: float) -> set[int]:
    """Which file descriptors have something to read, waited for. Not ``select``: tasks may open a thousand files."""
    poll = select.poll()
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    # Rounded up: a wait that ends before its time would turn the loop for nothing.
    return {descriptor for descriptor, _ in poll.poll(math.ceil(max(0.0, seconds) * 1000))}
