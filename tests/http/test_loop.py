"""The event loop of a WSGI server's threads."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from quaff.http import loop
from tests.helpers import no_more_threads, wait_until


def test_a_loop_that_could_not_start_is_told_and_made_anew_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that comes while no thread can be started is lost, and those after it are answered."""
    monkeypatch.setattr(loop, "_loops", {})
    lost = asyncio.sleep(0)
    with no_more_threads(), pytest.raises(RuntimeError, match="new thread"):
        loop.run(lost)
    lost.close()
    answers: list[int] = []
    threading.Thread(target=lambda: answers.append(loop.run(asyncio.sleep(0, 7))), daemon=True).start()
    wait_until(lambda: answers == [7], 10, "an answer")
    _end(loop._loops[os.getpid()])


def test_many_requests_at_a_time_make_one_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come first all make one, and one of them is kept."""
    monkeypatch.setattr(loop, "_loops", {})
    before, all_here = set(threading.enumerate()), threading.Barrier(20)
    found: list[asyncio.AbstractEventLoop] = []

    async def which() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def ask() -> None:
        all_here.wait()
        found.append(loop.run(which()))

    for _ in range(20):
        threading.Thread(target=ask, daemon=True).start()
    wait_until(lambda: len(found) == 20, 10, "their answers")
    wait_until(lambda: len(set(threading.enumerate()) - before) == 1, 10, "the end of the other threads")
    assert len(set(found)) == 1
    _end(found[0])


def _end(made: asyncio.AbstractEventLoop) -> None:
    made.call_soon_threadsafe(made.stop)
    wait_until(made.is_closed, 5, "the end of its thread")
