"""The filter language: what it means, and what it says to what it does not understand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from quaff.errors import ConfigurationError
from quaff.model.filters import FIELDS, Filter, parse
from quaff.model.states import JobState

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ID = "mail-0-" + "0" * 32


def test_each_name_is_understood() -> None:
    """Several values with commas, or the name again; quotes around spaces."""
    found = parse(
        f'state:failed,retrying queue:mail task:mail.* id:{ID} error:Timeout error:"no route" since:2h '
        'until:2026-01-31T11:00+00:00 word "two words"',
        NOW,
    )
    assert found == Filter(
        (JobState.FAILED, JobState.RETRYING),
        ("mail",),
        ("mail.*",),
        (ID,),
        ("Timeout", "no route"),
        NOW - timedelta(hours=2),
        datetime(2026, 1, 31, 11, tzinfo=UTC),
        ("word", "two words"),
    )
    assert parse("") == parse("  ") == Filter()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stat:failed", "Did you mean 'state'?"),
        ("state:faild", "Did you mean 'failed'?"),
        ("state:", "needs a value"),
        ("id:12", "no job's id"),
        ("since:yesterday", "since:2h"),
        ('error:"open', "quote is not closed"),
        ("x" * 2001, "2,000 characters"),
    ],
)
def test_what_is_not_understood_is_said(text: str, says: str) -> None:
    """With what to write instead."""
    with pytest.raises(ConfigurationError, match=says):
        parse(text, NOW)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("task:mail.*", True),
        ("task:mail", False),
        ("task:other,mail.send", True),
        ("error:timeouterror", True),
        ("error:Timeout*", True),
        ("error:error", True),
        ("error:route", True),
        ("error:no*host", True),
        ("error:no*net", False),
        ("error:KeyError", False),
        ("since:2h", True),
        ("since:30m", False),
        ("until:30m", True),
        ("mail.send route", True),
        ("mail.send nowhere", False),
    ],
)
def test_a_job_is_meant_or_not(text: str, meant: bool) -> None:
    """One of the values of each name has to hold, and every word."""
    at = NOW - timedelta(hours=1)
    assert parse(text, NOW).has("mail.send", ID, "TimeoutError error", "No route to host", at) is meant


def test_who_has_no_time_is_not_since() -> None:
    """Nor until."""
    assert not parse("since:2h", NOW).has("t", ID, "", "", None)


def test_every_name_is_explained() -> None:
    """For help and completion."""
    assert set(FIELDS) == {"state", "queue", "task", "id", "error", "since", "until"}
