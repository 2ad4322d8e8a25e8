"""What a task raises to say how its job goes on, and what is raised in a task that runs too long."""

from __future__ import annotations

from quaff.errors import ConfigurationError
from quaff.model.ids import check_name
from quaff.model.placement import PRIORITIES
from quaff.model.times import Seconds, seconds


class Retry(Exception):
    """Raised by a task: run me again. It counts as a failure; ``retries=``, where given, is still the limit.

    Args:
        in_: seconds or a timedelta until then; None leaves it to the task's backoff.
        priority: from -100 to 100, from then on; None: as before.
        queue: where it runs from then on; None: as before. Its id stays.
    """

    def __init__(
        self,
        why: str = "the task asked for another attempt",
        *,
        in_: Seconds | None = None,
        priority: int | None = None,
        queue: str | None = None,
    ) -> None:
        super().__init__(why)
        self.in_: float | None = None if in_ is None else seconds("Retry(in_=)", in_)
        if priority is not None and (type(priority) is not int or priority not in PRIORITIES):
            raise ConfigurationError(f"Retry(priority={priority!r}): give a whole number from -100 to 100.")
        self.priority = priority
        self.queue: str | None = None if queue is None else check_name("Retry(queue=) queue", queue)


class Snooze(Exception):
    """Raised by a task: not yet. It runs again later, as the same attempt; nothing is counted.

    Args:
        in_: seconds or a timedelta until then.
    """

    def __init__(self, in_: Seconds) -> None:
        self.in_: float = seconds("Snooze()", in_)
        super().__init__(f"the task wants to wait for {self.in_:g} s")


class Cancel(Exception):
    """Raised by a task: there is nothing to do any more. The job ends as ``cancelled``, with this reason."""

    def __init__(self, why: str = "the task cancelled itself") -> None:
        super().__init__(why)


class SoftTimeout(TimeoutError):
    """Raised in a task whose ``soft_timeout`` is over. Caught, it leaves time until ``timeout`` to clean up."""

    def __init__(self, text: str = "it ran longer than its soft_timeout") -> None:
        super().__init__(text)


class TimeLimit(TimeoutError):
    """What an attempt that was ended at its ``timeout`` is recorded with, and what ``retry_on`` and a backoff see."""


class Pause(BaseException):
    """Ends an attempt so that its job goes on later, at no cost; raised by ``current_job.sleep()`` and the like.

    No ``Exception``: a task that catches those must not catch it.

    Args:
        step: what the job waits for, as ``model.steps.encode`` makes it.
        delay: seconds from now, where the job has not begun to wait before.
        word: what the attempt is recorded as.
    """

    def __init__(self, step: bytes, delay: float, word: str) -> None:
        super().__init__("the job waits, and runs again from the top when it may go on")
        self.step = step
        self.delay = delay
        self.word = word


class Lost(BaseException):
    """Ends an attempt that does not hold its job any more: another one runs, or has ended it."""

    in_: float = 0.0
