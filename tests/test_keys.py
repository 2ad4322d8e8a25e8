"""The settings of keys: where they come from, what is wrong with them, and that nobody shows them."""

from __future__ import annotations

import sys
from typing import Any

import flask
import pytest

from quaff import ConfigurationError, Quaff, config
from quaff.flask import Quaff as FlaskQuaff
from quaff.model import message
from quaff.model.sealing import BARE

ONE, TWO = "the first key of a test", "the second key of a test"


def test_no_keys_cost_nothing() -> None:
    """S4: without any, nothing is sealed and nothing is looked at."""
    assert Quaff().settings.seals is BARE
    assert (BARE.writes, BARE.checks, BARE.digest_key) == (False, False, b"")


@pytest.mark.parametrize(
    "given", [f"{ONE}, {TWO}", [ONE, TWO], (ONE.encode(), TWO.encode())], ids=["text", "list", "bytes"]
)
def test_keys_come_as_a_text_or_a_list(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """S5: the first one seals; from code, and a text from the environment, too."""
    settings = Quaff(signing_keys=given, encryption_keys=given, require_signed=True).settings
    assert settings.signing_keys == settings.encryption_keys == (ONE.encode(), TWO.encode())
    assert settings.seals.required
    if isinstance(given, str):
        monkeypatch.setenv("QUAFF_SIGNING_KEYS", given)
        monkeypatch.setenv("QUAFF_REQUIRE_SIGNED", "1")
        assert Quaff().settings.signing_keys == settings.signing_keys
        assert Quaff().settings.seals.required


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"signing_keys": [ONE, "short"]}, "key 2 of 2 has less than 16"),
        ({"encryption_keys": "short"}, "key 1 of 1"),
        ({"signing_keys": 5}, "a list of keys"),
        ({"signing_keys": [5]}, "a list of keys"),
        ({"require_signed": True}, "no key to verify with"),
        ({"require_signed": "perhaps", "signing_keys": [ONE]}, "true or false"),
    ],
)
def test_keys_that_cannot_be_are_refused(given: dict[str, Any], what: str) -> None:
    """S17: and the text has none of them."""
    with pytest.raises(ConfigurationError, match=what) as caught:
        Quaff(**given).settings  # noqa: B018
    assert "short" not in str(caught.value)
    assert ONE not in str(caught.value)


def test_keys_are_shown_nowhere() -> None:
    """S17: not in the settings' own text, either."""
    settings = Quaff(signing_keys=[ONE], encryption_keys=[TWO]).settings
    assert ONE not in repr(settings)
    assert TWO not in repr(settings)
    assert "keys" not in repr(settings).replace("signing keys", "").replace("encryption keys", "")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """S6: with what to install."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigurationError, match=r"ENCRYPTION_KEYS needs .*pip install 'quaff\[crypto\]'"):
        Quaff(encryption_keys=[ONE]).settings  # noqa: B018


def test_flask_signs_with_its_secret_key(server_url: str) -> None:
    """S4: with a key derived from it, and verifies with those before it; keys of Quaff's own go first."""
    app = flask.Flask("signing")
    app.config |= {"SECRET_KEY": "new secret", "SECRET_KEY_FALLBACKS": ["oldest", b"older"], "QUAFF_URL": server_url}
    app.config["QUAFF_NAMESPACE"] = "signing"
    quaff = FlaskQuaff(app)
    assert quaff.settings.signing_keys == (b"new secret", b"older", b"oldest")
    job = quaff.task(lambda: 1, name="one").delay()
    stored = quaff.store.run(_lookup(job))
    assert stored.message[:1] == b"\x06"
    assert b"new secret" not in stored.message
    assert message.decode(stored.message, seals=quaff.settings.seals, where=_where(job)).task == "one"
    own = config.resolve(app_config={**app.config, "QUAFF_SIGNING_KEYS": ONE})
    assert own.signing_keys == (ONE.encode(),)
    assert config.resolve(app_config={"SECRET_KEY": None}).seals is BARE


def _lookup(job: Any) -> Any:
    return job._call(all=True)


def _where(job: Any) -> message.Where:
    return message.Where("signing", job._id)
