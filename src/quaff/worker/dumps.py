"""Asks processes where they are in their code: for the log, or for somebody who wants to know it of one job.

A process that does not answer, because something holds its interpreter, is told to by a signal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from quaff.model.ids import JobId
from quaff.worker.child import Child
from quaff.worker.control import Word
from quaff.worker.logs import printable
from quaff.worker.serving import Serving
from quaff.worker.stacks import cut
from quaff.worker.starts import Start

log: logging.Logger = logging.getLogger("quaff.worker")

#: Seconds until a process that is silent gets the signal, and from then until what it wrote is read.
_PATIENCE, _WRITES = 1.0, 0.2


class _Asked(NamedTuple):
    """Since when (monotonic), about which job (None: for the log), and whether the signal was sent."""

    at: float
    about: Start | None
    signalled: bool = False


class Dumps:
    """Of one worker's processes; each is asked one thing at a time."""

    def __init__(self) -> None:
        self._asked: dict[Child, _Asked] = {}

    @property
    def open(self) -> bool:
        """Whether an answer is waited for."""
        return bool(self._asked)

    def ask(self, children: Sequence[Child]) -> None:
        """All of them, for the log."""
        for child in children:
            self._ask(child, None)

    def look(self, children: Sequence[Child], serving: Serving) -> None:
        """Ask for what somebody wants to know; see to those that do not answer."""
        wanted = serving.presence.wanted
        for child in children if wanted else ():
            if child not in self._asked and (start := _among(child, wanted)):
                self._ask(child, start)
        now = time.monotonic()
        for child, asked in [*self._asked.items()]:
            if child not in children:
                del self._asked[child]
            elif asked.signalled and now - asked.at > _WRITES:
                self._answered(child, _of_silent(child, serving), serving)
            elif not asked.signalled and now - asked.at > _PATIENCE:
                if child.shout():
                    self._asked[child] = _Asked(now, asked.about, signalled=True)
                else:
                    self._answered(child, f"process {child.pid} does not answer", serving)

    def heard(self, child: Child, text: str, serving: Serving) -> None:
        """A process has answered."""
        if child in self._asked:
            self._answered(child, text, serving)

    def _ask(self, child: Child, about: Start | None) -> None:
        self._asked[child] = _Asked(time.monotonic(), about)
        if child.control.has_room:
            child.control.say(Word(said="dump", text=about.token.decode() if about else ""))

    def _answered(self, child: Child, text: str, serving: Serving) -> None:
        about = self._asked.pop(child).about
        if about is None:
            log.warning("the stacks of process %d\n%s", child.pid, text)
        else:
            serving.answer(about, child.pid, text)


def _among(child: Child, wanted: Collection[tuple[int, bytes]]) -> Start | None:
    return next((start for start in child.running() if (start.partition, start.id) in wanted), None)


def _of_silent(child: Child, serving: Serving) -> str:
    """What it wrote at the signal, and what it was running; no threads' names, and no coroutines that wait."""
    now, lines = time.time(), [f"process {child.pid} does not answer: something holds its interpreter. It runs"]
    for start in child.running():
        home = serving.presence.partitions[start.partition]
        lines.append(f"job {JobId(home.queue, home.number, start.id)}, for {now - start.started_ms / 1000:.1f} s")
    return cut("\n".join([*lines, "", *map(printable, child.traces().splitlines())]))
