"""The senders and a difficult server: it forgets scripts, is full, refuses; and many senders at once."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from quaff import Quaff, QueueFull, ServerUnavailable
from quaff.errors import QuaffError, StoreError
from quaff.model import ids
from quaff.store import transitions as t
from quaff.store.client import Store
from quaff.store.connect import Endpoint
from quaff.store.faults import NoAnswer
from quaff.store.link import Link
from quaff.store.queries import lookup
from quaff.store.transitions import Call, Verdict
from tests.helpers import python, wait_until
from tests.matrix import line_to, plain
from tests.proxy import Proxy
from tests.store.engine import Desk, fifo, process_id, unchanged
from tests.store.wire import Own, Send, aio, both, claim, close, enqueue, settle, store_at

OK, ALREADY, FENCED, GONE, _ = Verdict

# Forgotten scripts


@both
def test_a_server_that_forgets_its_scripts_is_told_them_again(send: Send, desk: Desk) -> None:
    """F38: before a call, and in the middle of what one process does; nothing is sent twice for it."""
    process = process_id()
    for number in range(1, 4):
        desk.redis.script_flush()
        assert send(desk.store, [enqueue(desk, ids.new_raw(), b"%d" % number)]) == [[0]]
        desk.redis.script_flush()
        (claimed,) = send(desk.store, [claim(desk, process, number)])
        assert fifo(claimed.leases) == [b"%d" % number]
        desk.redis.script_flush()
        assert send(desk.store, [settle(desk, process, *claimed.leases)]) == [[OK]]
    assert desk.dump().number("succeeded") == 3


@both
def test_a_pipeline_of_forgotten_scripts_keeps_its_order(send: Send, desk: Desk) -> None:
    """F38: each call is answered in its own place, as if nothing had been forgotten."""
    process, one, two = process_id(), ids.new_raw(), ids.new_raw()
    desk.redis.script_flush()
    calls = [enqueue(desk, one, b"1"), enqueue(desk, two, b"2"), claim(desk, process), lookup(desk.home, two, all=True)]
    first, second, claimed, found = send(desk.store, calls)
    assert (first, second, fifo(claimed.leases), found.message) == ([0], [0], [b"1", b"2"], b"2")
    desk.redis.script_flush()
    round_two = [settle(desk, process, *claimed.leases), claim(desk, process, 2), enqueue(desk, one, b"1")]
    verdicts, nothing, again = send(desk.store, round_two)
    assert (verdicts, nothing.leases, again) == ([OK, OK], [], [b"s"])
    link = Link(desk.store.endpoint, 5)
    desk.redis.script_flush()
    assert link.exchange([settle(desk, process, *claimed.leases)]) == [[ALREADY, ALREADY]]


@both
def test_a_server_that_forgets_all_the_time_answers_all_the_same(send: Send, desk: Desk) -> None:
    """F38: a script is told and called in one go; where even that comes apart, it is a matter of another try."""
    over, raw = threading.Event(), plain(desk.url)

    def forget() -> None:
        while not over.is_set():
            raw.script_flush()

    thread = threading.Thread(target=forget)
    thread.start()
    try:
        for _ in range(30):
            assert send(desk.store, [enqueue(desk, ids.new_raw()), enqueue(desk, ids.new_raw())]) == [[0], [0]]
    finally:
        over.set()
        thread.join()
        raw.close()


@both
def test_one_broken_call_in_a_pipeline_leaves_the_connection_in_order(
    send: Send, desk: Desk, server_url: str, namespace: str
) -> None:
    """F45: what a damaged key makes of one call is a StoreError that names the server; the next call is answered."""
    (known,) = desk.put(b"known")
    damaged = Desk(server_url, f"{namespace}x")
    damaged.redis.set(damaged.key("msg"), "no hash")
    with pytest.raises(StoreError, match="WRONGTYPE") as caught:
        send(desk.store, [enqueue(desk, known, b"known"), enqueue(damaged, ids.new_raw()), lookup(desk.home, known)])
    assert desk.store.endpoint.where in str(caught.value)
    assert send(desk.store, [lookup(desk.home, known, all=True)])[0].message == b"known"
    damaged.redis.delete(damaged.key("msg"))
    damaged.close()


# No memory


@both
def test_a_full_server_takes_no_job_and_lets_go_of_those_it_has(send: Send, own: Own, namespace: str) -> None:
    """F23, F44: QueueFull at once and nothing half-stored; claim, settle, heartbeat, release, reap and sweep go on."""
    desk = Desk(own.url, namespace)
    desk.put(*(b"%d" % n for n in range(8)))
    one, two = process_id(), process_id()
    running = desk.take(one, 2)
    for forgets in (False, True, False):
        if forgets:
            desk.redis.script_flush()

        def refused() -> None:
            desk.redis.config_set("maxmemory", 1)
            batch = [(ids.new_raw(), b"m" * 100) for _ in range(50)]
            with pytest.raises(QueueFull, match="no memory") as caught:
                send(desk.store, [t.enqueue(desk.home, batch)])
            assert desk.store.endpoint.where in str(caught.value)
            desk.redis.config_set("maxmemory", 0)  # Redis 7.0 refuses all of a transaction, also what only reads

        unchanged(desk, refused)
    desk.redis.config_set("maxmemory", 1)
    (claimed,) = send(desk.store, [claim(desk, two, 1, 3)])
    assert send(desk.store, [settle(desk, two, claimed.leases[0])]) == [[OK]]
    assert desk.settle(one, *running, ttl_ms=1, window_ms=1) == [OK, OK]
    assert desk.heartbeat(one, two) == [1, 1]
    assert desk.release(two, claimed.leases[1]) == [OK]
    assert desk.reap(two, claimed.leases[2].id) == (1, 0, False)
    expired: list[int] = []
    wait_until(lambda: expired.append(desk.sweep().expired) or sum(expired) == 2, what="the end of two results")
    last = process_id()
    assert len(desk.take(last, idle=True)) == 1
    rest = desk.take(last, 10)
    assert len(rest) == 4
    assert desk.settle(last, *rest) == [OK] * 4
    desk.redis.config_set("maxmemory", 0)
    assert desk.put(b"again")
    desk.dump()
    close(desk.store)
    desk.close()


# Many at once


def test_very_many_coroutines_send_at_once(desk: Desk) -> None:
    """A thousand, each gets its own answer; more than a pool has connections, and nobody is turned away."""
    known = dict(zip(desk.put(*(b"%d" % n for n in range(500))), range(500), strict=True))

    async def ask(id: bytes, number: int) -> bool:
        return (await desk.store.aio.run(lookup(desk.home, id, all=True))).message == b"%d" % number

    async def store() -> bool:
        return await desk.store.aio.run(enqueue(desk, ids.new_raw())) == [0]

    async def main() -> list[bool]:
        return await asyncio.gather(*(ask(id, n) for id, n in known.items()), *(store() for _ in range(500)))

    assert all(asyncio.run(main()))
    assert desk.dump().number("enqueued") == 1000


def test_very_many_threads_send_at_once(desk: Desk) -> None:
    """More than a pool has connections, all in the same moment."""
    ready = threading.Barrier(150)

    def send() -> Any:
        ready.wait(30)
        return desk.store.run(enqueue(desk, ids.new_raw()))

    with ThreadPoolExecutor(150) as pool:
        assert [future.result() for future in [pool.submit(send) for _ in range(150)]] == [[0]] * 150
    assert len(set(desk.dump().ready)) == 150


def test_a_cancelled_coroutine_leaves_no_reply_for_others(desk: Desk) -> None:
    """F13, S21: cancelled at every step of a call, stored or not; the next call on the pool gets its own answer."""
    (known,) = desk.put(b"known")
    stored = 0

    async def main() -> None:
        nonlocal stored
        for steps in range(60):
            id = ids.new_raw()
            task = asyncio.create_task(desk.store.aio.run(enqueue(desk, id)))
            for _ in range(steps):
                await asyncio.sleep(0)
            ended = task.done()
            task.cancel()
            outcome = (await asyncio.gather(task, return_exceptions=True))[0]
            assert outcome == [0] if ended else outcome == [0] or isinstance(outcome, asyncio.CancelledError)
            assert (await desk.store.aio.run(lookup(desk.home, known, all=True))).message == b"known"
            found = await desk.store.aio.run(lookup(desk.home, id))
            stored += found.state is not None
            assert found.state is not None or outcome != [0]

    asyncio.run(main())
    assert desk.dump().number("enqueued") == stored + 1


def test_a_cancelled_adelay_is_cancelled_and_its_pool_lives(server_url: str, namespace: str, proxy: Proxy) -> None:
    """F13, S21: also while its reply is held up; the job is stored once, as anybody can see."""
    quaff = Quaff(proxy.url, namespace=namespace)
    task = quaff.task(print, name="never")
    desk = Desk(server_url, namespace)

    async def main() -> list[Any]:
        jobs = [await task.adelay()]
        proxy.on_reply("hold")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task.adelay(), 0.3)
        jobs += await asyncio.gather(*(task.adelay() for _ in range(20)))
        return jobs

    jobs = asyncio.run(main())
    assert len({job.id for job in jobs}) == 21
    key = desk.home.key("ready").replace(b"/q#", b"/default#")
    assert desk.redis.llen(key) == 22
    quaff.store.endpoint.tidy()
    desk.close()


def test_two_event_loops_one_after_the_other_share_a_store(desk: Desk) -> None:
    """And threads between them."""
    sent = [ids.new_raw() for _ in range(6)]
    for id, other in zip(sent[::2], sent[1::2], strict=True):
        assert aio(desk.store, [enqueue(desk, id)]) == [[0]]
        assert desk.store.run(enqueue(desk, other)) == [0]
    assert desk.dump().ready == sent


FORKS = """
import asyncio, os, sys
from quaff.model import ids
from quaff.store import transitions as t
from quaff.store.client import Store
from quaff.store.connect import Endpoint
from quaff.store.keys import partition
from quaff.store.queries import lookup

store, home = Store(Endpoint(sys.argv[1], "a test", 10), 10), partition(sys.argv[2], "q")
first = ids.new_raw()
store.run(t.enqueue(home, [(first, b"first")]))
asyncio.run(store.aio.run(lookup(home, first)))
child = os.fork()
me = b"child" if child == 0 else b"parent"
for n in range(1000):
    id, text = ids.new_raw(), me + b"%d" % n
    assert store.run(t.enqueue(home, [(id, text)])) == [0]
    call = lookup(home, id, all=True)
    found = store.run(call) if n % 50 else asyncio.run(store.aio.run(call))
    assert found.message == text, (found, text)
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_copy_opens_connections_of_its_own(
    server_url: str, namespace: str, desk: Desk, running: Callable[..., Any]
) -> None:
    """F11: both sides send at the same time, and no reply goes to the wrong one."""
    program = running(python("-c", FORKS, server_url, namespace))
    assert program.wait() == 0, program.output
    assert desk.dump().number("enqueued") == 2001


INTERRUPTED = """
import faulthandler, random, signal, sys
from quaff.model import ids
from quaff.store import transitions as t
from quaff.store.client import Store
from quaff.store.connect import Endpoint
from quaff.store.keys import partition
from quaff.store.queries import lookup

class Stop(BaseException):
    pass

def stop(*_):
    raise Stop

home = partition(sys.argv[2], "default")
store = Store(Endpoint(sys.argv[1], "the test", 10), 10)
jobs = [(ids.new_raw(), b"message %d" % n) for n in range(100)]
for job in jobs:
    store.run(t.enqueue(home, [job]))
signal.signal(signal.SIGALRM, stop)
faulthandler.dump_traceback_later(20)
stopped = 0
for n in range(6000):
    id, text = jobs[n % 100]
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00002, 0.0006))
        try:
            found = store.run(lookup(home, id, all=True))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Stop:
        stopped += 1
    else:
        assert found.message == text, (found, text)
print(stopped)
"""


def test_a_call_that_an_exception_interrupts_leaves_no_reply_for_the_next_one(
    server_url: str, namespace: str, running: Callable[..., Any]
) -> None:
    """F13: a signal handler may raise between any two lines, as a limit of a web server does; nothing is mixed up."""
    program = running(python("-c", INTERRUPTED, server_url, namespace))
    assert program.wait() == 0, program.output
    assert int(program.stdout[-1]) > 300, program.output


# Texts

SECRET = "opensesame"


def told(error: BaseException) -> str:
    """Everything that a log would show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error)


def refusal(send: Send, store: Store, calls: list[Call[Any]]) -> QuaffError:
    """What calls are refused with. A reply that comes too late on a busy machine is another test's: they go again."""
    for _ in range(5):
        with pytest.raises((StoreError, ServerUnavailable)) as caught:
            send(store, calls)
        if not isinstance(caught.value, NoAnswer):
            break
    return caught.value


@pytest.fixture
def locked(own: Own) -> Iterator[Own]:
    """A server with a password, and a user who may not do much."""
    client = redis.Redis(unix_socket_path=own.path)
    client.execute_command("ACL", "SETUSER", "guest", "on", f">{SECRET}", "~*", "+ping", "+select")
    client.config_set("requirepass", SECRET)
    yield own
    client.execute_command("AUTH", "default", SECRET)
    client.config_set("requirepass", "")
    client.close()


@both
@pytest.mark.parametrize(
    ("user", "password", "error", "says"),
    [
        ("", SECRET + "wrong", ServerUnavailable, ""),
        ("", "", ServerUnavailable, "Authentication required"),
        ("guest", SECRET, StoreError, "no permissions"),
    ],
)
def test_who_may_not_is_told_where_and_nobody_learns_the_password(
    send: Send, user: str, password: str, error: type[QuaffError], says: str, locked: Own, namespace: str
) -> None:
    """F35, F46: the text has the masked URL and where it came from, and says what the server said (S17)."""
    login = f"{user}:{password}@" if password else ""
    store = Store(Endpoint(f"unix://{login}{locked.path}", "QUAFF_URL in the environment", 1), 1)
    desk = Desk(locked.url, namespace)
    refused = refusal(send, store, [enqueue(desk, ids.new_raw())])
    text = told(refused)
    assert isinstance(refused, error), text
    assert SECRET not in text
    shown = f"unix://{user}:***@{locked.path}" if password else f"unix://{locked.path}"
    assert f"{shown} (from QUAFF_URL in the environment)" in text
    assert says in text
    with pytest.raises((NoAnswer, StoreError)) as caught_by_worker:
        raise next(iter(Link(store.endpoint, 1).exchange([enqueue(desk, ids.new_raw())])))
    assert SECRET not in told(caught_by_worker.value)
    assert shown in str(caught_by_worker.value)
    close(store)


@both
@pytest.mark.parametrize(
    ("password", "error", "says"), [("wrong", ServerUnavailable, "WRONGPASS|invalid"), ("", NoAnswer, "Authentication")]
)
def test_what_the_server_has_said_is_told_also_when_its_last_reply_is_late(
    send: Send, password: str, error: type[QuaffError], says: str, locked: Own, namespace: str
) -> None:
    """F35: time runs out in the middle of a later try, and that tells less than the answer to the first one."""
    proxy = Proxy(locked.path)
    proxy.on_reply("pass", "lose")
    login = f":{password}@" if password else ""
    store = store_at(proxy.url.replace("redis://", f"redis://{login}"), 1)
    with pytest.raises(error, match=says):
        send(store, [enqueue(Desk(locked.url, namespace), ids.new_raw())])
    assert proxy.met == ["lose"]
    close(store)
    proxy.close()


@both
def test_the_right_password_opens(send: Send, locked: Own, namespace: str) -> None:
    """So the tests above are about the wrong ones."""
    store = store_at(f"unix://:{SECRET}@{locked.path}")
    assert send(store, [enqueue(Desk(locked.url, namespace), ids.new_raw())]) == [[0]]
    close(store)


@both
def test_a_silent_server_learns_the_password_and_nobody_else(send: Send, server_url: str, namespace: str) -> None:
    """Time that runs out anywhere on the way, and a line that breaks, tell no secret either."""
    for fates in (("lose",), ("hold",), ("cut",) * 100):
        proxy = Proxy(line_to(server_url))
        proxy.on_reply(*fates)
        url = proxy.url.replace("redis://", f"redis://user:{SECRET}@")
        store = store_at(url, 0.3)
        with pytest.raises((NoAnswer, ServerUnavailable)) as caught:
            send(store, [enqueue(Desk(server_url, namespace), ids.new_raw())])
        assert SECRET not in told(caught.value)
        assert f"{proxy.url.replace('redis://', 'redis://user:***@')} (from a test)" in str(caught.value)
        close(store)
        proxy.close()
