"""Tokens: who can read them, and what JobsApp needs for them."""

from __future__ import annotations

import pytest

from quaff import ConfigurationError, JobNotFound, Quaff
from quaff.asgi import JobsApp
from quaff.http.tickets import Signer


def test_a_token_is_good_for_whom_it_was_signed() -> None:
    """S19: one without a user for everybody; a number is the same user as its text."""
    signer = Signer(["one"])
    assert signer.read(signer.sign("id")) == "id"
    assert signer.read(signer.sign("id"), "ann") == "id"
    assert signer.read(signer.sign("id", 7), "7") == "id"
    for user in (None, "bob", "", "ann "):
        with pytest.raises(JobNotFound):
            signer.read(signer.sign("id", "ann"), user)


def test_a_token_names_no_user() -> None:
    """URLs are written to logs."""
    import base64

    token = Signer(["one"]).sign("id", "ann@example.com")
    assert b"ann" not in base64.urlsafe_b64decode(token.partition(".")[0] + "==")
    assert "ann" not in token


def test_users_cannot_be_mixed_up_by_what_they_are_called() -> None:
    """Not even with a name that looks like the beginning of another one."""
    signer = Signer(["one"])
    with pytest.raises(JobNotFound):
        signer.read(signer.sign("id", ":ann"), "ann")


def test_a_rotated_key_reads_what_the_old_one_signed() -> None:
    """The last one signs."""
    old = Signer(["old"]).sign("id", "ann")
    both = Signer(["old", "new"])
    assert both.read(old, "ann") == "id"
    assert Signer(["new"]).read(both.sign("id")) == "id"
    with pytest.raises(JobNotFound):
        Signer(["new"]).read(old, "ann")


@pytest.mark.parametrize("key", ["", [], ["good", ""]])
def test_an_empty_key_is_refused(key: str | list[str]) -> None:
    """It would sign what anybody can sign."""
    with pytest.raises(ConfigurationError, match="secret_key"):
        JobsApp(Quaff(), key)
