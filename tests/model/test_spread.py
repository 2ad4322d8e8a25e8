"""What PARTITIONS says, and where it puts jobs."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from quaff import ConfigurationError, Quaff
from quaff.model import ids
from quaff.model.spread import Spread, spread


@pytest.mark.parametrize("given", ["mail=8, thumbs=4", {"mail": 8, "thumbs": "4", "one": 1}])
def test_text_and_mapping_say_the_same(given: Any) -> None:
    """What has one is like any other queue."""
    assert dict(spread(given, "here")) == {"mail": 8, "thumbs": 4}


def test_it_can_be_set_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In code, in the environment, in a file."""
    monkeypatch.chdir(tmp_path)
    assert dict(Quaff(partitions={"mail": 8}).settings.partitions) == {"mail": 8}
    (tmp_path / "pyproject.toml").write_text("[tool.quaff.partitions]\nmail = 3\n")
    assert dict(Quaff().settings.partitions) == {"mail": 3}
    monkeypatch.setenv("QUAFF_PARTITIONS", "mail=4")
    assert dict(Quaff().settings.partitions) == {"mail": 4}


@pytest.mark.parametrize(
    "given", ["mail", "mail=0", "mail=x", "mail=257", "ma il=2", "=2", {"mail": 2.0}, {"mail": True}, 8]
)
def test_what_cannot_be_is_refused(given: Any) -> None:
    """Saying where it was set."""
    with pytest.raises(ConfigurationError, match=r"queue name|partitions=.* from here"):
        spread(given, "here")


def test_jobs_are_spread_evenly() -> None:
    """Both those that are sent one by one and those with a key."""
    over = Spread({"mail": 8})
    for raws in ([ids.new_raw() for _ in range(8000)], [ids.keyed_raw("mail", "send", str(n)) for n in range(8000)]):
        counts = Counter(over.home("mail", raw).partition for raw in raws)
        assert counts.keys() == set(range(8))
        assert min(counts.values()) > 800


def test_an_id_has_one_home_whoever_asks() -> None:
    """A run of a job of a flow that follows another one is in the same partition; other queues have one."""
    over, raw = Spread({"mail": 8}), os.urandom(16)
    assert over.home("mail", raw) == over.home("mail", raw)
    assert over.home("mail", ids.next_raw(raw)).partition == over.home("mail", raw).partition
    assert over.home("other", raw).partition == 0
