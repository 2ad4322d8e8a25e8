"""Where a process is in its code: the stacks of its jobs, of its other threads, and of what waits in its event loop.

Lines of code and their places, never a value: what a function was called with may be a secret. Bounded, because a
recursion is a thousand frames, and an event loop may have as many tasks.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from quaff.worker.logs import printable
from quaff.worker.run import Run

#: Bytes of one dump, frames of one stack (the innermost), characters of one line, tasks that are no jobs.
MOST = 32 * 1024
_FRAMES, _LINE, _TASKS = 40, 200, 20
#: Threads for jobs, as ``runners.py`` calls them.
_SLOT = re.compile(r"quaff-\d+")
_CUT = "… and more, of which there is no room here"
#: Where our own frames are from, above those of a job.
_OURS = f"{Path(__file__).parents[1]}{os.sep}"


def of_process(running: Sequence[Run], loop: asyncio.AbstractEventLoop, wanted: bytes = b"") -> str:
    """All stacks of this process, MOST bytes at most; from any thread.

    Args:
        running: what runs here.
        loop: where its coroutines are.
        wanted: the token of the job that comes first.
    """
    frames, now = sys._current_frames(), time.monotonic()
    jobs = sorted(running, key=lambda run: (all(job.claim.lease.token != wanted for job in run.job.all), run.began))
    current = asyncio.current_task(loop)
    lines = [f"process {os.getpid()}: {len(jobs)} running, {len(frames)} threads"]
    for run in jobs:
        thread = f"thread {_name(run.thread)}" if run.thread else "the event loop"
        batch = f" and {len(run.job.fellows)} more in one batch" if run.job.fellows else ""
        which = f"job {run.job.claim.id}{batch}, {run.job.task.name}, attempt {run.job.claim.lease.attempt}"
        lines += ["", f"{which}, for {now - run.began:.1f} s, in {thread}"]
        if run.thread:
            lines += _shown(_inner(frames.pop(run.thread, None)))
        elif run.task is current:
            lines += ["  it holds the event loop: see there"]
        else:
            lines += _shown(_waiting(run.steered.coroutine if run.steered else run.task and run.task.get_coro()))
    names = {ident: _name(ident) for ident in frames if ident != threading.get_ident()}
    idle = [ident for ident, name in names.items() if _SLOT.fullmatch(name)]
    for ident in names.keys() - idle:
        lines += ["", f"thread {names[ident]}", *_shown(_inner(frames[ident], own=True))]
    lines += ["", f"{len(idle)} threads wait for jobs"] if idle else []
    others = [task for task in asyncio.all_tasks(loop) if all(task is not run.task for run in jobs)]
    for task in others[:_TASKS]:
        lines += ["", f"asyncio task {printable(task.get_name())}, no job", *_shown(_waiting(task.get_coro()))]
    if len(others) > _TASKS:
        lines += ["", f"{len(others) - _TASKS} other asyncio tasks"]
    return cut("\n".join(lines))


def cut(text: str) -> str:
    """No more of a text than there is room for."""
    data = text.encode(errors="replace")
    if len(data) <= MOST:
        return text
    return f"{data[: MOST - 100].decode(errors='ignore').rpartition(chr(10))[0]}\n{_CUT}"


def _name(ident: int) -> str:
    thread = threading._active.get(ident)  # type: ignore[attr-defined]
    return printable(thread.name) if thread is not None else str(ident)


def _inner(frame: FrameType | None, *, own: bool = False) -> list[FrameType]:
    """The innermost frames of a thread, the innermost last; of a job without ours that it was called by."""
    found: list[FrameType] = []
    while frame is not None and len(found) < _FRAMES:
        found.insert(0, frame)
        frame = frame.f_back
    if own:
        return found
    first = next((at for at, each in enumerate(found) if _is_ours(each)), None)
    if first is None:
        return found
    theirs = next((at for at in range(first, len(found)) if not _is_ours(found[at])), first)
    return found[theirs:]


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_OURS)


def _waiting(awaited: Any) -> list[FrameType]:
    """The frames of a coroutine that waits, through what it waits for."""
    found: list[FrameType] = []
    while awaited is not None and len(found) < _FRAMES:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), None)
        if kind is None:
            break
        frame = getattr(awaited, f"{kind}_frame")
        if frame is not None:
            found.append(frame)
        awaited = getattr(awaited, f"{kind}_yieldfrom" if kind == "gi" else f"{kind}_await")
    theirs = next((at for at, each in enumerate(found) if not _is_ours(each)), 0)
    return found[theirs:]


def _shown(frames: Sequence[FrameType]) -> Iterator[str]:
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames)
    for each in summary:
        yield f"  {printable(each.filename)}:{each.lineno} in {printable(each.name)}"[:_LINE]
        if each.line:
            yield f"    {printable(each.line)}"[:_LINE]
    if not frames:
        yield "  it has just begun, or is about to end"
