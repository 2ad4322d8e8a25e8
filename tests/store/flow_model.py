"""A small model of flows and of what their jobs remember: what is promised, in Python, with nothing about how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from quaff.model import steps
from quaff.model.steps import DONE, RECEIVED, WAIT
from tests.store.engine import RULES, Dump, flow_nodes
from tests.store.flows import Drawn


@dataclass
class Member:
    """A job of a flow; ``where``: unborn (it undoes another one), blocked, waits, sleeps, runs or ended."""

    id: bytes
    message: bytes
    where: str
    process: bytes = b""
    token: bytes = b""
    letter: str = ""
    record: bytes = b""
    crashes: int = 0
    asked: bool = False
    spared: bool = False
    steps: dict[str, tuple[str, str, bytes]] = field(default_factory=dict)  # kind, signal and value by name
    signals: list[tuple[bytes, str, bytes]] = field(default_factory=list)
    awaits: str = ""  # the signal for which it sleeps


class Flow:
    """How the jobs of one flow stand, and what comes of the end of one.

    Args:
        id: the flow's.
        nodes: as it was drawn.
        jobs: in the order of their places, those that undo others behind.
    """

    def __init__(self, id: bytes, nodes: Sequence[Drawn], jobs: Sequence[Member]) -> None:
        self.id = id
        self.jobs = list(jobs)
        self.parents = [node.parents for node in nodes] + [{}] * (len(jobs) - len(nodes))
        self.inputs = [list(node.parents) for node in nodes]
        self.cases = [node.case for node in nodes] + [""] * (len(jobs) - len(nodes))
        self.undoers: dict[int, int] = {}
        for place in (place for place, node in enumerate(nodes) if node.undone):
            self.undoers[place] = len(self.inputs)
            self.inputs.append([place])
        self.to_undo: list[int] = []
        self.bad = self.stopped = False
        self.letter = ""

    def children(self, place: int) -> dict[int, str]:
        """Who waits for one, and how."""
        return {below: parents[place] for below, parents in enumerate(self.parents) if place in parents}

    def needs(self, place: int) -> int:
        """How many of those that one waits for go on."""
        return sum(not self.jobs[parent].letter for parent in self.parents[place])

    def handed(self, place: int) -> bytes:
        """The message that a worker is given: the results it takes, before its own bytes."""
        records = b"".join(
            len(record).to_bytes(4, "big") + record
            for record in (self.jobs[each].record for each in self.inputs[place])
        )
        own = self.jobs[place].message
        return b"\x04" + len(records).to_bytes(4, "big") + records + own if records else own

    def end(self, place: int, letter: str, record: bytes = b"", *, counts: bool = True) -> None:
        """A job ends, with all that follows of it; without ``counts`` it did so because of another one."""
        ending = [(place, letter, record, counts)]
        for at, letter_of, kept, own in ending:  # which grows
            job = self.jobs[at]
            assert not job.letter, "it has ended before"
            job.where, job.letter, job.awaits = "ended", letter_of, ""
            job.record = kept if letter_of == "s" else b""
            if letter_of != "f":
                job.steps, job.signals = {}, []
            below = self.children(at)
            if letter_of == "s":
                self.to_undo += [self.undoers[at]] if at in self.undoers else []
            elif own and (not below or set(below.values()) != {"ignore"}):
                self.bad = True
            for child in below:
                if self.jobs[child].where == "blocked" and self.needs(child) == 0:
                    ending += self._decide(child, {each[0] for each in ending})
        self._rest()

    def _decide(self, place: int, going: set[int]) -> list[tuple[int, str, bytes, bool]]:
        job = self.jobs[place]
        if place in going:
            return []
        lost = [
            policy
            for parent, policy in self.parents[place].items()
            if self.jobs[parent].letter != "s" and not self.jobs[parent].spared
        ]
        spared = bool(self.cases[place]) and not lost
        if self.stopped or spared or (not self.cases[place] and "fail" in lost):
            job.spared = spared and not self.stopped
            return [(place, "c", b"", False)]
        job.where = "waits"
        return []

    def _rest(self) -> None:
        if all(job.letter or job.where == "unborn" for job in self.jobs) and not self.letter:
            if self.to_undo and (self.bad or self.stopped):
                self.jobs[self.to_undo.pop()].where = "waits"
            else:
                self.letter = "c" if self.stopped else "f" if self.bad else "s"

    def stop(self) -> None:
        """It is called off: what waits ends, what runs is asked, what undoes goes on."""
        self.stopped = True
        for place, job in enumerate(self.jobs[: len(self.jobs) - len(self.undoers)]):
            if job.where == "runs":
                job.asked = True
            elif job.where in ("blocked", "waits", "sleeps"):
                self.end(place, "c", counts=False)


class Flows:
    """All flows, and who runs what of them."""

    def __init__(self) -> None:
        self.flows: list[Flow] = []
        self.places: dict[bytes, tuple[Flow, int]] = {}

    def add(self, flow: Flow) -> None:
        """One more."""
        self.flows.append(flow)
        self.places |= {job.id: (flow, place) for place, job in enumerate(flow.jobs)}

    @property
    def jobs(self) -> list[Member]:
        """Of all flows."""
        return [job for flow in self.flows for job in flow.jobs]

    def end(self, job: Member, letter: str, record: bytes = b"") -> None:
        """One ends by itself."""
        flow, place = self.places[job.id]
        flow.end(place, letter, record)

    def back(self, job: Member) -> None:
        """An attempt is over, and its job waits again; or it ends, because it was asked to stop."""
        if job.asked:
            self.end(job, "c")
        else:
            job.where, job.process, job.token = "waits", b"", b""

    def crash(self, job: Member) -> None:
        """It has ended its process."""
        job.crashes += 1
        if job.crashes == RULES.max_crashes and not job.asked:
            self.end(job, "f")
        else:
            self.back(job)

    def cancel(self, job: Member) -> bytes:
        """One is called off alone; the answer."""
        if job.letter:
            return job.letter.encode()
        if job.where == "runs":
            job.asked = True
            return b"r"
        self.end(job, "c")
        return b"c"

    def remember(self, job: Member, name: str, value: bytes) -> None:
        """A step is done; one that was done before stays as it is."""
        job.steps.setdefault(name, (DONE, "", value))

    def receive(self, job: Member, name: str) -> bytes | None:
        """What a job that looks for a signal gets, now or when it looked before; None: nothing yet."""
        kind, _, value = job.steps.get(name, ("", "", b""))
        if kind == RECEIVED:
            return value
        found = next((each for each in job.signals if each[1] == name), None)
        if found is None:
            return None
        job.signals.remove(found)
        job.steps[name] = (RECEIVED, name, found[2])
        return found[2]

    def suspend(self, job: Member, name: str) -> None:
        """It waits for a signal, unless that has come."""
        if not job.asked:
            job.steps.setdefault(name, (WAIT, name, b""))
        came = any(each[1] == name for each in job.signals)
        self.back(job)
        if job.where == "waits" and not came:
            job.where, job.awaits = "sleeps", name

    def signal(self, job: Member, id: bytes, name: str, value: bytes) -> bytes:
        """One is sent; the answer."""
        if job.letter:
            return job.letter.encode()
        if job.where == "unborn":
            return b""
        job.signals.append((id, name, value))
        if job.awaits == name:
            job.where, job.awaits = "waits", ""
        return b"d"

    def agrees(self, dump: Dump) -> None:
        """The dump shows what the model says of every job, every node and every flow."""
        ready, solo, _ = dump.lines()
        at: dict[str, set[bytes]] = {name: set() for name in ("unborn", "blocked", "waits", "sleeps", "runs", "ended")}
        for job in self.jobs:
            at[job.where].add(job.id)
        assert {*ready, *solo} == at["waits"]
        assert set(dump.sched) == at["sleeps"]
        assert dump.active == {job.id: job.token for job in self.jobs if job.where == "runs"}
        assert set(dump.held) == {job.process + job.id for job in self.jobs if job.where == "runs"}
        assert set(dump.stop) == {job.id for job in self.jobs if job.asked and job.where == "runs"}
        assert {id: tomb[:1].decode().lower() for id, tomb in dump.tomb.items()} == {
            **{job.id: job.letter for job in self.jobs if job.letter},
            **{flow.id: flow.letter for flow in self.flows if flow.letter},
        }
        assert set(dump.msg) == {job.id for job in self.jobs if job.where != "unborn" and job.letter in ("", "f")}
        self._nodes_agree(dump)
        remembered = {
            id: [(each.name, (each.kind, each.signal, each.value)) for each in steps.decode(text)]
            for id, text in dump.steps.items()
        }
        assert remembered == {job.id: list(job.steps.items()) for job in self.jobs if job.steps}
        assert {id: signals_in(text) for id, text in dump.signals.items()} == {
            job.id: job.signals for job in self.jobs if job.signals
        }

    def _nodes_agree(self, dump: Dump) -> None:
        found = flow_nodes(dump)
        assert set(found) == {
            flow.id + place.to_bytes(4, "big") for flow in self.flows for place in range(len(flow.jobs))
        }
        for flow in self.flows:
            words = {"unborn": "u", "blocked": ""}
            for place, job in enumerate(flow.jobs):
                node = found[flow.id + place.to_bytes(4, "big")]
                assert (node.job, node.state) == (job.id, job.letter or words.get(job.where, "q"))
                assert node.state or node.needs == flow.needs(place)
                assert dict(node.children) == flow.children(place)
            kept = {field: value for field, value in dump.values.items() if field[:16] == flow.id}
            assert kept == {
                flow.id + place.to_bytes(4, "big"): job.record
                for place, job in enumerate(flow.jobs)
                if job.letter == "s"
            }
            number = {word: dump.flows.get(flow.id + word.encode()) for word in ("open", "bad", "stop", "undo")}
            assert int(number["open"] or 0) == sum(not job.letter and job.where != "unborn" for job in flow.jobs)
            assert ((number["bad"] is not None), (number["stop"] is not None)) == (flow.bad, flow.stopped)
            assert (number["undo"] or b"") == b"".join(place.to_bytes(4, "big") for place in flow.to_undo)


def signals_in(text: bytes) -> list[tuple[bytes, str, bytes]]:
    """Id, name and value of signals that a job was sent and has not taken."""
    found: list[tuple[bytes, str, bytes]] = []
    while text:
        size = 4 + int.from_bytes(text[:4], "big")
        record, text = text[4:size], text[size:]
        end = 17 + record[16]
        found.append((record[:16], record[17:end].decode(), record[end:]))
    return found
