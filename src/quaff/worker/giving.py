"""Runs a generator to its end, and gives what it yields to whoever streams the job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

from quaff.context import Attempt
from quaff.errors import EncodeError
from quaff.model.steering import SoftTimeout
from quaff.model.tail import VALUES, Outgoing
from quaff.task import Task

#: Seconds between two looks whether there is room, for a generator that is faster than the server.
_PAUSE = 0.002


class Giving:
    """What one attempt gives.

    Args:
        attempt: the attempt.
        task: how its values are encoded.
        most: bytes of one value.
    """

    def __init__(self, attempt: Attempt, task: Task[Any, Any, Any], most: int) -> None:
        self._task = task
        self._most = most
        self._attempt = attempt
        # Told at once: whoever has values of an attempt before must see that another one has begun.
        self._values = attempt.said[VALUES] = Outgoing(VALUES, task.name)
        attempt.news()

    def run(self, generator: Generator[Any, Any, Any]) -> Any:
        """All of a generator; what it returns. However this ends, its ``finally`` blocks run."""
        late: SoftTimeout | None = None
        try:
            while True:
                try:
                    value = next(generator) if late is None else generator.throw(late)
                except StopIteration as end:
                    return end.value
                late = None
                try:
                    self._give(value)
                    while self._values.full:
                        time.sleep(_PAUSE)
                except SoftTimeout as error:
                    late = error  # it is meant for the generator
        finally:
            generator.close()

    async def arun(self, generator: AsyncGenerator[Any, Any]) -> None:
        """As ``run``, in a coroutine."""
        late: SoftTimeout | None = None
        try:
            while True:
                try:
                    value = await (anext(generator) if late is None else generator.athrow(late))
                except StopAsyncIteration:
                    return
                late = None
                try:
                    self._give(value)
                    while self._values.full:  # noqa: ASYNC110  who makes room is a thread that knows of no loops
                        await asyncio.sleep(_PAUSE)
                except SoftTimeout as error:
                    late = error
        finally:
            await generator.aclose()

    def _give(self, value: Any) -> None:
        try:
            data = self._task.signature.encode_value(value)
        except EncodeError as error:
            raise EncodeError(f"a value that {self._task.name} yielded cannot be sent: {error.args[0]}") from None
        if len(data) > self._most:
            raise EncodeError(
                f"a value that {self._task.name} yielded is {len(data):,} bytes, the limit is {self._most:,} "
                "(MAX_RESULT). Yield it in parts, or store it and yield its id or path."
            )
        self._values.add(data)
        self._attempt.news()
        if self._values.full:
            self._attempt.tell(self._attempt)
