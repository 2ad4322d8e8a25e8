"""An application whose jobs end in every way, for the dashboard to show."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from quaff import Quaff, current_job

quaff = Quaff()
log = logging.getLogger("shop")

#: What must come out of every page as the text that it is.
HOSTILE = "<x-hostile a='1'>\"&\x1b[31m\n\r\u202e{{7*7}}</textarea><script>x</script>"


@quaff.task(name="mail.send", queue="mail", retries=1, backoff=0.05)
def send(user: int, subject: str, password: str = "hunter2") -> str:
    """Every third user is refused."""
    log.info("to user %s: %s", user, subject)
    current_job.progress(1, 2, subject)
    if user % 3 == 0:
        raise ConnectionError(f"refused: {subject}")
    return f"sent {subject}"


@quaff.task(name="wait.for")
def wait_for(path: str) -> None:
    """Until that file is there."""
    while not Path(path).exists():
        time.sleep(0.02)


@quaff.task(name="add")
def add(a: int, b: int) -> int:
    """A sum."""
    return a + b


@quaff.task(name="total")
def total(values: list[int]) -> int:
    """Of several."""
    return sum(values)


@quaff.task(name="give")
def give(value: Any) -> Any:
    """Back what it got."""
    return value


@quaff.cron("0 7 * * mon-fri", tz="Europe/Vienna", name="weekdays")
@quaff.task(name="report")
def report() -> None:
    """Of the day."""
