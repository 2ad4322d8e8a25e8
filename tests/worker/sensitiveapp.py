"""A task that says its secret wherever it can."""

from __future__ import annotations

import logging

from quaff import Quaff, current_job

quaff = Quaff()


@quaff.task(name="sign_in", sensitive=("password", "more"))
def sign_in(user: str, password: str, *more: dict[str, str], gives: str = "") -> None:
    """Fail with all that it was given."""
    current_job.progress(1, 2, f"signing in with {password}")
    current_job.log(f"the password of {user} is {password!r}")
    logging.getLogger("shop").warning("%s", [password, more])
    raise ValueError(f"wrong: {user} {password} {more}", password)


@quaff.task(name="slow", sensitive=("password",), retries=1, backoff=0)
async def slow(password: str) -> None:
    """Fail twice, as a coroutine, with a cause."""
    try:
        raise KeyError(password)
    except KeyError as error:
        raise RuntimeError({"password": password}) from error
