"""What a server may answer to a call, row after row: which error that is, its code, and what its text says to do.

Each row is told to every sender by a line that answers in the server's place. Those that a server can be brought to say
are then said by one.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import pytest
import redis
from redis._parsers.base import BaseParser
from redis.backoff import NoBackoff
from redis.retry import Retry

from quaff.errors import (
    ConfigurationError,
    NotAllowed,
    QuaffError,
    QueueFull,
    ScriptFault,
    ServerUnavailable,
    StoreError,
)
from quaff.model import ids
from quaff.store import faults
from quaff.store.client import Store
from quaff.store.faults import NoAnswer, Patience, Trouble
from quaff.store.link import Link
from quaff.store.operations import capacity
from quaff.store.queries import lookup
from quaff.store.transitions import Call
from tests.engines import Server
from tests.helpers import wait_until
from tests.matrix import line_to
from tests.proxy import Proxy
from tests.store.engine import Desk
from tests.store.wire import Send, aio, close, enqueue, store_at, sync, within
from tests.worker.support import side_by_side

#: Seconds for a call that is refused again and again, and more tries than fit into them.
DEADLINE, TRIES = 0.3, 300

CODES: dict[type[QuaffError], str] = {
    ConfigurationError: "QF001",
    ServerUnavailable: "QF011",
    QueueFull: "QF013",
    StoreError: "QF020",
    NoAnswer: "QF021",
    NotAllowed: "QF023",
    ScriptFault: "QF025",
}
LATER = "Try again later"
LOADED = "Try again when it has loaded its data"
PRIMARY = "It is a replica: set QUAFF_URL to its primary"
LOG_IN = "Mend the user and the password in QUAFF_URL"
START = "Start the server there, or set QUAFF_URL"
GRANT = "`quaff acl ROLE` prints what its user has to be allowed"
NUMBER = "mend the number at the end of QUAFF_URL"
HALF = "what it had written before stays"
AUDIT = "`quaff audit` shows what does not fit together"
FREE = "running ones go on and free it"


class Row(NamedTuple):
    """One reply.

    Attributes:
        line: as the server says it.
        error: what a program is told; ServerUnavailable where it has been asked again until the deadline.
        does: what the text says to do.
        wait: seconds that a QueueFull says to wait.
    """

    line: str
    error: type[QuaffError]
    does: str
    wait: float = 0.0

    @property
    def again(self) -> bool:
        """Whether it says "not now"."""
        return self.error is ServerUnavailable

    @property
    def words(self) -> str:
        """What the server says, without the first word, which redis-py takes for its own."""
        return self.line.split(" ", 1)[1].strip().rstrip(".")

    @property
    def chunks(self) -> int:
        """How often something is sent in one try."""
        return 2 if self.line.startswith("NOSCRIPT") else 1

    @property
    def exception(self) -> Exception:
        """What redis-py makes of it."""
        error: Exception = BaseParser.parse_error(self.line)  # type: ignore[no-untyped-call]
        return error

    def answers(self, tries: int) -> Iterator[bytes]:
        """What a line says in the server's place, for so many tries."""
        line = f"-{self.line}\r\n".encode()
        # The script and the call are sent together.
        return itertools.islice(itertools.cycle((line, b"+OK\r\n" + line)[: self.chunks]), tries * self.chunks)


STOPPED = f" script: {'f' * 40}, on @user_script:12."
ROWS: dict[str, Row] = {
    # Not now: nothing was done.
    "LOADING": Row("LOADING Valkey is loading the dataset in memory", ServerUnavailable, LOADED),
    "READONLY": Row("READONLY You can't write against a read only replica.", ServerUnavailable, PRIMARY),
    "CLUSTERDOWN": Row("CLUSTERDOWN Hash slot not served", ServerUnavailable, LATER),
    "TRYAGAIN": Row("TRYAGAIN Multiple keys request during rehashing of slot", ServerUnavailable, LATER),
    "MASTERDOWN": Row("MASTERDOWN Link with MASTER is down and it shows no stale data", ServerUnavailable, LATER),
    "NOSCRIPT": Row("NOSCRIPT No matching script.", ServerUnavailable, LATER),
    "MOVED": Row("MOVED 866 127.0.0.1:1", ServerUnavailable, LATER),
    "ASK": Row("ASK 866 127.0.0.1:1", ServerUnavailable, LATER),
    "BUSY": Row("BUSY Valkey is busy running a script. You can only call SCRIPT KILL.", ServerUnavailable, LATER),
    "MISCONF": Row("MISCONF Valkey is currently unable to persist to disk.", ServerUnavailable, LATER),
    "NOREPLICAS": Row("NOREPLICAS Not enough good replicas to write.", ServerUnavailable, LATER),
    "UNBLOCKED": Row("UNBLOCKED force unblock, instance state changed", ServerUnavailable, LATER),
    "max clients": Row("ERR max number of clients reached", ServerUnavailable, LATER),
    "max clients and nodes": Row("ERR max number of clients + cluster connections reached", ServerUnavailable, LATER),
    # Not him; but a password may be changed at both ends, one after the other.
    "WRONGPASS": Row("WRONGPASS invalid username-password pair or user is disabled.", ServerUnavailable, LOG_IN),
    "NOAUTH": Row("NOAUTH Authentication required.", ServerUnavailable, LOG_IN),
    "unauthenticated": Row("ERR Protocol error: unauthenticated multibulk length", ServerUnavailable, LOG_IN),
    # Never: nothing was done, and to ask again is of no use.
    "OOM": Row("OOM command not allowed when used memory > 'maxmemory'.", QueueFull, FREE, 5.0),
    "QUAFFFULL": Row("QUAFFFULL 60", QueueFull, "try again in 60 s, or start more workers", 60.0),
    "QUAFFSCHEMA": Row("QUAFFSCHEMA changed by a later release", StoreError, "upgrade this program"),
    "NOPERM": Row("NOPERM User default has no permissions to run the 'evalsha' command", NotAllowed, GRANT),
    "database": Row("ERR DB index is out of range", ConfigurationError, NUMBER),
    "database of a cluster": Row("ERR SELECT is not allowed in cluster mode", ConfigurationError, NUMBER),
    "unknown": Row("ERR unknown command 'EVALSHA', with args beginning with: ", StoreError, "unknown command 'EVALSHA"),
    # Half done.
    "right": Row("ERR ACL failure in script: User default may not run 'lpush'" + STOPPED, NotAllowed, AUDIT),
    "right in Redis 7": Row("The user executing the script can't run this command" + STOPPED, NotAllowed, AUDIT),
    "script": Row("WRONGTYPE Operation against a key holding the wrong kind of value" + STOPPED, ScriptFault, HALF),
    "Lua": Row("ERR user_script:12: attempt to compare nil with number" + STOPPED, ScriptFault, AUDIT),
}

Kind = Callable[[Desk], Call[Any]]


def changes(desk: Desk) -> Call[Any]:
    """A call that leaves something behind."""
    return enqueue(desk, ids.new_raw())


def looks(desk: Desk) -> Call[Any]:
    """A call that leaves nothing behind."""
    return lookup(desk.home, ids.new_raw())


def worker(store: Store, calls: list[Call[Any]]) -> list[Any]:
    """As a worker sends: once, and an error stands in the place of an answer."""
    answers = Link(store.endpoint, store.deadline).exchange(calls)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


each_kind = pytest.mark.parametrize("kind", [changes, looks])


def each_row(fits: Callable[[Row], bool] = lambda _: True) -> pytest.MarkDecorator:
    """Parametrized with those rows."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items() if fits(row)])


def refused(send: Send, store: Store, call: Call[Any]) -> QuaffError:
    """What the sender is told, in time."""
    with within(store.deadline), pytest.raises(QuaffError) as caught:
        send(store, [call])
    return caught.value


def one_reply(store: Store, call: Call[Any]) -> QuaffError:
    """What the reply to one try comes to when no time is left for another: that one might not be answered in time."""
    connection = store.endpoint.connection(10)

    def ask() -> None:
        connection.connect()
        connection.send_command(*call.command)
        connection.read_response()

    with pytest.raises(redis.RedisError) as reply:
        ask()
    connection.disconnect()
    with pytest.raises(QuaffError) as caught:
        Patience(store.endpoint.where, 0).after([Trouble(reply.value, True)], harmless=call.harmless)
    return caught.value


def judge(error: QuaffError, kind: type[QuaffError], does: str, where: str) -> None:
    """It is of that class, with that code, and says where and what to do."""
    text = str(error)
    assert type(error) is kind, text
    assert text.endswith(f"[{CODES[kind]}]")
    assert where in text
    assert does in text


@contextmanager
def lines(desk: Desk, *senders: Send) -> Iterator[dict[Send, Proxy]]:
    """A line to the shared server for each of them."""
    with ExitStack() as all_:
        proxies = {send: Proxy(line_to(desk.url)) for send in senders}
        for proxy in proxies.values():
            all_.callback(proxy.close)
        yield proxies


@contextmanager
def sending(url: str, deadline: float = DEADLINE) -> Iterator[Store]:
    """A store there, whose connections are closed."""
    store = store_at(url, deadline)
    try:
        yield store
    finally:
        close(store)


# The table


@each_row()
def test_each_reply_has_its_error_its_code_and_its_remedy(row: Row) -> None:
    """F35, F36, F37, F38, F39, F40, F41, F42, F44, F45, F46: as it is told when no time is left to ask again."""
    for harmless in (False, True):
        with pytest.raises(QuaffError) as caught:
            Patience("a server (from a test)", 0).after([Trouble(row.exception, True)], harmless=harmless)
        judge(caught.value, row.error, row.does, "a server (from a test)")
        assert not isinstance(caught.value, QueueFull) or caught.value.retry_after == row.wait
        said = "Authentication required" if "unauthenticated" in row.line else row.words
        assert not row.again or said in str(caught.value)


def test_the_table_is_whole() -> None:
    """Each class and each text by which a reply is told from others has a row."""
    kinds = {*faults._REFUSED, *faults.LOGIN_REFUSED, *faults.STALE, *faults._REMEDIES, faults.REDIRECTIONS}
    # Of an exception for what a server of our time does not say.
    assert kinds - {type(row.exception) for row in ROWS.values()} == {redis.exceptions.AuthorizationError}
    words = {*faults._REFUSED_TEXTS, *faults._NO_DATABASE, *faults._NO_RIGHT, faults._INSIDE}
    assert not [each for each in words if not any(each in row.line for row in ROWS.values())]


@each_row(lambda row: not row.again)
@each_kind
def test_what_no_retry_mends_is_told_at_once(row: Row, kind: Kind, calls: Desk) -> None:
    """F23, F44, F45, F46: to whoever sends, after one try, and nothing of it was stored."""

    def ask(send: Send) -> None:
        with sending(line[send].url, 5) as store:
            line[send].on_request(*row.answers(TRIES))
            judge(refused(send, store, kind(calls)), row.error, row.does, store.endpoint.where)
            assert len(line[send].met) == 1

    before = calls.dump()
    with lines(calls, sync, aio, worker) as line:
        side_by_side(*(partial(ask, send) for send in line))
    assert calls.dump() == before


@each_row(lambda row: row.again)
@each_kind
def test_what_is_refused_for_a_moment_is_done_all_the_same(row: Row, kind: Kind, calls: Desk) -> None:
    """F36, F37, F38, F39, F40, F41, F42, F44: "not now", twice, and then it is done once. A worker has its rounds."""

    def ask(send: Send) -> None:
        call = kind(calls)
        with sending(line[send].url, 10) as store:
            line[send].on_request(*row.answers(2))
            for _ in range(2 if send is worker else 0):
                error = refused(send, store, call)
                judge(error, NoAnswer, row.words, store.endpoint.where)
            (answer,) = send(store, [call])
            assert answer == [0] if kind is changes else answer.state is None
            assert len(line[send].met) == 2 * row.chunks

    before = calls.dump().number("enqueued")
    with lines(calls, sync, aio, worker) as line:
        side_by_side(*(partial(ask, send) for send in line))
    assert calls.dump().number("enqueued") == before + (3 if kind is changes else 0)


@each_row(lambda row: row.again)
def test_what_is_refused_all_the_time_is_told_at_the_deadline(row: Row, calls: Desk) -> None:
    """F35, F36, F37, F38, F39, F40, F41, F42, F44: with what was said, also where the last try is not answered."""

    def ask(send: Send) -> None:
        with sending(line[send].url) as store:
            line[send].on_request(*row.answers(2), *["lose"] * TRIES)
            judge(refused(send, store, looks(calls)), ServerUnavailable, row.does, store.endpoint.where)
            assert len(line[send].met) >= 2 * row.chunks

    with lines(calls, sync, aio) as line:
        side_by_side(*(partial(ask, send) for send in line))


@each_row()
def test_no_reply_to_a_later_try_takes_the_first_one_back(row: Row, calls: Desk) -> None:
    """F28, F44, F46: the reply to the first one was lost, and it was applied: no refusal, whatever comes next."""

    def ask(send: Send) -> None:
        call = changes(calls)
        with sending(line[send].url) as store:
            line[send].on_reply("cut")
            line[send].on_request("pass", *row.answers(TRIES))
            judge(refused(send, store, call), NoAnswer, "no answer from", store.endpoint.where)
            assert line[send].met[:2] == ["cut", next(row.answers(1))]
            assert calls.redis.hexists(calls.key("msg"), call.args[0])

    with lines(calls, sync, aio) as line:
        side_by_side(*(partial(ask, send) for send in line))


@each_row(lambda row: not row.again)
def test_a_look_that_was_not_answered_leaves_no_doubt(row: Row, calls: Desk) -> None:
    """F28: what the next try is told is so."""

    def ask(send: Send) -> None:
        with sending(line[send].url, 5) as store:
            line[send].on_reply("cut")
            line[send].on_request("pass", *row.answers(TRIES))
            judge(refused(send, store, looks(calls)), row.error, row.does, store.endpoint.where)

    with lines(calls, sync, aio) as line:
        side_by_side(*(partial(ask, send) for send in line))


# The line itself


def nobody(proxy: Proxy) -> str:
    """A port where nobody listens."""
    proxy.close()
    return proxy.url


def greeting(proxy: Proxy) -> str:
    """Cut in the greeting: of the call nothing was sent."""
    proxy.on_request(*["cut"] * TRIES)
    return f"{proxy.url}/3"


def half_way(proxy: Proxy) -> str:
    """Cut in the middle of the call."""
    proxy.on_request(*[40] * TRIES)
    return proxy.url


def way_back(proxy: Proxy) -> str:
    """Cut when the call was done, and before its answer."""
    proxy.on_reply(*["cut"] * TRIES)
    return proxy.url


@each_kind
@pytest.mark.parametrize("place", [nobody, greeting, half_way, way_back])
def test_a_line_that_breaks_leaves_a_doubt_only_where_a_call_that_changes_something_was_sent(
    place: Callable[[Proxy], str], kind: Kind, calls: Desk
) -> None:
    """F27, F28, F29, F30: otherwise nothing was done, and the text says what to do."""
    doubt = kind is changes and place in (half_way, way_back)

    def ask(send: Send) -> None:
        with sending(place(line[send])) as store:
            error, does = (NoAnswer, f"within {DEADLINE:g} s") if doubt else (ServerUnavailable, START)
            judge(refused(send, store, kind(calls)), error, does, store.endpoint.where)

    with lines(calls, sync, aio) as line:
        side_by_side(*(partial(ask, send) for send in line))


# By a server

Provoked = Callable[[Server, Desk], AbstractContextManager[str]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that is brought to refuse."""
    with Server() as server:
        yield server


@contextmanager
def configured(server: Server, **settings: object) -> Iterator[str]:
    """With other settings for a while."""
    named = {name.replace("_", "-"): value for name, value in settings.items()}
    before = {name: server.redis.config_get(name)[name] for name in named}
    for name, value in named.items():
        server.redis.config_set(name, value)
    try:
        yield server.url
    finally:
        for name, value in before.items():
            server.redis.config_set(name, value)


def setting(**settings: object) -> Provoked:
    """One that is provoked by a setting alone."""
    return lambda server, _: configured(server, **settings)


@contextmanager
def loading(server: Server, desk: Desk) -> Iterator[str]:
    """It comes back, and reads what it has slowly."""
    slowly = ("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
    with Server() as other:
        other.redis.mset({f"junk {number}": os.urandom(2000) for number in range(500)})
        other.redis.save()
        other.kill()
        other.process = subprocess.Popen([*other.command, *slowly], stdout=subprocess.DEVNULL, cwd=other.home)
        wait_until(lambda: says_loading(other), 10, "LOADING")
        yield other.url


def says_loading(server: Server) -> bool:
    """Whether it loads."""
    try:
        # With its usual retries redis-py would ask until it is over.
        redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)).ping()
    except redis.exceptions.BusyLoadingError:
        return True
    except redis.ConnectionError:
        pass
    return False


@contextmanager
def replica(server: Server, desk: Desk) -> Iterator[str]:
    """Of somebody who is not there."""
    server.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield server.url
    finally:
        server.redis.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def careful_replica(server: Server, desk: Desk) -> Iterator[str]:
    """Which does not show what may be old."""
    with configured(server, replica_serve_stale_data="no"), replica(server, desk) as url:
        yield url


@contextmanager
def busy(server: Server, desk: Desk) -> Iterator[str]:
    """With somebody's script, which does not end."""

    def turn() -> None:
        with suppress(redis.ResponseError):  # it is killed
            server.client().eval("while true do end", 0)

    thread = threading.Thread(target=turn)
    with configured(server, busy_reply_threshold=10) as url:
        thread.start()
        wait_until(lambda: says_busy(server), 10, "BUSY")
        try:
            yield url
        finally:
            server.redis.script_kill()
            thread.join()


def says_busy(server: Server) -> bool:
    """Whether it is."""
    try:
        server.redis.ping()
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    return False


@contextmanager
def no_disk(server: Server, desk: Desk) -> Iterator[str]:
    """It cannot save: a directory is in the place of its file."""

    def saved(word: str) -> None:
        server.redis.bgsave()
        wait_until(lambda: server.redis.info("persistence")["rdb_last_bgsave_status"] == word, 10, word)

    file = server.home / "dump.rdb"  # that of an earlier replication
    file.unlink(missing_ok=True)
    with configured(server, save="3600 1") as url:
        file.mkdir()
        saved("err")
        try:
            yield url
        finally:
            file.rmdir()
            saved("ok")


@contextmanager
def wrong_key(server: Server, desk: Desk) -> Iterator[str]:
    """Somebody has told us another password."""
    with configured(server, requirepass="secret") as url:
        yield url.replace("://", "://:wrong@")


def without(*commands: str) -> Provoked:
    """The right to some commands lacks."""

    @contextmanager
    def provoked(server: Server, desk: Desk) -> Iterator[str]:
        server.redis.execute_command("ACL", "SETUSER", "default", *(f"-{each}" for each in commands))
        try:
            yield server.url
        finally:
            server.redis.execute_command("ACL", "SETUSER", "default", "+@all")

    return provoked


@contextmanager
def full(server: Server, desk: Desk) -> Iterator[str]:
    """The queue has all the jobs that it may have."""
    desk.store.run(capacity(desk.home, jobs=1, size=None, who="a test"))
    yield server.url


@contextmanager
def newer(server: Server, desk: Desk) -> Iterator[str]:
    """A later release was here."""
    desk.redis.hset(desk.key("meta"), "schema", 2)
    yield server.url


@contextmanager
def damaged(server: Server, desk: Desk) -> Iterator[str]:
    """A key is of another type."""
    desk.redis.set(desk.key("tomb"), "no hash")
    yield server.url


@contextmanager
def no_such_database(server: Server, desk: Desk) -> Iterator[str]:
    """The URL names one."""
    yield f"{server.url}/999"


def another(*options: str, path: str = "") -> Provoked:
    """A server that was started so."""

    @contextmanager
    def provoked(server: Server, desk: Desk) -> Iterator[str]:
        with Server(*options) as other:
            yield other.url + path

    return provoked


#: What provokes it; the row that is said to who would change something, and to who looks: none where he is answered.
PROVOKED: Mapping[str, tuple[Provoked, str, str]] = {
    "loading": (loading, "LOADING", "LOADING"),
    "a replica": (replica, "READONLY", ""),
    "a careful replica": (careful_replica, "READONLY", "MASTERDOWN"),
    "a node without slots": (another("--cluster-enabled", "yes"), "CLUSTERDOWN", "CLUSTERDOWN"),
    "busy": (busy, "BUSY", "BUSY"),
    "no disk": (no_disk, "MISCONF", ""),
    "no replicas": (setting(min_replicas_to_write=1), "NOREPLICAS", ""),
    "no room": (setting(maxclients=1), "max clients", "max clients"),
    "a wrong password": (wrong_key, "WRONGPASS", "WRONGPASS"),
    "no password": (setting(requirepass="secret"), "unauthenticated", "unauthenticated"),
    "no memory": (setting(maxmemory=1), "OOM", ""),
    "a full queue": (full, "QUAFFFULL", ""),
    "a newer release": (newer, "QUAFFSCHEMA", "QUAFFSCHEMA"),
    "no right to scripts": (without("evalsha", "evalsha_ro"), "NOPERM", "NOPERM"),
    "no right in the middle of a script": (without("lpush"), "right", ""),
    "no such database": (no_such_database, "database", "database"),
    "another database of a cluster": (
        another("--cluster-enabled", "yes", path="/1"),
        "database of a cluster",
        "database of a cluster",
    ),
    "no such command": (
        another("--rename-command", "EVALSHA", "", "--rename-command", "EVALSHA_RO", ""),
        "unknown",
        "unknown",
    ),
    "a key of another type": (damaged, "script", "script"),
}


@each_kind
@pytest.mark.parametrize("what", PROVOKED)
def test_a_server_that_refuses_is_understood(what: str, kind: Kind, server: Server, namespace: str) -> None:
    """F35, F36, F37, F39, F42, F44, F45, F46: what it says is that row; whom it lets look may look."""
    provoked, *names = PROVOKED[what]
    name, desk = names[kind is looks], Desk(server.url, namespace)
    desk.put(b"something")
    desk.look(ids.new_raw())
    with provoked(server, desk) as url, sending(url) as store:
        desk.close()  # or it would be one of its clients
        if not name:
            assert [send(store, [kind(desk)])[0].state for send in (sync, aio)] == [None, None]
            return
        row = ROWS[name]
        errors = [one_reply(store, kind(desk))]
        if kind is looks or not row.again:
            errors += [refused(send, store, kind(desk)) for send in (sync, aio)]
        for error in errors:
            judge(error, row.error, row.does, store.endpoint.where)
            assert not isinstance(error, QueueFull) or error.retry_after == row.wait
    desk.close()
