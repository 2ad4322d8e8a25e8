"""Tasks whose errors, results, lines and backoffs are objects that do their worst when they are made a text.

What is exported of its attempts is as in ``tests/telemetry/traceapp.py``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from quaff import current_job
from tests.telemetry.traceapp import quaff


class Nameless(type):
    """Makes classes that do not say what they are called."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise ValueError("no name")


class Anonymous(Exception, metaclass=Nameless):
    """What such a class makes."""


def raising(kind: Callable[[], BaseException]) -> Callable[[Any], str]:
    """A text that raises."""

    def text(_: Any) -> str:
        raise kind()

    return text


def recursing(self: Any) -> str:
    """A text that asks for itself."""
    return str(self)


def endless(_: Any) -> str:
    """A text that takes for ever, step by step."""
    while True:
        pass


def asleep(_: Any) -> str:
    """A text that takes for ever, in C."""
    time.sleep(3600)
    return ""


#: How an object makes its text.
TEXTS: dict[str, Callable[[Any], Any]] = {
    "raises": raising(ValueError),
    "exits": raising(lambda: SystemExit(3)),
    "interrupts": raising(KeyboardInterrupt),
    "raises what has no name": raising(Anonymous),
    "recurses": recursing,
    "is no text": lambda _: 5,
    "is large": lambda _: "x" * 10_000_000,
    "is no UTF-8": lambda _: "\ud800 and \x1b[31m and a\nline",
}
#: The same, of those that never come to an end.
FOR_EVER = {"step by step": endless, "in C": asleep}


def evil(how: str, base: type = Exception) -> Any:
    """An object of that kind."""
    text = (TEXTS | FOR_EVER)[how]
    return type("Evil", (base,), {"__str__": text, "__repr__": text, "__format__": lambda self, _: text(self)})()


@quaff.task(name="raises")
def raises(how: str) -> None:
    """Raise one."""
    raise evil(how)


@quaff.task(name="araises")
async def araises(how: str) -> None:
    """Raise one in the event loop."""
    raise evil(how)


@quaff.task(name="carries")
def carries(how: str) -> None:
    """Raise something that has one in it, in a group, with a cause and a note."""
    error = ExceptionGroup("some", [ValueError(evil(how, object)), evil(how)])
    error.__notes__ = [evil(how, object)]  # type: ignore[attr-defined]
    raise error from evil(how)


@quaff.task(name="gives")
def gives(how: str) -> Any:
    """Return one."""
    return evil(how, object)


@quaff.task(name="logs")
def logs(how: str) -> None:
    """Log one, and say how far it is with one."""
    logging.getLogger("shop").error("%s", evil(how, object))
    current_job.progress(1, 2, evil(how, object))


def _backoff(failures: int, error: BaseException) -> float:
    raise evil(str(error))


@quaff.task(name="backs_off", retries=3, backoff=_backoff)
def backs_off(how: str) -> None:
    """Fail with a backoff that raises one."""
    raise ValueError(how)


@quaff.task(name="takes_for_ever", timeout=1)
def takes_for_ever(how: str) -> None:
    """Raise one, with a limit."""
    raise evil(how)


@quaff.task(name="atakes_for_ever", timeout=1)
async def atakes_for_ever(how: str) -> None:
    """Raise one in the event loop, with a limit."""
    raise evil(how)


@quaff.task(name="good")
def good(number: int) -> int:
    """As it should."""
    return number
