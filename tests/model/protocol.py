"""The protocol of claim and settle, small enough to look at every state that it can get into.

Time is left out: a lease may lapse at any moment, a reply may be lost, a call may arrive twice or late, a worker may
die and the server forget what it has not copied. Jobs are plain, hold a unique key for which an heir waits, or are the
two for which a third one waits. What is not the protocol, such as the order of jobs, is not here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

Token = tuple[int, int, int]  # worker, number of its claim, attempt


class Job(NamedTuple):
    """``state``: "" not sent, b blocked, q queued, r running, or the letter of its end; ``before``: as in ``tries``."""

    state: str = ""
    token: Token | None = None
    attempts: int = 0
    before: Token | None = None
    asked: bool = False
    needs: int = 0
    begun: int = 0  # how often it was put in line for the first time


class Worker(NamedTuple):
    """``pending``: its last claim was not answered; ``holds``: a job and its token."""

    claims: int = 0
    pending: bool = False
    holds: tuple[int, Token] | None = None


class Server(NamedTuple):
    """What it has stored; ``ended``: the job and token of each end that was answered OK."""

    jobs: tuple[Job, ...]
    ended: tuple[tuple[int, Token | None, Token | None], ...] = ()


class World(NamedTuple):
    """All there is. ``late``: a settle that is still on its way; ``copy``: what the replica has."""

    server: Server
    workers: tuple[Worker, Worker]
    sent: tuple[int, ...]  # by job: how often; -1: it was acknowledged
    late: tuple[int, Token, str] | None
    cancelled: bool
    copy: Server | None
    failovers: int


class Plan(NamedTuple):
    """What is looked at, and what is left out of the protocol to see that it is missed.

    Attributes:
        parents: jobs for which the last one waits (a fan-in), or the one whose unique key it waits for (its heir).
        sendable: the jobs that the producer sends.
        without: one of ``fence``, ``lease`` (the fence is a counter), ``tombstone``, ``once``, ``asked``.
    """

    jobs: int
    sendable: int
    parents: tuple[int, ...] = ()
    without: str = ""
    failover: bool = False
    cancel: bool = False
    retry: bool = False
    claims: int = 2
    attempts: int = 2


Step = tuple[str, World]
OVER = "sfc"


class Protocol:
    """Every step from every state of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def beginning(self) -> World:
        """Nothing has been sent."""
        waits = Job("b", needs=len(self.plan.parents))
        jobs = tuple(waits if self.plan.parents and at == self.plan.jobs - 1 else Job() for at in range(self.plan.jobs))
        server = Server(jobs)
        copy = server if self.plan.failover else None
        return World(server, (Worker(), Worker()), (0,) * self.plan.sendable, None, not self.plan.cancel, copy, 0)

    # The scripts

    def _end(self, server: Server, at: int, letter: str, token: Token | None) -> Server:
        """A job ends, and who waits for it is told in the same step."""
        jobs = list(server.jobs)
        job = jobs[at]
        jobs[at] = Job(letter, token, job.attempts, None, False, 0, job.begun)
        if self.plan.without == "tombstone" and not self.plan.parents:
            jobs[at] = Job(begun=job.begun)
        return self._tell(server._replace(jobs=tuple(jobs)), at)

    def _tell(self, server: Server, at: int) -> Server:
        if at not in self.plan.parents:
            return server
        jobs, last = list(server.jobs), len(server.jobs) - 1
        child = jobs[last]
        if child.state == "b":
            needs = child.needs - 1
            jobs[last] = child._replace(needs=needs, state="b" if needs else "q", begun=child.begun + (needs == 0))
        return server._replace(jobs=tuple(jobs))

    def _settle(self, server: Server, at: int, token: Token, letter: str) -> tuple[str, Server]:
        job = server.jobs[at]
        fits = job.token == token
        if self.plan.without == "fence":
            fits = True
        elif self.plan.without == "lease":
            fits = job.token is not None and job.token[2] == token[2]
        if job.state != "r" or not fits:
            known = token in (job.before, job.token if job.state in OVER and job.state else None)
            if known and self.plan.without == "once":
                return "ALREADY", self._tell(server, at)
            return ("ALREADY" if known else "FENCED"), server
        if letter == "r" and not (job.asked and self.plan.without != "asked") and job.attempts < self.plan.attempts:
            return "OK", _with(server, at, job._replace(state="q", token=None, before=token))
        end = "c" if job.asked and letter == "r" else "f" if letter == "r" else letter
        ended = self._end(server, at, end, token)
        return "OK", ended._replace(ended=(*ended.ended, (at, token, job.token)))

    def _reap(self, server: Server, at: int) -> Server:
        job = server.jobs[at]
        if job.asked and self.plan.without != "asked":
            return self._end(server, at, "c", None)
        if job.attempts >= self.plan.attempts:
            return self._end(server, at, "f", None)
        return _with(server, at, job._replace(state="q", token=None))

    # The steps

    def steps(self, world: World) -> Iterator[Step]:
        """Everything that can happen next."""
        server = world.server
        yield from self._producer(world)
        for place in (0, 1):
            yield from self._worker(world, place)
        for at, job in enumerate(server.jobs):
            if job.state == "r":
                yield f"job {at} is reaped", world._replace(server=self._reap(server, at))
        if not world.cancelled:
            job = server.jobs[0]
            if job.state == "q":
                yield "cancelled", world._replace(server=self._end(server, 0, "c", None), cancelled=True)
            elif job.state == "r":
                asked = _with(server, 0, job._replace(asked=True))
                yield "asked to stop", world._replace(server=asked, cancelled=True)
        if world.late:
            at, token, letter = world.late
            verdict, after = self._settle(server, at, token, letter)
            yield f"a late settle arrives: {verdict}", world._replace(server=after, late=None)
        if world.copy is not None and world.copy != server:
            yield "copied", world._replace(copy=server)
            if not world.failovers:
                yield "failover", world._replace(server=world.copy, failovers=1)

    def _producer(self, world: World) -> Iterator[Step]:
        for at, times in enumerate(world.sent):
            if times < 0 or times > 1:
                continue
            job = world.server.jobs[at]
            after = world.server if job.state else _with(world.server, at, job._replace(state="q", begun=job.begun + 1))
            again = world._replace(sent=_put(world.sent, at, times + 1))
            yield f"job {at} is sent", world._replace(server=after, sent=_put(world.sent, at, -1))
            yield f"job {at} is sent, reply lost", again._replace(server=after)
            yield f"job {at} is sent, lost", again

    def _worker(self, world: World, place: int) -> Iterator[Step]:
        worker, server = world.workers[place], world.server

        def now(other: Worker, **more: Any) -> World:
            return world._replace(workers=_put(world.workers, place, other), **more)

        if worker.holds is None and worker.pending:
            mine = (place, worker.claims)
            held = [(at, job.token) for at, job in enumerate(server.jobs) if job.token and job.token[:2] == mine]
            same = next((each for each in held if server.jobs[each[0]].state == "r"), None)
            yield f"worker {place} asks again", now(worker._replace(pending=False, holds=same))
        elif worker.holds is None and worker.claims < self.plan.claims:
            for at, job in enumerate(server.jobs):
                if job.state != "q":
                    continue
                token = (place, worker.claims + 1, job.attempts + 1)
                after = _with(server, at, job._replace(state="r", token=token, attempts=job.attempts + 1))
                yield f"worker {place} claims {at}", now(Worker(worker.claims + 1, False, (at, token)), server=after)
                yield f"worker {place} claims {at}, reply lost", now(Worker(worker.claims + 1, True), server=after)
        elif worker.holds is not None:
            at, token = worker.holds
            free = worker._replace(holds=None)
            for letter in "sr" if self.plan.retry else "s":
                verdict, after = self._settle(server, at, token, letter)
                yield f"worker {place} settles {at} as {letter}: {verdict}", now(free, server=after)
                if verdict == "OK":
                    yield f"worker {place} settles {at} as {letter}, reply lost", now(worker, server=after)
                if world.late is None:
                    yield f"worker {place} settles {at} as {letter}, late", now(free, late=(at, token, letter))
            yield f"worker {place} dies", now(free)

    # What must never be

    def fault(self, world: World) -> str | None:
        """What is wrong with a state."""
        jobs = world.server.jobs
        for at, token, holder in world.server.ended:
            if token != holder:
                return f"job {at} was ended by somebody who did not hold it"
        if world.failovers:
            return None
        if len({at for at, *_ in world.server.ended}) < len(world.server.ended):
            return "a job has ended twice"
        if any(job.begun > 1 for job in jobs):
            return "a job was put in line twice"
        for at, times in enumerate(world.sent):
            if times < 0 and not jobs[at].state and self.plan.without != "tombstone":
                return f"job {at} was acknowledged and is lost"
        if self.plan.parents:
            over = all(jobs[at].state in OVER and jobs[at].state for at in self.plan.parents)
            if (jobs[-1].state != "b") != over:
                return "who waits has begun too early" if not over else "nobody tells who waits"
        if any(job.state == "q" and job.asked for job in jobs):
            return "a job that was asked to stop comes back"
        return None


def _with(server: Server, at: int, job: Job) -> Server:
    return server._replace(jobs=_put(server.jobs, at, job))


def _put(items: tuple[Any, ...], at: int, item: object) -> tuple[Any, ...]:
    return (*items[:at], item, *items[at + 1 :])


class Search(NamedTuple):
    """How many states there are, what is wrong with one of them, and how it is reached."""

    states: int
    fault: str | None
    way: list[str]


def search(plan: Plan) -> Search:
    """Look at every state, the nearest first."""
    protocol = Protocol(plan)
    first = protocol.beginning()
    came: dict[World, tuple[World, str] | None] = {first: None}
    todo = deque([first])
    while todo:
        world = todo.popleft()
        for name, following in protocol.steps(world):
            if following in came:
                continue
            came[following] = (world, name)
            fault = protocol.fault(following)
            if fault:
                return Search(len(came), fault, _way(came, following))
            todo.append(following)
    return Search(len(came), None, [])


def _way(came: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    steps: list[str] = []
    while before := came[world]:
        world, name = before
        steps.append(name)
    return steps[::-1]
