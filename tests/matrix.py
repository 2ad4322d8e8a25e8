"""Which engine the shared server of all tests is: ``make test ENGINE=cluster``. Without one it is an embedded Valkey.

What a test looks at with its own eyes it asks ``plain(url)``: a client with every right, whatever the engine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.sentinel import Sentinel

from quaff.errors import did_you_mean
from quaff.store import embedded, urls
from quaff.store.rights import rules
from tests.certificates import certify
from tests.engines import Cluster, Mover, Sentinels, Server
from tests.helpers import end_embedded
from tests.lacking import ALL
from tests.plain import PlainCluster

#: Whom a server with users knows: an application as it is in a web server, and the programs that start workers.
APPLICATION, WORKER, ENGINE = "application", "worker", "engine"
_PASSWORD = "secret"


@contextmanager
def _embedded() -> Iterator[str]:
    # Short: the path of a socket has little room, and tmp_path is long.
    home = Path(tempfile.mkdtemp(prefix="quaff-t", dir="/tmp"))
    embedded.ensure(home)
    yield f"embedded://{home}"
    end_embedded(home)
    shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _sentinel() -> Iterator[str]:
    # A busy machine is no reason to choose another one.
    shape = Sentinels(down_after=10_000)
    yield shape.url
    shape.end()


@contextmanager
def _cluster() -> Iterator[str]:
    # A replica that is chosen lacks what was acknowledged last, which no test but those of failovers expects.
    shape = Cluster(replicas=True, down_after=10_000)
    mover = Mover(shape)
    yield shape.url
    assert mover.stop(), "no slot has moved while the tests ran"
    shape.end()


@contextmanager
def _tls() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="quaff-t", dir="/tmp"))
    # What `quaff acl` prints, for each namespace.
    asks_and_acts = [rule for role in ("operator", "dashboard") for rule in rules(role, "*")[2:]]
    users = {
        APPLICATION: [*rules("producer", "*"), *asks_and_acts],
        WORKER: rules("worker", "*"),
        ENGINE: [*rules("worker", "*"), *asks_and_acts],
    }
    with Server(tls=certify(folder)) as server:
        for name, allowed in users.items():
            server.redis.execute_command("ACL", "SETUSER", name, *allowed, f">{_PASSWORD}")
        yield server.url.replace("://", f"://{APPLICATION}:{_PASSWORD}@")
    shutil.rmtree(folder)


#: What makes the shared server of each engine, and gives its URL.
ENGINES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "valkey": _embedded,
    "redis7": _embedded,
    "sentinel": _sentinel,
    "cluster": _cluster,
    "tls": _tls,
}


def chosen() -> str:
    """The engine of this run."""
    name = os.environ.get("ENGINE") or "valkey"
    if name not in ENGINES:
        raise pytest.UsageError(f"ENGINE={name} is none of {', '.join(ENGINES)}.{did_you_mean(name, ENGINES)}")
    return name


def prepare(engine: str) -> None:
    """Have each server that a test starts be of that engine, where it says so."""
    program = shutil.which("redis-server")
    if engine == "redis7" and program:
        os.environ["QUAFF_SERVER_BINARY"] = program


def leave_out(items: list[pytest.Item], engine: str) -> list[pytest.Item]:
    """Mark what is about other engines to be skipped; give back what has nothing to do with this one.

    On an engine of which there is only the shared server, that is each test without it.
    """
    besides: list[pytest.Item] = []
    if engine == "redis7" and shutil.which("redis-server") is None:
        if ALL:
            raise pytest.UsageError("ENGINE=redis7 needs redis-server on PATH; with CI set nothing is left out")
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs redis-server on PATH"))
    for item in items:
        only = item.get_closest_marker("only")
        if only is not None and engine not in only.args:
            item.add_marker(pytest.mark.skip(reason=f"only on {', '.join(only.args)}: {only.kwargs['why']}"))
        if ENGINES[engine] is not _embedded and "server_url" not in getattr(item, "fixturenames", ()):
            besides.append(item)
    return besides


def known_as(user: str, url: str) -> str:
    """The URL for another of those whom a server with users knows; any other URL as it is."""
    return url.replace(f"://{APPLICATION}:{_PASSWORD}@", f"://{user}:{_PASSWORD}@")


def owners(url: str) -> str:
    """The URL as the server's owner has it."""
    return url.replace(f"{APPLICATION}:{_PASSWORD}@", "")


def plain(url: str) -> Any:
    """A client of a server of the tests, as its owner."""
    target = urls.read(url, "a test")
    if target.kind == "embedded":
        return redis.Redis(unix_socket_path=embedded.ensure(embedded.directory(url)), protocol=2)
    if target.kind == "cluster":
        return PlainCluster(target.hosts)
    if target.kind == "sentinel":
        return Sentinel(target.hosts, sentinel_kwargs={"protocol": 2}).master_for(target.service, protocol=2)
    return redis.Redis.from_url(owners(url), protocol=2)


def each_server(url: str) -> list[Any]:
    """As ``plain``, of each node of a cluster: none of them knows the users of another."""
    client = plain(url)
    return client.nodes() if isinstance(client, PlainCluster) else [client]


def logged_in(url: str, user: str, password: str) -> str:
    """The URL for somebody."""
    target = urls.read(url, "a test")
    if target.kind == "embedded":
        return f"unix://{user}:{password}@{embedded.ensure(embedded.directory(url))}"
    scheme, _, rest = owners(url).partition("://")
    return f"{scheme}://{user}:{password}@{rest.rpartition('@')[2]}"


def client_as(url: str) -> Any:
    """A plain client of one of its servers, as whom the URL names."""
    target = urls.read(url, "a test")
    if not target.hosts:
        return redis.Redis.from_url(url, protocol=2)
    user, _, password = target.login.rstrip("@").partition(":")
    known = each_server(url)[0].connection_pool
    own = known.connection_kwargs
    host, port = known.get_master_address() if target.kind == "sentinel" else (own["host"], own["port"])
    return redis.Redis(host, port, username=user, password=password, protocol=2)


def line_to(url: str) -> str | urls.Address:
    """The socket of a shared server, its path or its port, for something that is put in between."""
    target = urls.read(url, "a test")
    if target.kind == "embedded":
        return embedded.ensure(embedded.directory(url))
    if target.kind != "sentinel":
        pytest.skip("puts something into the line to one server, who is not known by another name there")
    pool = plain(url).connection_pool
    host, port = pool.get_master_address()
    return str(host), int(port)
