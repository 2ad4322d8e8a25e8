"""Stores of results: files that hold what they are told, under no name but ours, whoever clears them meanwhile."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from quaff import ConfigurationError, FileResults, Quaff, ResultStore
from quaff.flask import Quaff as FlaskQuaff
from quaff.model import codec, message, stored
from quaff.model.message import CorruptMessage
from quaff.model.outcome import Attempt, Outcome, encode
from quaff.model.stored import Stored
from quaff.quart import Quaff as QuartQuaff

FLOW = "default-0-" + "ab" * 16


def name(number: int = 0, flow: str = "") -> str:
    """A name as workers make them."""
    return stored.name_of(b"place", bytes(16), b"%d" % number, flow)


@pytest.fixture
def results(tmp_path: Path) -> FileResults:
    """A store whose directory is not there yet."""
    return FileResults(tmp_path / "deep" / "results")


def test_what_was_put_is_there_until_it_is_deleted(results: FileResults) -> None:
    """Also what is empty; and what is not there is None, and no trouble to delete or to keep."""
    assert isinstance(results, ResultStore)
    assert results.get(name()) is None
    assert results.overdue(10) == []
    results.put(name(1), b"\x00\xff" * 1000, 60)
    results.put(name(2), b"", 60)
    assert (results.get(name(1)), results.get(name(2))) == (b"\x00\xff" * 1000, b"")
    results.delete(name(1))
    results.delete(name(1))
    results.keep(name(1), 60)
    assert results.get(name(1)) is None


@pytest.mark.parametrize(
    "bad", ["", "..", "../x", "/etc/passwd", "ab/../../x", "ab\0", "a", "ab" * 200, "..abc", "ab\n", "abc.part", "äbc"]
)
def test_no_name_leads_out_of_the_directory(results: FileResults, bad: str, tmp_path: Path) -> None:
    """It is refused by every method."""
    calls = (
        lambda: results.put(bad, b"", 1),
        lambda: results.get(bad),
        lambda: results.delete(bad),
        lambda: results.keep(bad, 1),
    )
    for call in calls:
        with pytest.raises(ValueError, match="is no name of a result"):
            call()
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "bad",
    [
        ["../../etc/passwd" + "0" * 40, 5],
        [name() + "/../x", 5],
        [name() + "-" + "x" * 40, 5],
        [name(), "5"],
        [name()],
        {"name": name()},
        [name().upper().replace("0", "G"), 5],
    ],
)
def test_a_forged_reference_is_no_value_and_makes_a_message_corrupt(bad: Any) -> None:
    """Whatever stands in a record, or among the arguments, where a reference has no business to be."""
    forged = codec.pack(codec.Ext(codec.STORED, codec.pack(bad)))
    with pytest.raises(ValueError, match="under a name that no worker makes"):
        stored.decode(forged)
    record = encode(Outcome("t", 0, Attempt(1, 0, 0, "", 0, "succeeded"), message.msgspec.Raw(forged)))
    given = b"\x04" + (len(record) + 4).to_bytes(4, "big") + len(record).to_bytes(4, "big") + record
    with pytest.raises(CorruptMessage, match="under a name that no worker makes"):
        message.decode(given + message.encode("t", [1], {}))
    whole = stored.encode(Stored(name(), 5))
    with pytest.raises(CorruptMessage, match="unknown extension type"):
        message.decode(b"\x01\x94\xa1t\x91" + whole + b"\x80\x00")


def test_a_reference_comes_back_and_nothing_else_is_one() -> None:
    """With a flow of the longest queue name, too; values of users are never taken for one."""
    for flow in ("", FLOW, "q" * 128 + "-9999-" + "ab" * 16):
        there = Stored(name(flow=flow), 2**40)
        assert stored.decode(stored.encode(there)) == there
        assert len(there.name) <= 220
        assert str(stored.flow_of(there.name) or "") == flow
    assert stored.job_of(name(flow=FLOW)) == "default-0-" + "00" * 16
    for value in (None, b"\xc7\x20\x0f" + bytes(32), "x" * 40, [name(), 5], tuple(range(20)), {1, 2}, 2**200):
        assert stored.decode(codec.encode(value)) is None


def test_files_are_overdue_by_their_time_and_may_be_kept(results: FileResults) -> None:
    """No more at a time than asked for; what a dead process has half written goes after a day."""
    for number in range(30):
        results.put(name(number), b"x", 60 if number % 3 else -1)
    assert len(results.overdue(100)) == 10
    assert len(results.overdue(4)) == 4
    results.keep(name(0), 60)
    assert set(results.overdue(100)) == {name(number) for number in range(3, 30, 3)}
    path = results._path(name(0))
    part = path.with_name(name(99) + ".part")
    part.write_bytes(b"half")
    assert len(results.overdue(100)) == 9
    assert part.exists()
    os.utime(part, (0, time.time() - 2 * 24 * 3600))
    assert len(results.overdue(100)) == 9
    assert not part.exists()


def test_many_may_clear_and_put_at_the_same_time(results: FileResults) -> None:
    """Nobody is in the way of another, and only what is overdue goes."""
    for number in range(400):
        results.put(name(number), b"old", -1)

    def clear(_: int) -> int:
        names = results.overdue(1000)
        for each in names:
            results.delete(each)
        return len(names)

    def put(number: int) -> None:
        results.put(name(1000 + number), b"new", 60)

    with ThreadPoolExecutor(8) as pool:
        cleared = pool.map(clear, range(8))
        list(pool.map(put, range(200)))
        assert sum(cleared) >= 400
    assert results.overdue(1000) == []
    assert all(results.get(name(number)) is None for number in range(400))
    assert all(results.get(name(1000 + number)) == b"new" for number in range(200))


def test_a_put_that_fails_leaves_nothing(results: FileResults, tmp_path: Path) -> None:
    """Here because there is something else in the way."""
    results.put(name(), b"x", 60)
    blocked = results._path(name(1))
    blocked.mkdir(parents=True)
    with pytest.raises(OSError, match=name(1)):
        results.put(name(1), b"x", 60)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [results._path(name())]


@pytest.mark.parametrize("make", [Quaff, FlaskQuaff, QuartQuaff], ids=["plain", "flask", "quart"])
def test_what_is_no_store_is_refused_at_once(make: Any, tmp_path: Path) -> None:
    """With the nearest thing that is one; Flask's and Quart's Quaff take a store as the plain one does."""
    assert make(results=FileResults(tmp_path)).results is not None
    assert make().results is None
    with pytest.raises(ConfigurationError, match=r"FileResults\('/var/lib/shop'\) keeps them in a directory"):
        make(results="/var/lib/shop")
    for wrong in (FileResults, object(), 5):
        with pytest.raises(ConfigurationError, match="put, get, delete, keep and overdue"):
            make(results=wrong)
