"""Settings: what they may be, and where an embedded server is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quaff import config
from quaff.backend import Backend
from quaff.errors import ConfigurationError
from quaff.model.options import LONGEST
from quaff.store import embedded
from tests.helpers import Program, end_embedded, python

TIMES = ("lease", "grace", "deadline", "result_ttl", "failed_ttl", "key_window")


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", ["inf", "nan", "-inf", "1e12", "-1", float("inf"), LONGEST + 1, 10**30], ids=repr)
def test_a_time_that_cannot_be_is_refused(name: str, value: Any) -> None:
    """Whoever waits for ever, or till after the sun, would only break later, in a worker."""
    with pytest.raises(ConfigurationError, match=rf"^{name}=.* from Quaff\(\.\.\.\): give seconds from .* to "):
        config.resolve(code={name: value}, environ={})


@pytest.mark.parametrize("name", TIMES)
def test_both_ends_of_what_a_time_may_be_are_good(name: str) -> None:
    """And the default lies between them."""
    least, most = config.SECONDS[name]
    assert least <= getattr(config.Settings(), name) <= most <= LONGEST
    for value in (least, most):
        assert getattr(config.resolve(code={name: str(value)}, environ={}), name) == value


def test_a_key_protects_for_longer_than_any_call_goes_on_trying() -> None:
    """A tombstone that is gone before the last try of its enqueue would let that try store the job again."""
    assert config.SECONDS["key_window"][0] > config.SECONDS["deadline"][1]
    with pytest.raises(ConfigurationError, match=r"key_window='0' from QUAFF_KEY_WINDOW .* from 60 to"):
        config.resolve(environ={"QUAFF_KEY_WINDOW": "0"})


@pytest.mark.parametrize(("name", "value"), [("concurrency", 0), ("max_crashes", 0), ("processes", -1)])
def test_a_number_has_a_least(name: str, value: int) -> None:
    """The error says which."""
    with pytest.raises(ConfigurationError, match=rf"{name}={value} from Quaff\(\.\.\.\): give at least {value + 1}\."):
        config.resolve(code={name: value}, environ={})


# Where an embedded server is


@pytest.mark.parametrize(
    ("written", "below"), [("embedded:", ".quaff"), ("embedded:rel", "rel"), ("embedded:some/dir", "some/dir")]
)
def test_a_relative_directory_is_absolute_once_the_settings_are_known(
    written: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told the URL afterwards, and wherever that process is, means the same directory."""
    monkeypatch.chdir(tmp_path)
    settings = config.resolve(environ={"QUAFF_URL": written})
    monkeypatch.chdir("/")
    assert settings.url == f"embedded://{tmp_path}/{below}"
    assert embedded.directory(settings.url) == tmp_path / below


def test_a_relative_directory_is_shown_with_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors and logs say where it is, where that was set and how."""
    monkeypatch.chdir(tmp_path)
    wheres = [
        Backend(config.resolve(environ=environ)).endpoint.where for environ in ({}, {"QUAFF_URL": "embedded:rel"})
    ]
    assert wheres == [
        f"embedded://{tmp_path}/.quaff (from default: embedded:)",
        f"embedded://{tmp_path}/rel (from QUAFF_URL in the environment: embedded:rel)",
    ]


def test_an_absolute_directory_stays_as_it_is_written() -> None:
    """Nothing is added to what is plain."""
    settings = config.resolve(environ={"QUAFF_URL": "embedded:///var/lib/shop"})
    assert (settings.url, settings.url_source) == ("embedded:///var/lib/shop", "QUAFF_URL in the environment")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every name is text")
def test_a_working_directory_whose_name_is_no_text_can_be_worked_in(
    tmp_path: Path, start_worker: Callable[..., Program]
) -> None:
    """It cannot be told to another process, so each finds it by itself."""
    home = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xff"))
    home.mkdir()
    (home / "tasks.py").write_text("from quaff import Quaff\nquaff = Quaff()\n")
    assert start_worker("tasks:quaff", "-p", "1", cwd=home).stop() == 0
    end_embedded(home / ".quaff")


ROAMING = """
import os
from quaff import Quaff
quaff = Quaff("embedded:rel", namespace="roaming")

@quaff.task
def where():
    return os.getcwd()

os.chdir("elsewhere")
"""


@pytest.fixture
def roaming(tmp_path: Path) -> Iterator[Path]:
    """A directory with an application that changes into another one as it is loaded."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "roaming.py").write_text(ROAMING)
    yield tmp_path
    for home in (tmp_path / "rel", tmp_path / "elsewhere" / "rel"):
        if home.exists():
            end_embedded(home)


def test_an_application_that_changes_its_directory_has_one_server(
    roaming: Path, start_worker: Callable[..., Program], running: Callable[[Program], Program]
) -> None:
    """Its worker's processes load it and its supervisor does not, and yet they mean the same."""
    worker = start_worker("roaming:quaff", "-p", "1", cwd=roaming)
    line = worker.wait_for("queues default")
    assert f"embedded://{roaming}/elsewhere/rel," in line
    code = "from roaming import where; print(where.delay().result(10))"
    client = running(python("-c", code, cwd=roaming))
    assert client.wait() == 0, client.output
    assert client.stdout == [str(roaming / "elsewhere")]
    assert not (roaming / "rel").exists()


@pytest.mark.parametrize(
    ("environ", "table", "app_config", "words"),
    [
        (
            {"QUAFF_LEESE": "3"},
            "",
            {},
            r"QUAFF_LEESE in the environment is no setting .* mean 'QUAFF_LEASE'",
        ),
        ({}, "namspace = 'x'", {}, r"namspace in \[tool\.quaff\] in pyproject\.toml .* Did you mean 'namespace'"),
        ({}, "", {"QUAFF_GRAZE": 3}, r"QUAFF_GRAZE in app\.config .* Did you mean 'QUAFF_GRACE'"),
    ],
    ids=["environment", "pyproject", "app.config"],
)
def test_a_misspelt_setting_is_warned_about(
    tmp_path: Path, environ: dict[str, str], table: str, app_config: dict[str, Any], words: str
) -> None:
    """Where it may belong to somebody else; in code it is an error."""
    (tmp_path / "pyproject.toml").write_text(f"[tool.quaff]\n{table}\n")
    with pytest.warns(UserWarning, match=words):
        assert config.resolve(environ=environ, app_config=app_config, directory=tmp_path) == config.Settings(
            url=config.resolve(environ={}, directory=tmp_path).url, url_source="default: embedded:"
        )


def test_what_is_set_for_the_embedded_server_is_no_misspelt_setting(tmp_path: Path) -> None:
    """And neither is an empty variable."""
    config.resolve(environ={"QUAFF_SERVER_BINARY": "/x", "QUAFF_NOTHING": "", "OTHER": "1"}, directory=tmp_path)
