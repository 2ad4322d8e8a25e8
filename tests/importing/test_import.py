"""``quaff import``: what the real libraries have sent runs here, once, at its time; what cannot stays where it is."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from click.testing import CliRunner

from quaff import JobState, Quaff
from quaff.cli import program
from quaff.errors import ServerUnavailable
from quaff.importing.found import Found
from quaff.importing.moving import Move
from quaff.importing.peers import peer
from quaff.importing.theirs import Theirs
from tests.engines import Server
from tests.helpers import Program, python
from tests.proxy import Proxy

APP = """
from datetime import datetime
from decimal import Decimal
from quaff import Quaff

quaff = Quaff()

@quaff.task(name="shop.add", aliases=["add"], result_ttl=3600)
def add(a: int, b: int = 0) -> int:
    return a + b

@quaff.task(name="pay", queue="money")
def pay(a: int, b: int = 0) -> int:
    return a + b

@quaff.task(name="shop.total")
def total(of: dict) -> int:
    return len(of["a"]) + len(of["b"])

@quaff.task(name="shop.price")
def price(of: Decimal, at: datetime) -> str:
    return f"{of} {at}"
"""


class Case(NamedTuple):
    """What a library's messages, by the labels of ``fill_*.py``, have to become."""

    library: str
    results: dict[str, tuple[str, Any]]  # the job, without the id, and its result
    stay: dict[str, str]  # a word of the reason
    more: tuple[str, ...] = ()
    besides: int = 0


ADD = "default/shop.add"
CASES = [
    Case(
        "celery",
        {
            "plain": (ADD, 5),
            "named": (ADD, 2),
            "queue": ("money/shop.add", 10),
            "last": (ADD, 6),
            "pickled": (ADD, 8),
            "packed": (ADD, 10),
            "typed": ("default/shop.price", "1.20 2026-01-31 12:00:00+00:00"),
        },
        {
            "object": "fractions.Fraction",
            "squeezed": "gzip",
            "chain": "comes after it",
            "unknown": "--map old.report",
            "misfit": "int",
        },
    ),
    Case(
        "rq",
        {
            "plain": (ADD, 5),
            "named": (ADD, 2),
            "soon": (ADD, 2),
            "queue": ("money/shop.add", 10),
            "json": (ADD, 8),
            "nested": ("default/shop.total", 6),
        },
        {
            "object": "fractions.Fraction",
            "followed": "comes after it",
            "callback": "comes after it",
            "repeats": "repeats itself",
            "unknown": "--map old.report",
            "misfit": "int",
        },
        besides=1,
    ),
    Case(
        "dramatiq",
        {
            "plain": (ADD, 5),
            "named": (ADD, 2),
            "soon": (ADD, 2),
            "aged": (ADD, 6),
            "pickled": (ADD, 8),
            "queue": ("money/pay", 10),
        },
        {"chain": "comes after it", "callback": "comes after it", "unknown": "--map report", "misfit": "int"},
    ),
    Case(
        "huey",
        {"plain": (ADD, 5), "named": (ADD, 2), "soon": (ADD, 2), "low": (ADD, 10), "high": (ADD, 6)},
        {
            "object": "fractions.Fraction",
            "chain": "comes after it",
            "revoked": "revoked",
            "squeezed": "compressed",
            "signed": "signed",
            "unknown": "--map __main__.report",
            "misfit": "int",
        },
        ("--map", "__main__.add=add", "--map", "__main__.rank=shop.add"),
    ),
]


@pytest.fixture(scope="module")
def theirs() -> Iterator[Server]:
    """A server of theirs, beside ours."""
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def empty(theirs: Server) -> None:
    """Nothing of the test before."""
    theirs.redis.flushall()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server_url: str, namespace: str) -> Quaff:
    """The application in the working directory."""
    monkeypatch.setenv("QUAFF_URL", server_url)
    monkeypatch.setenv("QUAFF_NAMESPACE", namespace)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(APP)
    found: dict[str, Any] = {"__name__": "shop"}
    exec(compile(APP, "shop.py", "exec"), found)
    quaff = found["quaff"]
    assert isinstance(quaff, Quaff)
    return quaff


def fill(library: str, url: str) -> dict[str, str]:
    """Send with the real library; the ids by label."""
    script = Path(__file__).with_name(f"fill_{library}.py")
    done = subprocess.run([sys.executable, script, url], capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, done.stderr
    ids: dict[str, str] = json.loads(done.stdout)
    return ids


def command(*words: str) -> dict[str, Any]:
    """The document that ``quaff import`` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "quaff", "import", *words, "-A", "shop", "--json"], capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if found["left"] else 0)
    return found


def lines(server: Server) -> dict[bytes, int]:
    """How many stand in which line."""
    length = {b"list": server.redis.llen, b"zset": server.redis.zcard}
    return {
        key: length[kind](key) for key in sorted(server.redis.keys("*")) if (kind := server.redis.type(key)) in length
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.library)
def test_what_the_real_library_has_sent_runs_here(
    case: Case, theirs: Server, shop: Quaff, start_worker: Callable[..., Program]
) -> None:
    """Counted first, then moved; with its queue and its time; the others stay, each with a reason; and once."""
    ids = fill(case.library, theirs.url)
    before = lines(theirs)
    words = (case.library, theirs.url, *case.more)

    counted = command(*words, "--dry-run")
    assert lines(theirs) == before
    assert counted["moved"] == 0
    assert (counted["ready"], counted["left"]) == (len(case.results) + 1, len(case.stay))  # and the later one
    reasons = [(row["why"], row["count"]) for row in counted["rows"] if row["why"]]
    assert sum(count for _, count in reasons) == len(case.stay)
    assert [word for word in case.stay.values() if not any(word in why for why, _ in reasons)] == []
    assert sum(counted["aside"].values()) == case.besides

    done = command(*words, "--yes")
    assert (done["moved"], done["left"], done["taken"]) == (len(case.results) + 1, len(case.stay), 0)
    again = command(*words, "--yes")
    assert (again["moved"], again["left"]) == (0, len(case.stay))

    start_worker("shop", "-p", "1", env={"QUAFF_URL": shop.settings.url})
    for label, (home, result) in case.results.items():
        assert shop.job(f"{home}/{case.library}:{ids[label]}").result(20) == result, label
    later = shop.job(f"{ADD}/{case.library}:{ids['later']}")
    assert later.state == JobState.SCHEDULED
    due = later.info().scheduled_for
    assert due is not None
    assert abs(due - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)


def test_what_stays_is_still_theirs(theirs: Server, shop: Quaff) -> None:
    """The real RQ finds the jobs that were left, and none that was moved."""
    ids = fill("rq", theirs.url)
    command("rq", theirs.url, "--yes")
    with_rq = "import sys, json; from redis import Redis; from rq import Queue; from rq.job import Job;" + (
        "c = Redis.from_url(sys.argv[1]); print(json.dumps([Queue(connection=c).job_ids,"
        "[Job.exists(each, c) for each in sys.argv[2:]]]))"
    )
    asked = [ids["plain"], ids["later"], ids["unknown"], ids["dependent"]]
    done = subprocess.run([sys.executable, "-c", with_rq, theirs.url, *asked], capture_output=True, text=True)
    waiting, exist = json.loads(done.stdout)
    assert set(waiting) == {ids[label] for label in ("object", "followed", "callback", "repeats", "unknown", "misfit")}
    assert exist == [False, False, True, True]


@pytest.fixture(scope="module")
def sample(theirs: Server) -> dict[str, Any]:
    """A message as Celery has sent it."""
    fill("celery", theirs.url)
    message: dict[str, Any] = json.loads(theirs.redis.lindex("celery", -1))
    return message


def many(server: Server, sample: dict[str, Any], count: int, name: str = "shop.add") -> list[str]:
    """So many messages of Celery's, with other ids."""
    ids = [f"{name}-{number}" for number in range(count)]
    with server.redis.pipeline(transaction=False) as pipeline:
        for id in ids:
            pipeline.lpush("celery", json.dumps(sample | {"headers": sample["headers"] | {"id": id, "task": name}}))
        pipeline.execute()
    return ids


def test_an_import_that_is_killed_and_repeated_loses_nothing_and_doubles_nothing(
    theirs: Server, sample: dict[str, Any], shop: Quaff, running: Callable[[Program], Program]
) -> None:
    """By SIGKILL, wherever it is."""
    ids = many(theirs, sample, 1200)
    slow = Proxy(("127.0.0.1", theirs.port))
    slow.drip(0.001)  # a page takes some milliseconds without it, in which a busy machine may miss them all
    killed = 0
    while left := theirs.redis.llen("celery"):
        killing = running(python("-m", "quaff", "import", "celery", slow.url, "-A", "shop", "--yes", "--json"))
        enough = max(0, left - 400)
        while theirs.redis.llen("celery") > enough and killing.process.poll() is None:
            time.sleep(0.001)
        killed += killing.process.poll() is None
        killing.send(signal.SIGKILL)
        killing.wait()
    slow.close()
    assert killed >= 2
    assert shop.queue("default").stats().queued == len(ids)
    assert {shop.job(f"{ADD}/celery:{id}").state for id in ids[:20] + ids[-20:]} == {JobState.QUEUED}


def test_what_is_stored_and_not_yet_removed_is_one_job(
    theirs: Server, sample: dict[str, Any], shop: Quaff, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off between the two, and repeated."""
    many(theirs, sample, 3)
    move = Move(shop, Theirs(theirs.url), "celery", peer("celery"), {})
    with monkeypatch.context() as patch:
        patch.setattr(Theirs, "take", lambda *_: (_ for _ in ()).throw(ServerUnavailable("away")))
        with pytest.raises(ServerUnavailable, match="away"):
            list(move.run())
    assert theirs.redis.llen("celery") == shop.queue("default").stats().queued == 3
    assert [report.moved for report in move.run()] == [3]
    assert theirs.redis.llen("celery") == 0
    assert shop.queue("default").stats().queued == 3


def test_a_message_that_their_worker_has_taken_meanwhile_is_told_and_left_to_it(theirs: Server, shop: Quaff) -> None:
    """What belongs to it is not deleted under its feet."""
    fill("rq", theirs.url)
    server = Theirs(theirs.url)
    source = next(source for source in peer("rq").sources(server) if source.queue == "default")
    found = peer("rq").read(server, source, server.page(source, 0))[0]
    assert theirs.redis.lpop(source.key) == found.member
    assert server.take(source, [found]) == 0
    assert theirs.redis.exists(b"rq:job:" + found.member)


def test_what_stays_does_not_hold_up_what_is_behind_it(theirs: Server, sample: dict[str, Any], shop: Quaff) -> None:
    """More of it than fits in a page."""
    many(theirs, sample, 250, "old.report")
    ids = many(theirs, sample, 350)
    asked = [sys.executable, "-m", "quaff", "import", "celery", theirs.url, "-A", "shop", "--yes"]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(
        r"celery +shop.add +350 +shop.add in default\ncelery +old.report +250 +stays +no task", done.stdout
    )
    assert done.stdout.endswith("350 can be moved, 250 stay\n350 moved, 250 stay\n")
    assert theirs.redis.llen("celery") == 250
    assert shop.queue("default").stats().queued == len(ids)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("celery", "URL"), "nobody can be asked"),
        (("celery", "URL", "--json"), "--yes or --dry-run"),
        (("celery", "URL", "--map", "a"), "THEIRS=OURS"),
        (("celery", "URL", "--map", "a=shop.ad"), "Did you mean 'shop.add'?"),
        (("celery", "URL", "-Q", "celeri"), "Did you mean 'celery'?"),
        (("rq", "URL", "--prefix", "x"), "always begin"),
        (("celery", "http://x"), "QF001"),
        (("celery", "redis+cluster://127.0.0.1:1"), "do not use a cluster"),
        (("sidekiq", "URL"), "sidekiq"),
    ],
)
def test_a_slip_is_told_before_anything_is_done(
    theirs: Server, sample: dict[str, Any], shop: Quaff, words: tuple[str, ...], says: str
) -> None:
    """Exit code 2."""
    many(theirs, sample, 1)
    asked = [theirs.url if word == "URL" else word for word in words]
    done = CliRunner().invoke(program(), ["import", *asked, "-A", "shop"])
    sys.modules.pop("shop", None)
    assert done.exit_code == 2, done.output
    assert says in done.output
    assert theirs.redis.llen("celery") == 1


def test_a_server_of_theirs_that_is_away_is_told_without_its_password() -> None:
    with pytest.raises(ServerUnavailable) as told:
        Theirs("redis://:hush@127.0.0.1:1", 0.2).ask(("PING",))
    assert "the command line" in str(told.value)
    assert "hush" not in str(told.value)


@pytest.mark.parametrize("library", ["celery", "rq", "dramatiq", "huey"])
def test_bytes_that_are_no_message_stay(library: str, theirs: Server, shop: Quaff) -> None:
    """S8: whatever they are, and whatever form its parts have."""
    keys = {"celery": "celery", "rq": "rq:queue:x", "dramatiq": "dramatiq:x", "huey": "huey.redis.x"}
    odd = [b"", b"\x80", b"{}", b"[]", b"null", b"1", b"[" * 100_000, b"\xff", b'{"headers": {"id": [], "task": {}}}']
    odd += [b'{"headers":{"id":"1","task":"shop.add"},"properties":{},"body":"{}","content-type":"application/json"}']
    odd += [b'{"actor_name":"add","options":[],"args":1,"kwargs":null,"message_timestamp":{}}', b"x" * 5_000_000]
    theirs.redis.sadd("rq:queues", "rq:queue:x")
    for number, data in enumerate(odd):
        theirs.redis.hset("dramatiq:x.msgs", str(number), data)
        theirs.redis.hset(f"rq:job:{number}", "data", data)
        theirs.redis.rpush(keys[library], str(number) if library in ("rq", "dramatiq") else data)
    report = Move(shop, Theirs(theirs.url), library, peer(library), {}).count()
    assert (report.ready, report.left) == (0, len(odd))


def test_a_job_of_rqs_that_unpacks_to_something_huge_stays(theirs: Server, shop: Quaff) -> None:
    """S7: it is inflated as far as a message may be large, and no further."""
    import zlib

    theirs.redis.sadd("rq:queues", "rq:queue:x")
    theirs.redis.rpush("rq:queue:x", "bomb")
    theirs.redis.hset("rq:job:bomb", "data", zlib.compress(bytes(200 * 2**20), 9))
    report = Move(shop, Theirs(theirs.url), "rq", peer("rq"), {}).count()
    assert [row.why for row in report.rows] == ["it is larger than 4 MiB: let their workers run it"]


def test_a_report_has_a_bounded_number_of_rows(shop: Quaff) -> None:
    """Names are somebody else's to make up."""
    from quaff.importing.moving import Report, Row

    report = Report()
    for number in range(2000):
        report.add(Row("x", f"name-{number}", why="stays"))
    assert len(report.rows) == 501
    assert report.left == 2000


def test_what_was_found_is_not_changed_by_looking(theirs: Server) -> None:
    """Reading needs no right to write."""
    fill("dramatiq", theirs.url)
    user = "ACL SETUSER reader on nopass ~* -@all +@read +select +ping +client|setname +type".split()
    theirs.redis.execute_command(*user)
    server = Theirs(theirs.url.replace("://", "://reader:x@"))
    found = [
        each
        for source in peer("dramatiq").sources(server)
        for each in peer("dramatiq").read(server, source, server.page(source, 0))
    ]
    assert isinstance(found[0], Found)
    with pytest.raises(redis.exceptions.NoPermissionError):
        redis.Redis.from_url(theirs.url.replace("://", "://reader:x@")).delete("x")
