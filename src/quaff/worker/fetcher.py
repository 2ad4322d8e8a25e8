"""The loop of one worker process: free slots -> claim a batch; finished attempts -> settle; both in one round trip.

One thread, one ``poll`` over three things: the connection it is woken on, the pipe that says attempts have finished,
and the line to the supervisor. Nothing here runs user code.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quaff.errors import QuaffError
from quaff.store.faults import NoAnswer
from quaff.store.link import Link
from quaff.store.transitions import Call
from quaff.worker.batching import Batches
from quaff.worker.completer import Completer
from quaff.worker.control import Control
from quaff.worker.executor import Executor
from quaff.worker.holdings import Comparison, Holdings
from quaff.worker.intake import Intake
from quaff.worker.line import Asked, Line
from quaff.worker.lookout import Lookout
from quaff.worker.poll import readable
from quaff.worker.prefetch import PATIENCE
from quaff.worker.ready import Claim
from quaff.worker.run import released
from quaff.worker.runners import Runner
from quaff.worker.tally import Tally
from quaff.worker.telling import Telling
from quaff.worker.watch import Watch

log: logging.Logger = logging.getLogger("quaff.worker")

#: For so many lines a process that has nothing to do holds a claim ready.
_READY = 8

_Talk = tuple[Sequence[Call[Any]], Callable[[list[Any]], object]]


class Fetcher:
    """Claims for the runners and settles what they finish.

    Args:
        process: this process's id, random per start.
        link: its connections.
        lookout: which queue is asked when.
        executor, completer, watch, batches, telling, tally: the parts.
        runners: by kind, ``sync`` and ``async``.
        lease_ms: the lease.
        control: the line to the supervisor.

    Attributes:
        closed: the server gave this process up: its lease had lapsed.
        done: jobs that have ended here.
    """

    def __init__(
        self,
        process: bytes,
        link: Link,
        lookout: Lookout,
        executor: Executor,
        runners: Mapping[str, Runner],
        completer: Completer,
        watch: Watch,
        batches: Batches,
        telling: Telling,
        tally: Tally,
        lease_ms: int,
        control: Control,
    ) -> None:
        self._process = process
        self._link = link
        self._lookout = lookout
        self._runners = runners
        self._executor = executor
        self._completer = completer
        self._batches = batches
        self._telling = telling
        self._tally = tally
        self._lease_ms = lease_ms
        self._control = control
        self._held = Holdings(process)
        self._intake = Intake(link, self._held, executor, completer, watch, batches, runners)
        places = [(line.place, line.partition) for line in lookout.lines]
        self._comparison = Comparison(process, places, lease_ms / 3000)
        self._claiming = True
        self._alone = False
        self._emptying: Line | None = None
        self._lonely: set[Line] = set()
        self._away = 0.0
        self._trip = 0.0
        self._ready: dict[Line, Asked] = {}
        self._came_ahead: list[tuple[Asked, Any]] = []
        self.closed: bool = False
        self.done: int = 0

    @property
    def holds(self) -> int:
        """Jobs this process has under lease."""
        return len(self._held) + len(self._intake)

    def step(self, longest: float) -> bool:
        """One turn: talk to the server if there is a reason, else wait at most ``longest`` seconds for one.

        Returns:
            True if the supervisor has said something.
        """
        self._gather()
        self._give_back_what_is_stuck()
        self._intake.begin_batches()
        talks: list[_Talk] = [
            (self._telling.calls(), self._telling.answered),
            (self._completer.calls(), self._completer.answered),
            (self._held.calls(), self._held.answered),
            (self._tally.calls(), self._tally.answered),
        ]
        if (comparison := self._comparison.call()) is not None:
            # Before the others: a script that the server had forgotten runs after all that was sent behind it.
            talks.insert(0, ([comparison], self._compared))
        asked = self._next_claim()
        if asked is not None or any(calls for calls, _ in talks):
            return self._talk(talks, asked)
        told = self._wait(0.0 if self._sort() else longest)
        self._take_ahead()
        asked = None if told else self._at_hand()
        return told if asked is None else self._talk((), asked)

    def _talk(self, talks: Sequence[_Talk], asked: Asked | None) -> bool:
        """Say all this, and what is asked for, in one round trip; True if the supervisor has said something."""
        calls = [call for several, _ in talks for call in several]
        if asked is not None:
            calls.append(asked.call)
            asked.line.unanswered = True  # until there is an answer; without one it is in doubt, and asked for as such
        began = time.monotonic()
        try:
            self._link.send(calls)
            # What came with the last answer, and whoever else wants something, while the server works for the next one.
            self._sort()
            told = self._wait(0.0)
            answers = iter(self._link.receive())
        except NoAnswer as error:
            self._take_ahead()
            self._sort()
            return self._wait_out(error)
        self._back_again()
        self._trip += (time.monotonic() - began - self._trip) * 0.1
        for several, answered in talks:
            answered([next(answers) for _ in several])
        if asked is not None:
            self._claimed(asked, next(answers))
        self._take_ahead()
        return told

    def _sort(self) -> bool:
        """Look at what the last answers hold for each job; True if there was something."""
        sorted_something = self._completer.answers
        sorted_something |= self._intake.sort()
        for refused, verdict in self._completer.account():
            log.warning("%s: this run came too late (%s); another one is recorded", refused.id, verdict.name)
        return sorted_something

    # Claiming

    def _next_claim(self) -> Asked | None:
        if self._lookout.tokens:
            token = self._lookout.tokens.popleft()
            # It is ours now: claim with it, or hand it on by a claim of nothing.
            return self._claim(token, self._room(token) if self._hungry else 0)
        if (line := self._lookout.in_doubt()) is not None:
            # Whether there is room or not: what it has got is ours until we say something else.
            return self._claim(line, self._room(line) if self._hungry else 0)
        if not self._claiming or (self._alone and self.holds):
            return None
        chosen = self._lookout.next(self._room_for_emptying if self._emptying else self._room)
        return chosen and self._claim(*chosen)

    def _at_hand(self) -> Asked | None:
        """The claim for a token that woke a process without work, made before it came: there is nothing else to say."""
        ready, self._ready = self._ready, {}
        tokens = self._lookout.tokens
        return ready[tokens.popleft()] if len(tokens) == 1 and tokens[0] in ready else None

    def _claim(self, line: Line, count: int) -> Asked:
        free = self._intake.room(line, ahead=False)  # how many would start at once
        return line.claim(self._process, count, free, idle=not self.holds, lease_ms=self._lease_ms)

    def _room(self, line: Line) -> int:
        """How many jobs may be claimed from a line now."""
        return self._intake.room(line, ahead=not line.for_slots)

    def _room_for_emptying(self, line: Line) -> int:
        return self._room(line) if line is self._emptying else 0

    @property
    def _hungry(self) -> bool:
        """Whether any job will do: not while one runs alone, or while the process empties itself for one."""
        return self._claiming and not (self._alone and self.holds) and self._emptying is None

    def _claimed(self, asked: Asked, answer: Any) -> None:
        line = asked.line
        line.unanswered = isinstance(answer, NoAnswer)
        if isinstance(answer, QuaffError):
            self._lookout.put_off(line, answer)
            return
        self._lookout.answered(line, answer)
        if answer.closed:
            self.closed, self._claiming = True, False
        if not asked.wanted:
            # What an earlier claim has got whose answer was lost: by now there is no room for it.
            for lease in answer.leases:
                self._held.give_back(Claim(line.place, line.partition, lease))
            return
        self._alone = answer.alone
        self._emptying = line if answer.empty_yourself else None
        if answer.alone or answer.lonely:
            self._lonely.add(line)
        self._intake.take(line, answer)
        if not answer.left and not self._held:
            self._intake.sort()  # nothing runs meanwhile, and nothing more is to come

    def _compared(self, answers: Sequence[Any]) -> None:
        strangers = self._comparison.answered(answers[0], self._knows)
        for stranger in strangers:
            self._held.give_back_stranger(stranger)
        if strangers:
            log.warning("the server has lost what it was told of %d jobs; they run again", len(strangers))

    def _knows(self, token: bytes) -> bool:
        return self._lookout.awaits(token) or token in self._held or token in self._completer

    # Giving back

    def halt(self) -> None:
        """Claim and start nothing more, and give back what has not been started."""
        self._claiming = False
        self._lookout.call_off()
        self._intake.give_back_batches()
        for runner in self._runners.values():
            runner.halt()
        self._intake.sort()
        for runner in self._runners.values():
            self._intake.give_back_waiting(runner)

    def give_back_everything(self) -> None:
        """Give back all that is held, running or not; what runs on will be fenced."""
        self._intake.sort()
        running = [run for runner in self._runners.values() for run in runner.running if run is not None]
        self._held.give_back_everything(dict(pair for run in running for pair in released(run, self._executor.worker)))

    def leave(self) -> None:
        """The last words: a token that was taken in the meantime goes on to somebody who stays."""
        self._lookout.hang_up()
        asked = [self._claim(line, 0) for line in self._lookout.lines]
        try:
            answers = self._link.exchange([*(each.call for each in asked), *self._tally.calls(now=True)])
            for each, answer in zip(asked, answers[: len(asked)], strict=True):
                if not isinstance(answer, QuaffError):
                    self._claimed(each, answer)
            self._link.exchange(self._held.calls())
        except NoAnswer:
            return  # then there are no tokens either

    def _gather(self) -> None:
        ran: dict[Runner, list[float]] = {}
        for finished in self._completer.gather():
            self.done += 1
            runner = self._held.drop(finished.claim)
            if runner is not None:
                ran.setdefault(runner, []).append(finished.seconds)
        for runner, seconds in ran.items():
            runner.prefetch.learn(sum(seconds), len(seconds), self._trip)
        if self._lonely and not self.holds:
            # What must run alone waits for this moment, and no token tells of it.
            for line in self._lonely:
                line.look_at = 0.0
            self._lonely.clear()

    def _give_back_what_is_stuck(self) -> None:
        # Nothing may wait behind a long job while another worker has a free slot; nor in a process that is stopping.
        for runner in self._runners.values():
            if runner.waiting and (not self._claiming or time.monotonic() - runner.last_start > PATIENCE):
                runner.prefetch.stuck()
                self._intake.give_back_waiting(runner)

    # Waiting

    def _wait(self, longest: float) -> bool:
        """Sleep until something happens; True if it was the supervisor."""
        lines: Sequence[Line] = ()
        self._ready = {}
        if longest > 0:
            if self._hungry:
                lines = [line for line in self._lookout.lines if self._room(line)]
            elif self._emptying:
                lines = [self._emptying] if self._room(self._emptying) else []
            longest = min(longest, self._comparison.seconds_left, self._batches.seconds_left)
            longest = min(longest, self._telling.seconds_left, self._tally.seconds_left)
        wakes = self._lookout.listen(lines if longest > 0 and self._hungry else ())
        if longest > 0:
            waiting = sum(len(runner.waiting) for runner in self._runners.values())
            longest = self._completer.fall_asleep(min(longest, self._lookout.wait_for(lines)), waiting, self._trip)
            if self._hungry and not self.holds:
                self._get_ready(lines)
        control = -1 if self._control.closed else self._control.fileno()
        heard = readable([self._completer.read_end, control, *wakes], longest)
        self._completer.sleeping = False
        if self._completer.read_end in heard:
            self._completer.drain_wakeups()
        self._came_ahead += self._lookout.heard(heard)
        return control in heard

    def _get_ready(self, lines: Sequence[Line]) -> None:
        """Make the claim for the next token, while there is time; where there is one line, the server gets it."""
        if lines and self._lookout.takes_claims:
            # Of one job: nobody knows whether this process still lives by then, and others may be idle, too.
            self._lookout.send_ahead(self._claim(lines[0], 1))
        few = [line for line in lines if not line.unanswered][:_READY]
        self._ready = {line: self._claim(line, self._room(line)) for line in few}

    def _take_ahead(self) -> None:
        """Look at what was claimed ahead, now that nothing else is on its way."""
        came, self._came_ahead = self._came_ahead, []
        for asked, answer in came:
            self._claimed(asked, answer)

    def _wait_out(self, error: Exception) -> bool:
        """The server is away: say so once, wait a little, keep everything."""
        if not self._away:
            log.error("%s; trying again", error)
        self._away = min(1.0, random.uniform(0.05, max(0.05, self._away * 3)))
        return bool(readable([-1 if self._control.closed else self._control.fileno()], self._away))

    def _back_again(self) -> None:
        if self._away:
            log.warning("the server answers again")
            self._away = 0.0
