"""Settings: where they come from, which goes before which, and what is told of one that cannot be."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from quaff import ConfigurationError, Quaff, ServerUnavailable, config
from quaff.config import Settings
from quaff.flask import Quaff as FlaskQuaff

SAMPLES: dict[str, Any] = {
    "url": "redis://127.0.0.1:1/3",
    "namespace": "shop",
    "lease": 31.5,
    "grace": 0.0,
    "deadline": 1.5,
    "durability": "replicas:2",
    "result_ttl": 0.0,
    "failed_ttl": 60.0,
    "failed_count": 7,
    "failed_bytes": 8,
    "timeout": 9.5,
    "key_window": 61.0,
    "max_message": 1,
    "max_result": 2,
    "processes": 3,
    "concurrency": 4,
    "async_concurrency": 5,
    "job_log_level": "DEBUG",
    "max_crashes": 6,
    "statistics": False,
    "dashboard_user": "ann",
    "dashboard_password": "s3cret",
    "webhook_key": "s3cret of a receiver",
    "alert_wait": 12.0,
}

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: Patch) -> Path:
    """A working directory without a pyproject.toml."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def by_flag(name: str, value: Any, monkeypatch: Patch) -> Settings:
    """On a command line."""
    quaff = Quaff()
    quaff.override(**{name: value})
    return quaff.settings


def by_environment(name: str, value: Any, monkeypatch: Patch) -> Settings:
    """In a variable."""
    monkeypatch.setenv(f"QUAFF_{name.upper()}", str(value))
    return Quaff().settings


def by_code(name: str, value: Any, monkeypatch: Patch) -> Settings:
    """As an argument."""
    return Quaff(**{name: value}).settings


def by_app_config(name: str, value: Any, monkeypatch: Patch) -> Settings:
    """In Flask's configuration, of which the other keys are not ours."""
    app = Flask("app")
    app.config.from_mapping({f"QUAFF_{name.upper()}": value, "LEASE": 7, "SECRET_KEY": "one"})
    return FlaskQuaff(app).settings


def by_pyproject(name: str, value: Any, monkeypatch: Patch) -> Settings:
    """In a file."""
    Path("pyproject.toml").write_text(f"[tool.quaff]\n{name} = {json.dumps(value)}\n")
    return Quaff().settings


SOURCES = {
    "the command line": by_flag,
    "QUAFF_{} in the environment": by_environment,
    "Quaff(...)": by_code,
    "app.config": by_app_config,
    "[tool.quaff] in pyproject.toml": by_pyproject,
}

everywhere = pytest.mark.parametrize("source", SOURCES)


def test_there_is_a_sample_of_each_setting() -> None:
    """And each differs from its default, so that it is seen to arrive."""
    defaults = Quaff().settings
    of_keys = {"signing_keys", "encryption_keys", "require_signed", "seals"}  # see tests/test_keys.py
    # "partitions" is written otherwise in each: see tests/model/test_spread.py.
    # "webhook_url" is refused without a key: see tests/worker/test_alerts.py.
    assert SAMPLES.keys() == set(Settings.__struct_fields__) - {"url_source", "partitions", "webhook_url", *of_keys}
    assert [name for name, value in SAMPLES.items() if getattr(defaults, name) == value] == []


@everywhere
@pytest.mark.parametrize("name", SAMPLES)
def test_each_setting_can_come_from_everywhere(name: str, source: str, monkeypatch: Patch) -> None:
    """With the type it has to have; the others keep their defaults."""
    defaults = Quaff().settings
    settings = SOURCES[source](name, SAMPLES[name], monkeypatch)
    value = getattr(settings, name)
    assert (value, type(value)) == (SAMPLES[name], type(SAMPLES[name]))
    assert [other for other in SAMPLES if getattr(settings, other) != getattr(defaults, other)] == [name]


@everywhere
def test_the_url_says_where_it_was_set(source: str, monkeypatch: Patch) -> None:
    """For errors and logs."""
    assert SOURCES[source]("url", "redis://here", monkeypatch).url_source == source.format("URL")


@pytest.mark.parametrize("nothing", [None, ""], ids=["not set", "set to nothing"])
def test_each_source_goes_before_the_next(nothing: str | None, workplace: Path, monkeypatch: Patch) -> None:
    """Flag > environment > code > pyproject.toml > VALKEY_URL > REDIS_URL > default; what is empty does not count."""
    for name in ("QUAFF_URL", "VALKEY_URL", "REDIS_URL"):
        monkeypatch.setenv(name, f"redis://{name}")
    (workplace / "pyproject.toml").write_text('[tool.quaff]\nurl = "redis://pyproject"\n')
    flags: dict[str, Any] = {"url": "redis://flag"}
    code: dict[str, Any] = {"url": "redis://code"}

    def unset(name: str) -> None:
        monkeypatch.delenv(name) if nothing is None else monkeypatch.setenv(name, nothing)

    take_away: list[Callable[[], object]] = [
        lambda: flags.update(url=None),
        lambda: unset("QUAFF_URL"),
        lambda: code.update(url=None),
        (workplace / "pyproject.toml").unlink,
        lambda: unset("VALKEY_URL"),
        lambda: unset("REDIS_URL"),
    ]
    seen = []
    for step in (lambda: None, *take_away):
        step()
        quaff = Quaff(**code)
        quaff.override(**flags)
        seen.append(quaff.settings.url)
    assert seen == [
        "redis://flag",
        "redis://QUAFF_URL",
        "redis://code",
        "redis://pyproject",
        "redis://VALKEY_URL",
        "redis://REDIS_URL",
        f"embedded://{workplace}/.quaff",
    ]


# Settings that cannot be


@everywhere
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("lease", "soon", "give a number"),
        ("concurrency", "many", "give a whole number"),
        ("concurrency", 1.5, "give a whole number"),
        ("max_message", "256 KiB", "give a whole number"),
        ("namespace", "two words", "use 1 to 128 of the characters A-Z a-z 0-9 . _ -"),
        ("namespace", "a}b", "use 1 to 128 of the characters"),
    ],
)
def test_a_wrong_value_is_told_with_its_name_and_where_it_was_set(
    name: str, value: Any, told: str, source: str, monkeypatch: Patch
) -> None:
    """And with what would be right."""
    with pytest.raises(ConfigurationError) as caught:
        SOURCES[source](name, value, monkeypatch)
    shown = str(value) if source.endswith("environment") else value
    assert str(caught.value).startswith(f"{name}={shown!r} from {source.format(name.upper())}: {told}")
    assert str(caught.value).endswith(" [QF001]")


@pytest.mark.parametrize("value", [True, [], b"1"], ids=repr)
def test_a_value_of_another_kind_is_refused(value: object) -> None:
    """Rather than taken for a number."""
    with pytest.raises(ConfigurationError, match=r"^concurrency=.* from Quaff\(\.\.\.\): give a whole number"):
        _ = Quaff(concurrency=value).settings


def test_an_unknown_setting_in_code_is_told_with_the_nearest_known_one() -> None:
    """It can only be a mistake there: where it is written, not where a job is first sent."""
    with pytest.raises(ConfigurationError) as caught:
        Quaff(namspace="shop")
    assert str(caught.value) == "unknown setting 'namspace' in Quaff(...). Did you mean 'namespace'? [QF001]"
    quaff = Quaff()
    quaff.override(leese=1)
    with pytest.raises(ConfigurationError, match=r"^unknown setting 'leese' in the command line\. Did you"):
        _ = quaff.settings


def test_where_a_url_comes_from_cannot_be_set() -> None:
    """It is told, not given."""
    with pytest.raises(ConfigurationError, match=r"^unknown setting 'url_source'"):
        _ = Quaff(url_source="me").settings


def test_an_unknown_key_of_an_app_config_is_warned_about(monkeypatch: Patch) -> None:
    """It may belong to an extension."""
    with pytest.warns(UserWarning, match="QUAFF_LEESE.* is no setting of Quaff. Did you mean 'QUAFF_LEASE'"):
        by_app_config("leese", 1, monkeypatch)


def test_a_pyproject_that_cannot_be_read_is_told(workplace: Path) -> None:
    """With its path; one without a table of ours is fine."""
    file = workplace / "pyproject.toml"
    file.write_text("[tool.other]\nlease = 1\n")
    assert Quaff().settings.lease == Settings().lease
    file.write_text("[tool.quaff")
    with pytest.raises(ConfigurationError, match=rf"^{re.escape(str(file))} cannot be read: .*\[QF001\]$"):
        _ = Quaff().settings


def test_settings_are_shown_without_their_password() -> None:
    """S17: in a log, at the prompt, and in the traceback of an error."""
    quaff = Quaff("redis://ann:s3cret@127.0.0.1:1/0", deadline=0.1)
    with pytest.raises(ServerUnavailable) as caught:
        quaff.job("default-0-" + "0" * 32).info()
    texts = [repr(quaff.settings), str(quaff.settings), *traceback.format_exception(caught.value)]
    assert texts[0].startswith(
        "Settings(url='redis://ann:***@127.0.0.1:1/0', url_source='Quaff(...)', namespace='quaff', "
    )
    assert [text for text in texts if "s3cret" in text] == []


# The page


def test_the_page_has_each_setting_with_its_default_and_no_other() -> None:
    """docs/configuration.md is the list that people read."""
    text = (Path(config.__file__).parents[2] / "docs" / "configuration.md").read_text()
    text = text.partition("\n## ")[0]
    told: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| ([A-Z_]+(?:, [A-Z_]+)*) \| (.*?) \|", text, re.MULTILINE):
        told.update(zip(names.lower().split(", "), defaults.replace("`", "").split(", "), strict=True))
    known = {name: str(getattr(Settings(), name)) for name in SAMPLES}
    of_keys = {"signing_keys": "none", "encryption_keys": "none", "require_signed": "false"}
    unset = dict.fromkeys(("dashboard_user", "dashboard_password", "webhook_url", "webhook_key"), "none")
    words = {"processes": "the CPUs", "partitions": "one of each queue", "statistics": "true"}
    assert told == known | of_keys | words | unset


@pytest.mark.parametrize("keys", [{"SECRET_KEY": 12345678}, {"SECRET_KEY": "one", "SECRET_KEY_FALLBACKS": [7]}])
def test_a_secret_key_that_is_a_number_is_refused(keys: dict[str, Any]) -> None:
    """S5: FLASK_SECRET_KEY=12345678 is one for Flask, and bytes(12345678) would be a key that anybody has."""
    app = Flask("app")
    app.config.from_mapping(keys)
    with pytest.raises(ConfigurationError, match=r"SECRET_KEY.*give texts or bytes"):
        _ = FlaskQuaff(app).settings
