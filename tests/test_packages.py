"""S24: what is published is what is in the source, whoever builds it, and brings nothing along."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
CACHES = {"__pycache__"}


class Packages(NamedTuple):
    """A wheel and an sdist."""

    wheel: Path
    sdist: Path


def build(source: Path, into: Path) -> Packages:
    """Build both, as ``make dist`` does."""
    # The build backend, without a network: what would install it is no part of what it writes.
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(into)]
    env = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(command, cwd=source, env=env, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = into.glob("*.whl"), into.glob("*.tar.gz")
    return Packages(wheel, sdist)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Built from this checkout."""
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def metadata(wheel: Path) -> Message:
    """What a wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def test_two_builds_give_the_same_bytes(packages: Packages, tmp_path: Path) -> None:
    """S24: elsewhere, from the sdist alone, with other times and modes of files."""
    with tarfile.open(packages.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    for path in source.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
        if path.is_file():
            path.chmod(0o600 | (path.stat().st_mode & 0o100))
    again = build(source, tmp_path / "dist")
    assert again.wheel.name == packages.wheel.name
    assert again.wheel.read_bytes() == packages.wheel.read_bytes()
    assert again.sdist.read_bytes() == packages.sdist.read_bytes()


def test_the_wheel_is_the_package_and_nothing_else(packages: Packages) -> None:
    """S24: scripts, templates, what pages load, py.typed and licences; no file that is not in the source."""
    src = ROOT / "src"
    source = {
        str(path.relative_to(src))
        for path in (src / "quaff").rglob("*")
        if path.is_file() and not CACHES & set(path.parts)
    }
    with zipfile.ZipFile(packages.wheel) as archive:
        names = set(archive.namelist())
        assert archive.read("quaff/store/keys.py") == (src / "quaff" / "store" / "keys.py").read_bytes()
    info = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert names - info == source
    assert {"quaff/py.typed", "quaff/http/quaff.js", "quaff/dashboard/static/LICENSES.txt"} <= names
    assert {name.split("/", 1)[1] for name in info} == {
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"),
    }


def test_the_metadata_are_whole(packages: Packages) -> None:
    """Four dependencies, none with an upper bound, and no address that nobody answers at."""
    told = metadata(packages.wheel)
    needed = [each for each in told.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert sorted(re.split(r"\W", each)[0] for each in needed) == ["click", "cronsim", "msgspec", "redis"]
    assert all(re.fullmatch(r"\w+>=[\d.]+", each) for each in needed)
    assert (told["License-Expression"], told["License-File"]) == ("BSD-3-Clause", "LICENSE")
    assert told["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in told.get_all("Classifier", [])
    assert told["Description-Content-Type"] == "text/markdown"
    assert told.get_payload() == (ROOT / "README.md").read_text()


def test_a_release_is_built_by_actions_that_nobody_can_change() -> None:
    """S24: each is named by its whole commit, no job may do more than it needs, and there is no secret to steal."""
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    actions = re.findall(r"uses: *(\S+)", text)
    assert actions
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in actions)
    assert "\npermissions: {}\n" in text
    assert "secrets." not in text
