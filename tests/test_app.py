"""Applications: sending over a line that breaks, side by side on one server, in threads and across a fork."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from quaff import Job, JobNotFound, Quaff, ServerUnavailable
from quaff.model.message import Submission
from quaff.store import embedded
from quaff.task import submission
from tests.helpers import Program, end_embedded, in_loop, python
from tests.proxy import Proxy

NOBODY = "redis://127.0.0.1:1"


def double(number: int) -> int:
    """A task."""
    return number * 2


@pytest.fixture
def quaff(proxy: Proxy, namespace: str) -> Iterator[Quaff]:
    """An application at the far end of the line; it has sent a job already, so the next reply is that of the next."""
    quaff = Quaff(proxy.url, namespace=namespace)
    quaff.task(double).delay(0)
    yield quaff
    quaff.store.endpoint.pool().disconnect()


Send = Callable[[Quaff, Proxy, str | None], Job[int]]


def in_a_thread(quaff: Quaff, proxy: Proxy, key: str | None) -> Job[int]:
    """Send a job whose reply is lost."""
    task = quaff.task(double)
    proxy.on_reply("cut")
    return task.options(key=key).delay(1) if key else task.delay(1)


def in_a_coroutine(quaff: Quaff, proxy: Proxy, key: str | None) -> Job[int]:
    """The same with ``adelay``."""

    async def main() -> Job[int]:
        task = quaff.task(double)
        proxy.on_reply("cut")
        return await (task.options(key=key).adelay(1) if key else task.adelay(1))

    return in_loop(quaff, main)


both = pytest.mark.parametrize("send", [in_a_thread, in_a_coroutine])


@both
def test_a_job_whose_reply_was_lost_is_not_taken_for_an_older_one(send: Send, quaff: Quaff, proxy: Proxy) -> None:
    """The second try finds what the first has stored: it was this very call that made the job."""
    job = send(quaff, proxy, None)
    assert proxy.met == ["cut"]
    assert not job.existing
    assert job.state_at_hand() == "queued"


@both
def test_a_job_with_a_key_that_was_there_before_is_existing(send: Send, quaff: Quaff, proxy: Proxy) -> None:
    """Whatever became of the replies."""
    key = uuid4().hex
    assert not quaff.task(double).options(key=key).delay(1).existing
    assert send(quaff, proxy, key).existing
    assert proxy.met == ["cut"]


# A server that is away, or will not


@pytest.fixture
def own_server() -> Iterator[str]:
    """The socket of a server of one test's own."""
    home = Path(f"/tmp/quaff-t{uuid4().hex[:6]}")
    yield embedded.ensure(home)
    end_embedded(home)
    shutil.rmtree(home)


def refusal(quaff: Quaff, act: Callable[[Quaff], object] = lambda quaff: quaff.task(double).delay(1)) -> str:
    """The text of the error, which is ServerUnavailable."""
    with pytest.raises(ServerUnavailable) as caught:
        act(quaff)
    return str(caught.value)


def test_a_server_that_is_away_is_named_with_what_to_do() -> None:
    """What, where, why, what to do, and that nothing was stored."""
    text = refusal(Quaff(NOBODY, deadline=0.1))
    assert text.startswith(f"no Valkey or Redis answers at {NOBODY} (from Quaff(...)): ")
    assert "Start the server there, or set QUAFF_URL" in text
    assert text.endswith("Nothing was stored. [QF011]")


def test_a_server_that_speaks_no_tls_is_asked_whether_it_does(proxy: Proxy) -> None:
    """One that does not answers nothing that could be read; a try without TLS is at hand."""
    text = refusal(Quaff(proxy.url.replace("redis://", "rediss://"), deadline=0.3))
    assert "Does it speak TLS on that port? redis:// is without." in text


def test_a_question_to_a_server_that_is_away_says_nothing_of_storing() -> None:
    """It would have stored nothing anyway; in a thread and in a coroutine the same."""
    job = Quaff(NOBODY, deadline=0.1).job("default-0-" + "0" * 32)
    with pytest.raises(ServerUnavailable, match="no Valkey or Redis answers") as sync:
        job.result(1)
    with pytest.raises(ServerUnavailable, match="no Valkey or Redis answers") as aio:
        asyncio.run(job.aresult(1))
    assert "stored" not in str(sync.value) + str(aio.value)


class Interrupted(list[Submission]):
    """Submissions; something happens as the last of them is come to, when a full chunk has been sent.

    Not the first time: where they go is looked at before anything is sent.
    """

    def __init__(self, submissions: list[Submission], happens: Callable[[], object]) -> None:
        super().__init__(submissions)
        self._turns = iter((lambda: None, happens))

    def __iter__(self) -> Iterator[Submission]:
        yield from self[:-1]
        next(self._turns)()
        yield self[-1]


def test_what_was_stored_before_the_server_would_no_longer_is_counted(own_server: str) -> None:
    """Chunks of 500: the error has the handles, and its text does not say that nothing was stored."""
    quaff = Quaff(f"unix://{own_server}", deadline=2)
    task = quaff.task(double)
    with redis.Redis(unix_socket_path=own_server) as raw:
        submissions = [submission(task, (number,), {}) for number in range(502)]
        text = refusal(quaff, lambda quaff: quaff.send(Interrupted(submissions, lambda: raw.replicaof("::1", "1"))))
    assert text.endswith("500 of 502 jobs were stored before. [QF011]")


def test_a_replica_is_told_from_a_server_that_is_away(own_server: str) -> None:
    """Nobody has to start what runs."""
    with redis.Redis(unix_socket_path=own_server) as raw:
        raw.replicaof("127.0.0.1", "1")
    text = refusal(Quaff(f"unix://{own_server}", deadline=2))
    assert text.startswith(f"the server at unix://{own_server} (from Quaff(...)) answers, but refused for 2 s: ")
    assert "set QUAFF_URL to its primary. Nothing was stored." in text


def test_a_server_that_refuses_for_now_is_quoted(own_server: str) -> None:
    """It knows why, here that it has no replica that it was told to have."""
    with redis.Redis(unix_socket_path=own_server) as raw:
        raw.config_set("min-replicas-to-write", 1)
    text = refusal(Quaff(f"unix://{own_server}", deadline=2))
    assert "answers, but refused for 2 s: NOREPLICAS " in text
    assert "Try again later. Nothing was stored." in text


def test_a_wrong_password_is_told_from_a_server_that_is_away(own_server: str) -> None:
    """And does not show the password."""
    with redis.Redis(unix_socket_path=own_server) as raw:
        raw.config_set("requirepass", "right")
        text = refusal(Quaff(f"unix://:wrong@{own_server}", deadline=2))
        raw.config_set("requirepass", "")
    assert "answers, but refused" in text
    assert "the password in QUAFF_URL" in text
    assert "wrong" not in text


def test_an_embedded_server_that_does_not_start_is_not_for_the_user_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log says why it did not."""
    monkeypatch.setenv("QUAFF_SERVER_BINARY", "false")
    text = refusal(Quaff(f"embedded://{tmp_path}/home", deadline=1))
    assert text.startswith(f"no Valkey or Redis answers at embedded://{tmp_path}/home (from Quaff(...)): the embedded ")
    assert "look into valkey.log there, or set QUAFF_URL to another one. Nothing was stored." in text


# Applications side by side


@pytest.fixture
def make(server_url: str, namespace: str) -> Iterator[Callable[[str], Quaff]]:
    """Makes applications on one server, each in a namespace of its own."""
    made: list[Quaff] = []

    def make(name: str) -> Quaff:
        made.append(Quaff(server_url, namespace=f"{namespace}-{name}"))
        return made[-1]

    yield make
    for quaff in made:
        quaff.store.endpoint.pool().disconnect()


def test_namespaces_keep_applications_apart(make: Callable[[str], Quaff]) -> None:
    """The same task, queue and key on the same server: two jobs, and neither application knows the other's."""
    one, two = make("one"), make("two")
    jobs = [quaff.task(double).options(key="k").delay(number) for number, quaff in enumerate((one, two))]
    assert [job.existing for job in jobs] == [False, False]
    assert jobs[0] != jobs[1]
    plain = one.task(double).delay(1)
    assert plain.state == "queued"
    with pytest.raises(JobNotFound):
        _ = two.job(plain.id).state


def test_one_function_can_be_a_task_of_several_applications(make: Callable[[str], Quaff]) -> None:
    """Each with options of its own, and a batch of one does not hold back the other."""
    one, two = make("one"), make("two")
    slow, fast = one.task(double, queue="slow"), two.task(double, queue="fast")
    with one.batch():
        held, sent = slow.delay(1), fast.delay(1)
        assert sent.state == "queued"
        with pytest.raises(JobNotFound):
            _ = held.state
    assert (held.state, held.queue, sent.queue) == ("queued", "slow", "fast")


def test_two_objects_for_one_namespace_are_one_application(server_url: str, make: Callable[[str], Quaff]) -> None:
    """In another module or process: what counts are server and namespace."""
    job = make("same").task(double).options(key="k").delay(1)
    again = make("same").task(double).options(key="k").delay(1)
    assert (again, again.existing) == (job, True)


def test_an_application_asks_nobody_before_it_has_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Declaring tasks and making handles starts no server and reads no setting: that is for the first call."""
    monkeypatch.chdir(tmp_path)
    quaff = Quaff("no-url:", lease="no number")
    quaff.task(double)
    assert quaff.task(double)(2) == 4
    assert list(tmp_path.iterdir()) == []
    quaff = Quaff(namespace="lazy")
    assert quaff.job("default-0-" + "0" * 32).queue == "default"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("deadline", [0.1, 0.5])
def test_every_call_to_a_server_that_is_away_ends_within_the_deadline(
    deadline: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the URL and where it was set, in threads and coroutines."""
    monkeypatch.setenv("QUAFF_URL", NOBODY)
    quaff = Quaff(deadline=deadline)
    task, job = quaff.task(double), quaff.job("default-0-" + "0" * 32)
    calls: list[Callable[[], object]] = [
        lambda: task.delay(1),
        lambda: task.map([(1,), (2,)]),
        lambda: asyncio.run(task.adelay(1)),
        lambda: job.state,
        job.info,
        job.result,
        lambda: asyncio.run(job.aresult()),
    ]

    def took(call: Callable[[], object]) -> float:
        before = time.monotonic()
        with pytest.raises(ServerUnavailable) as caught:
            call()
        assert f"{NOBODY} (from QUAFF_URL in the environment)" in str(caught.value)
        return time.monotonic() - before

    for call in calls:  # a busy machine makes one longer, never shorter
        assert any(took(call) < deadline + 1 for _ in range(3))


# Threads and forks


def test_many_threads_share_an_application(make: Callable[[str], Quaff]) -> None:
    """From its very first call on; each gets its own answers."""
    quaff = make("threads")
    task = quaff.task(double)
    ready = threading.Barrier(16)

    def send(number: int) -> list[str | None]:
        ready.wait(10)
        jobs = [task.options(key=f"{number}-{n}").delay(n) for n in range(10)]
        assert [job.state for job in jobs] == ["queued"] * 10
        return [job.key for job in jobs]

    with ThreadPoolExecutor(16) as pool:
        keys = [key for keys in pool.map(send, range(16)) for key in keys]
    assert keys == [f"default/{task.name}/{number}-{n}" for number in range(16) for n in range(10)]


FORKS = """
import os
from quaff import Quaff
from quaff.task import submission
quaff = Quaff()
task = quaff.task(len, name="size")
first = task.delay("x")
child = os.fork()
me = "child" if child == 0 else "parent"
for n in range(100):
    job = task.options(key=f"{me}-{n}").delay([n])
    assert not job.existing and job.state == "queued" and job.key == f"default/size/{me}-{n}"
assert first.state == "queued"
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(sum(quaff.job(f"default/size/{who}-{n}").state == "queued" for who in ("child", "parent") for n in range(100)))
"""


def test_an_application_can_be_used_on_both_sides_of_a_fork(
    server_url: str, namespace: str, running: Callable[[Program], Program]
) -> None:
    """F11: as a web server that loads the application first does it; ids and replies are nobody else's."""
    program = running(python("-c", FORKS, env={"QUAFF_URL": server_url, "QUAFF_NAMESPACE": namespace}))
    assert program.wait() == 0, program.output
    assert program.stdout == ["200"]
