"""Databases: a file for SQLite, and a PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_until


def postgres_binaries() -> Path | None:
    """Where Debian, or whoever else, has put PostgreSQL's programs."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda path: int(path.parent.name))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL that listens on a socket alone. Without one the test is skipped, with CI it fails."""
    binaries = postgres_binaries()
    if binaries is None or not (binaries / "initdb").exists():
        if os.environ.get("CI"):
            pytest.fail("no PostgreSQL here: apt-get install postgresql")
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    home = Path(tempfile.mkdtemp(prefix="quaff-pg", dir="/tmp"))
    # It refuses to run as root.
    other: dict[str, Any] = {}
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
        other = {"user": "postgres", "group": "postgres", "extra_groups": []}
    data = home / "data"
    init = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--no-locale"]
    subprocess.run(init, check=True, capture_output=True, cwd=home, **other)
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={home}", "-c", "fsync=off"]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *options], stdout=log, stderr=log, cwd=home, **other
        )
    try:
        # Its own word: pg_isready of a server that is starting says no.
        wait_until(lambda: b"ready to accept connections" in (home / "log").read_bytes(), 30, "PostgreSQL")
        yield f"postgresql+psycopg://postgres@/postgres?host={home}"
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait(20)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of both kinds one after the other."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.db'}"
        return
    url: str = request.getfixturevalue("postgres")
    yield from own_schema(url, f"s{os.getpid()}_{abs(hash(request.node.name))}")


def own_schema(url: str, name: str) -> Iterator[str]:
    """An URL that sees nothing but a schema that is gone after the test."""
    from sqlalchemy import create_engine, text

    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE SCHEMA "{name}"'))
    yield f"{url}&options=-csearch_path%3D{name}"
    with engine.connect() as connection:
        connection.execute(text(f'DROP SCHEMA "{name}" CASCADE'))
    engine.dispose()
