"""Results too large for the server, into the store of results and out of it: I/O, so never in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import msgspec

from quaff.config import Settings
from quaff.errors import EncodeError
from quaff.model import message, stored, value
from quaff.model.sealing import Seals
from quaff.model.stored import Stored
from quaff.results import ResultStore, fetch
from quaff.worker.ready import Ready
from quaff.worker.run import Large, Run

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that data stay longer than their record: it is settled after they are put, maybe when a server that was away
#: is there again, and clocks differ.
MARGIN = 3600.0


def kept(run: Run, job: Ready, data: bytes, seconds: float, settings: Settings, results: ResultStore | None) -> bytes:
    """An encoded value as the record has it: sealed, or a reference.

    Args:
        seconds: how long the record is kept.

    Raises:
        EncodeError: it is too large, and nobody says where to put it.
    """
    size, seals = len(data), settings.seals
    if size > settings.max_result and results is None:
        raise EncodeError(
            f"the result of {job.task.name} is {size:,} bytes, the limit is {settings.max_result:,} (MAX_RESULT). "
            "Store it and return its id or path, or have it stored: Quaff(results=FileResults(directory))."
        )
    if seals.writes:
        where = job.claim.where
        data = value.seal(data, seals, where.namespace, where.job, job.message.terms.get(message.FLOW, ""))
    return set_aside(run, job, data, seconds) if size > settings.max_result else data


def set_aside(run: Run, job: Ready, data: bytes, seconds: float) -> bytes:
    """What the record has in the place of a large result.

    Args:
        seconds: how long the record is kept; what nobody can ask for goes nowhere.
    """
    claim, terms = job.claim, job.message.terms
    flow = terms.get(message.FLOW, "")
    name = stored.name_of(claim.partition.prefix.encode(), claim.lease.id, claim.lease.token, flow)
    if seconds or flow:
        run.large.append(Large(job, name, data, seconds + MARGIN))
    return stored.encode(Stored(name, len(data)))


def put(results: ResultStore | None, run: Run) -> dict[bytes, BaseException]:
    """Store what was set aside; what went wrong, by the token of the job."""
    wrong: dict[bytes, BaseException] = {}
    for job, name, data, seconds in run.large:
        try:
            assert results is not None
            results.put(name, data, seconds)
        except BaseException as error:  # noqa: BLE001  it is the user's code, and may raise anything
            error.add_note(f"The result of {job.task.name}, {len(data):,} bytes, could not be put into {results!r}.")
            wrong[job.claim.lease.token] = error
    return wrong


def bring(run: Run, results: ResultStore | None, seals: Seals) -> None:
    """Complete the messages of an attempt that is given results from the store.

    Raises:
        ConfigurationError, ResultExpired: as ``fetch``; of a batch each job has its own, in ``run.unfit``.
    """
    try:
        _bring(run, results, seals)
    finally:
        run.current.mask = run.job.mask  # what has come may be sensitive as well


def _bring(run: Run, results: ResultStore | None, seals: Seals) -> None:
    if run.job.task.settings.batch is None:
        run.job = _complete(run.job, results, seals)
        return
    jobs: list[Ready] = []
    for job in run.job.all:
        try:
            jobs.append(_complete(job, results, seals))
        except BaseException as error:  # noqa: BLE001  one that cannot be completed must not keep the others from running
            run.unfit[job.claim.lease.token] = error
            jobs.append(job)
    first, *others = jobs
    run.job = msgspec.structs.replace(first, fellows=tuple(others))


def _complete(job: Ready, results: ResultStore | None, seals: Seals) -> Ready:
    if not message.lacks_results(job.claim.lease.message):
        return job
    sent = message.decode(
        job.claim.lease.message,
        lambda each: fetch(results, each, stored.job_of(each.name)),
        seals=seals,
        where=job.claim.where,
    )
    return msgspec.structs.replace(job, message=sent)


async def aside(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it in a thread and wait for its end, whoever cancels: the attempt itself is over, or has not begun."""
    called = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    while not called.done():
        try:
            await asyncio.wait([called])
        except asyncio.CancelledError:
            continue
    return called.result()
