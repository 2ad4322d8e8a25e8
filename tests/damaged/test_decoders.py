"""S8: each bit of each small value, in process: what reads it gives something, or raises what its callers catch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from quaff.audit.picture import read_node, read_route, whole
from quaff.model import blocking, codec, events, flow, ids, outcome, presence, progress, steps, stored, tail, value
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.model.placement import Wishes, placement
from quaff.model.presence import DumpWord, WorkerWord
from quaff.model.progress import Progress
from quaff.model.sealing import BARE
from quaff.model.stored import Stored
from quaff.model.tail import framed
from quaff.store import parcels, queries, tallies, timetable
from quaff.store.tallies import Kind
from tests.damaged.damage import damaged

pack = msgspec.msgpack.encode
ATTEMPT = Attempt(1, 2, 3, "w", 4, "failed", Failure("error", "E", "no", "trace"), Progress(1, 2, "half", None))
WORD = WorkerWord("w", "h", 1, "1", [], 1, False, "8", 1, 0, [], [])
EDGES = pack(([(1, "fail")], [0], [0]))
Reader = Callable[[bytes], Any]


def _sends(*told: bytes) -> list[parcels.Delivery]:
    return [*parcels.deliveries("n", parcels._parcels([[*told]]), window_ms=1)]


#: Who reads it, and what he is given; first those that give something whatever they read.
SAFE: dict[str, tuple[Reader, bytes]] = {
    "a line": (lambda data: events.read_line(0, data), events.line(20, "log", 1, "text")),
    "an outcome": (outcome.read, outcome.encode(Outcome("t", 0, ATTEMPT))),
    "attempts": (outcome.decode_history, framed(outcome.encode(ATTEMPT)) * 2),
    "a piece of a tail": (lambda data: tail.page([0, 9, b"t", [0, data]]), framed(b"one") + framed(b"two")),
    "numbers": (tallies.numbers_of, pack({"s": 1, "d3": 1})),
    "a job that has ended": (tallies.read_ended, tallies.ended(b"", 1_700_000_000_000, "t", 0.1, 0.1).rjust(60, b"s")),
    "a change": (queries._change, pack((1, "who", "what", "about"))),
    "a rule": (blocking.words, blocking.encode("task", {"a": 7})),
    "the state of a schedule": (
        lambda data: timetable._timetable([1, -1, 0, b"name", b"", data]),
        pack((1, 2, 0, ids.new_raw().hex(), 3)),
    ),
    "the kind of a parcel": (lambda data: _sends(b"g", data, b"q#0", *[b"x"] * 6), b"go"),
    "where a parcel goes": (lambda data: _sends(b"g", b"go", data, *[b"x"] * 6), b"elsewhere#0"),
    "how long a parcel's job is kept": (
        lambda data: _sends(b"c", b"cancel", b"q#0", b"x", b"y", data, b"1", b"z"),
        b"60000",
    ),
    "a route": (read_route, placement("t", Wishes(0, 0, 5, None, (), None, "k"), {}).route),
    "a node": (read_node, pack(["q", 0, 0, 0, "", -1, 0, 0, "name", "x" * 16])),
    "a number": (whole, b"12345"),
}
RAISING: dict[str, tuple[Reader, bytes]] = {
    "a value": (codec.unpack, codec.pack([1, {"a": codec.Ext(1, codec.pack([2]))}])),
    "progress": (progress.decode, progress.encode(Progress(1, 2, "half", None))),
    "steps": (steps.decode, framed(b"1700000000000" + steps.encode("one", steps.DONE, 1, codec.pack(5)))),
    "the word of a worker": (
        presence.decode,
        presence.encode(WorkerWord("w", "h", 1, "1", [], 1, False, "8", 1, 0, [], [])),
    ),
    "where a job is": (presence.decode_dump, presence.encode(DumpWord(1, "w", 2, "File x"))),
    "a kind of failure": (tallies.read_kind, pack([*msgspec.to_builtins(Kind(1, 1, 1, 1, "[]")), "id"])),
    "where a result is": (stored.decode, stored.encode(Stored(stored.name_of(b"p", ids.new_raw(), b"t", ""), 9))),
    "a value that is not sealed": (lambda data: value.unseal(data, BARE, "n", "q", 0), codec.pack(5)),
    "the edges of a node": (lambda data: flow.node(0, (b"n", b"q", b"j" * 16, 0, data, -1, 0, b""), 2), EDGES),
    "how a node stands": (lambda data: flow.node(0, (b"n", data, b"j" * 16, 0, EDGES, -1, 0, b""), 2), b"q"),
}


@pytest.mark.parametrize("what", SAFE)
def test_it_is_read_whatever_became_of_it(what: str) -> None:
    """S8: bits, ends, bombs."""
    read, good = SAFE[what]
    assert read(good)
    for data in damaged(good):
        read(data)


@pytest.mark.parametrize("what", RAISING)
def test_nothing_is_raised_that_its_callers_do_not_catch(what: str) -> None:
    """S8: bits, ends, bombs; a StoreError, or what is told as corrupt, is made of these."""
    read, good = RAISING[what]
    assert read(good)
    for data in damaged(good):
        try:
            read(data)
        except codec.UNREADABLE:
            pass


@pytest.mark.parametrize("kind", parcels._KINDS)
def test_a_parcel_with_a_part_too_few_or_many_is_not_read_into_its_neighbours(kind: str) -> None:
    """S8: those of a kind go in one call, part behind part."""
    numbers = parcels._KINDS[kind].parts
    for count in range(max(numbers) + 3):
        assert bool(_sends(b"n", kind.encode(), b"q#0", *[b"1"] * count)) == (count in numbers)
