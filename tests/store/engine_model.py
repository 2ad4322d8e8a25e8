"""A small model of the engine: what it promises, in Python, with nothing about how."""

from __future__ import annotations

from dataclasses import dataclass, field

from quaff.model.states import JobState
from quaff.store.transitions import Lease, Verdict
from tests.store.engine import HOUR, POISON, RULES, Desk, Dump, process_id

OK, ALREADY, FENCED, GONE, _ = Verdict
LETTER = {JobState.SUCCEEDED: "s", JobState.FAILED: "f", JobState.CANCELLED: "c", JobState.EXPIRED: "e"}
GHOST = b"ghost"  # after the id of an entry in a line whose job was cancelled
CANCELLED = b"cancelled"  # the record of such a job
NAME = {letter: str(state) for state, letter in LETTER.items()}


@dataclass
class Job:
    """One job as the model knows it; ``where``: ready, solo, parked, sched, active or ended."""

    message: bytes
    where: str = "ready"
    process: bytes = b""
    token: bytes = b""
    letter: str = ""
    kept: bool = False  # its record
    record: bytes = b""
    letter_kept: bool = False  # its message, because it is a dead letter
    attempts: int = 0
    crashes: int = 0
    lapses: int = 0
    failures: int = 0
    before: bytes = b""  # the token of the attempt after which it came back
    asked: bool = False  # to stop

    @property
    def line(self) -> str:
        """Where it waits when it comes back from a sweep's parking."""
        return "solo" if self.crashes + self.lapses else "ready"


@dataclass(eq=False)
class Process:
    """A worker process: how many claims it sent, and number, id and count of the last."""

    id: bytes = field(default_factory=process_id)
    claims: int = 0
    last: tuple[int, bytes, int] | None = None


class World:
    """Where every job is, who holds it and how it ended; the lines of waiting jobs, their heads first."""

    def __init__(self) -> None:
        self.jobs: dict[bytes, Job] = {}
        self.ready: list[bytes] = []  # the head first
        self.solo: list[bytes] = []
        self.processes = [Process() for _ in range(3)]
        self.gone: list[Process] = []
        self.count = dict.fromkeys(("enqueued", "requeued", "retried", "snoozed", *NAME.values()), 0)
        self.tokens: set[bytes] = set()
        self.answered_ok: list[bytes] = []  # tokens
        self.ended: dict[bytes, str] = {}

    def held(self, process: Process) -> list[bytes]:
        """What it holds, by id."""
        return sorted(id for id, job in self.jobs.items() if job.where == "active" and job.process == process.id)

    def holds(self, process: Process, lease: Lease) -> bool:
        """Whether a lease is in force."""
        job = self.jobs.get(lease.id)
        return job is not None and job.where == "active" and (job.process, job.token) == (process.id, lease.token)

    def verdict(self, id: bytes, token: bytes) -> Verdict:
        """What a settle with a token that does not hold the job is told."""
        job = self.jobs.get(id)
        if job is None:
            return GONE
        return ALREADY if token == (job.token if job.where == "ended" else job.before) else FENCED

    def end(self, id: bytes, letter: str, record: bytes, *, kept: bool = True) -> None:
        """A job ends, once."""
        job = self.jobs[id]
        assert id not in self.ended
        self.ended[id] = letter
        job.where, job.letter, job.letter_kept = "ended", letter, letter == "f"
        job.kept, job.record = kept, record
        job.attempts = job.crashes = job.lapses = job.failures = 0
        job.before, job.asked = b"", False
        self.count[NAME[letter]] += 1

    def back(self, id: bytes, where: str, *, tail: bool = False) -> None:
        """A job waits again, at the head of its line unless ``tail``; or it ends, because it was asked to stop."""
        if self.jobs[id].asked:
            self.end(id, "c", CANCELLED)
            return
        self.jobs[id].where = where
        if where in ("ready", "solo"):
            line = self.ready if where == "ready" else self.solo
            line.insert(len(line) if tail else 0, id)

    def cancel(self, id: bytes) -> bytes:
        """What waits ends, what runs is asked; the answer."""
        job = self.jobs.get(id)
        if job is None:
            return b""
        if job.where == "ended":
            return job.letter.encode()
        if job.where == "active":
            job.asked = True
            return b"r"
        for line in (self.ready, self.solo):
            if id in line:
                line[line.index(id)] = id + GHOST
        job.token = b""
        self.end(id, "c", CANCELLED)
        return b"c"

    def charge(self, id: bytes) -> None:
        """One crash."""
        job = self.jobs[id]
        job.attempts += 1
        job.crashes += 1
        if job.crashes < RULES.max_crashes or job.asked:
            self.back(id, "solo", tail=True)
        else:
            self.end(id, "f", POISON)

    def agrees(self, dump: Dump) -> None:
        """The dump shows what the model says; what does not is told by the number of the invariant that it breaks."""
        at: dict[str, set[bytes]] = {name: set() for name in ("ready", "solo", "parked", "sched", "active", "ended")}
        for id, job in self.jobs.items():
            at[job.where].add(id)
        there = dump.msg.keys() | dump.tomb.keys()
        assert there >= self.jobs.keys(), f"I3: jobs that were accepted are nowhere: {self.jobs.keys() - there}"
        assert there <= self.jobs.keys(), f"I5: jobs that nobody sent: {there - self.jobs.keys()}"
        needed = {id: job.message for id, job in self.jobs.items() if job.where != "ended" or job.letter_kept}
        for complaint, found, expected in (
            ("I2: how jobs have ended", {id: tomb[:1].decode().lower() for id, tomb in dump.tomb.items()}, self.ended),
            ("I2: who has ended", set(dump.tomb), at["ended"]),
            ("I2: the outcomes", dump.res, {id: job.record for id, job in self.jobs.items() if job.kept}),
            (
                "I2: whose outcome was dropped",
                {id for id, tomb in dump.tomb.items() if tomb[:1] == b"S"},
                {id for id in at["ended"] if self.ended[id] == "s" and not self.jobs[id].kept},
            ),
            (
                "I4: another run is recorded than the one that was told OK",
                {id for id, tomb in dump.tomb.items() if not tomb[14:].startswith(self.jobs[id].token + b"|")},
                set(),
            ),
            ("I4: a token was told OK twice", len(set(self.answered_ok)), len(self.answered_ok)),
            ("I6: what runs", dump.active, {id: self.jobs[id].token for id in at["active"]}),
            ("I6: who holds it", set(dump.held), {self.jobs[id].process + id for id in at["active"]}),
            # Also what comes back comes back in its order.
            ("I16: the line", dump.ready, [entry[:16] for entry in self.ready]),
            ("I16: the line of those that run alone", dump.solo, [entry[:16] for entry in self.solo]),
            ("I1: who waits in line", {entry for entry in self.ready if not entry.endswith(GHOST)}, at["ready"]),
            ("I1: who waits to run alone", {entry for entry in self.solo if not entry.endswith(GHOST)}, at["solo"]),
            ("I1: who waits for its time", set(dump.sched), at["sched"]),
            ("I1: who is parked", set(dump.parked), at["parked"]),
            ("who was asked to stop", set(dump.stop), {id for id, job in self.jobs.items() if job.asked}),
            (
                "I8: what is counted of attempts",
                dump.tries,
                {
                    id: b"%d %d %d %d %b" % (j.attempts, j.crashes, j.lapses, j.failures, j.before)
                    for id, j in self.jobs.items()
                    if j.where != "ended" and (j.crashes or j.lapses or j.before)
                },
            ),
            ("I12: the counters", {name: dump.number(name) for name in self.count}, self.count),
            ("I10: whose messages are kept", dump.msg.keys(), needed.keys()),
            ("I9: the messages", dump.msg, needed),
        ):
            assert found == expected, f"{complaint}: {found!r}, and not {expected!r}"
        # Nobody blocks here, so no hint is under way.
        assert dump.wake or not self.ready, "I17: jobs wait in line, and nobody is woken"


def drain(desk: Desk) -> None:
    """One worker that lives, and no fault: everything comes to its end (I17), and no word of the model is needed."""
    dump, me = desk.dump(), process_id()
    for process in {*dump.lease, *(member[:8] for member in dump.held)}:
        while desk.reap(process)[2]:
            pass
    desk.let_patience_end()
    left = dump.msg.keys() - dump.tomb.keys()
    for _ in range(len(left) + 10):
        dump = desk.dump()
        left = dump.msg.keys() - dump.tomb.keys()
        if not left:
            return
        if dump.sched:
            desk.let_be_due(*dump.sched)
        desk.sweep(unpark=True)
        desk.settle(me, *desk.take(me, 50, idle=True), ttl_ms=HOUR)
    raise AssertionError(f"I17: jobs that nobody is handed: {left}")
