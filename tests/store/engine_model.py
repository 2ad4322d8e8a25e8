"""A small model of the engine: what it promises, in Python, with nothing about how."""

from __future__ import annotations

from dataclasses import dataclass, field

from quaff.model.states import JobState
from quaff.store.transitions import Lease, Verdict
from tests.store.engine import RULES, Dump, process_id

OK, ALREADY, FENCED, GONE, _ = Verdict
LETTER = {JobState.SUCCEEDED: "s", JobState.FAILED: "f", JobState.CANCELLED: "c", JobState.EXPIRED: "e"}
GHOST = b"ghost"  # after the id of an entry in a line whose job was cancelled
NAME = {letter: str(state) for state, letter in LETTER.items()}


@dataclass
class Job:
    """One job as the model knows it; ``where``: ready, solo, parked, sched, active or ended."""

    message: bytes
    where: str = "ready"
    process: bytes = b""
    token: bytes = b""
    letter: str = ""
    kept: bool = False  # its result
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

    def end(self, id: bytes, letter: str, *, kept: bool) -> None:
        """A job ends, once."""
        job = self.jobs[id]
        assert id not in self.ended
        self.ended[id] = letter
        job.where, job.letter, job.kept, job.letter_kept = "ended", letter, kept, letter == "f"
        job.attempts = job.crashes = job.lapses = job.failures = 0
        job.before, job.asked = b"", False
        self.count[NAME[letter]] += 1

    def back(self, id: bytes, where: str, *, tail: bool = False) -> None:
        """A job waits again, at the head of its line unless ``tail``; or it ends, because it was asked to stop."""
        if self.jobs[id].asked:
            self.end(id, "c", kept=True)
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
        self.end(id, "c", kept=True)
        return b"c"

    def charge(self, id: bytes) -> None:
        """One crash."""
        job = self.jobs[id]
        job.attempts += 1
        job.crashes += 1
        if job.crashes < RULES.max_crashes or job.asked:
            self.back(id, "solo", tail=True)
        else:
            self.end(id, "f", kept=True)

    def agrees(self, dump: Dump) -> None:
        """The dump shows what the model says (I4, I16, and the others once more)."""
        at: dict[str, set[bytes]] = {name: set() for name in ("ready", "solo", "parked", "sched", "active", "ended")}
        for id, job in self.jobs.items():
            at[job.where].add(id)
        for line, waiting, real in (("ready", self.ready, dump.ready), ("solo", self.solo, dump.solo)):
            assert [entry[:16] for entry in waiting] == real  # I16, and what comes back comes back in order
            assert {entry for entry in waiting if not entry.endswith(GHOST)} == at[line]
        assert set(dump.sched) == at["sched"]
        assert set(dump.stop) == {id for id, job in self.jobs.items() if job.asked}
        assert (set(dump.parked), set(dump.active), set(dump.tomb)) == (at["parked"], at["active"], at["ended"])
        assert dump.active == {id: self.jobs[id].token for id in at["active"]}
        assert set(dump.held) == {self.jobs[id].process + id for id in at["active"]}
        assert set(dump.res) == {id for id, job in self.jobs.items() if job.kept}
        for id, tomb in dump.tomb.items():
            assert tomb[:1].decode().lower() == self.jobs[id].letter == self.ended[id]
            assert (tomb[:1] == b"S") == (self.ended[id] == "s" and not self.jobs[id].kept)
            assert tomb[14:].startswith(self.jobs[id].token + b"|")  # I4: the run that was recorded is the one told OK
        assert dump.tries == {
            id: b"%d %d %d %d %b" % (j.attempts, j.crashes, j.lapses, j.failures, j.before)
            for id, j in self.jobs.items()
            if j.where != "ended" and (j.crashes or j.lapses or j.before)
        }
        assert {name: dump.number(name) for name in self.count} == self.count
        assert len(set(self.answered_ok)) == len(self.answered_ok)  # I4
        # I9, I10: every message that is needed, byte for byte, and no other.
        assert dump.msg == {id: job.message for id, job in self.jobs.items() if job.where != "ended" or job.letter_kept}
        assert dump.wake or not self.ready  # nobody blocks here, so no hint is under way
