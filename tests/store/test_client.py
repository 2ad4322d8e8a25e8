"""The senders and a bad line: one deadline for everything, and no job stored twice whatever gets lost."""

from __future__ import annotations

import asyncio
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from redis.exceptions import BusyLoadingError

from quaff import EnqueueUnknown, Quaff, ServerUnavailable
from quaff.errors import EnqueueError
from quaff.model import ids
from quaff.store.bell import Bell
from quaff.store.connect import Endpoint
from quaff.store.errands import Errands
from quaff.store.faults import NoAnswer
from quaff.store.keys import partition
from quaff.store.link import Link
from quaff.store.queries import lookup
from quaff.store.transitions import Verdict
from tests.helpers import wait_until
from tests.matrix import line_to
from tests.proxy import Proxy
from tests.store.engine import Desk, fifo, process_id, unchanged
from tests.store.wire import Own, Send, both, claim, close, enqueue, settle, store_at, sync, within
from tests.worker.support import after, side_by_side

OK, ALREADY, FENCED, GONE, _ = Verdict

# One deadline


@contextmanager
def nobody() -> Iterator[str]:
    """A port where nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{reserved.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """A port where connections are accepted and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def full() -> Iterator[str]:
    """A port with no place for one connection more, so that connecting hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as fillers:
        for _ in range(3):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def half_way() -> Iterator[str]:
    """A port where even the greeting of a connection, the choice of a database, is not answered."""
    with silent() as url:
        yield f"{url}/3"


@contextmanager
def stranger() -> Iterator[str]:
    """A port where a web server answers."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"redis://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


@pytest.mark.parametrize(
    ("place", "error"),
    [
        (nobody, ServerUnavailable),
        (silent, EnqueueUnknown),
        (full, ServerUnavailable),
        (half_way, ServerUnavailable),
        (stranger, EnqueueUnknown),
    ],
)
def test_a_dead_server_holds_nobody_up(
    place: Callable[[], AbstractContextManager[str]], error: type[EnqueueError]
) -> None:
    """2 s by default, for threads and coroutines alike, and it says whether a job may be stored (F27, F30, F33)."""

    def one(send: Callable[[], object]) -> None:
        with within(2), pytest.raises(error) as caught:
            send()
        assert url in str(caught.value)
        assert "(from" in str(caught.value)
        assert ("Nothing was stored" in str(caught.value)) == (error is ServerUnavailable)

    with place() as url:
        quaff = Quaff(url)
        task = quaff.task(print, name="never")
        side_by_side(lambda: one(task.delay), lambda: one(lambda: asyncio.run(task.adelay())))


@both
def test_a_frozen_server_is_given_up_at_the_deadline(send: Send, own: Own, namespace: str) -> None:
    """F26: by who was connected, whose job may be stored, and by who comes new; when it thaws, all is as it was."""
    desk = Desk(own.url, namespace)
    old, new = store_at(own.url, 1), store_at(own.url, 1)
    id, other = ids.new_raw(), ids.new_raw()
    assert send(old, [enqueue(desk, id)]) == [[0]]

    async def in_one_loop() -> None:
        await old.aio.run(enqueue(desk, id))
        own.kill(signal.SIGSTOP)
        await old.aio.run(enqueue(desk, other))

    def in_a_thread() -> None:
        own.kill(signal.SIGSTOP)
        old.run(enqueue(desk, other))

    with within(1), pytest.raises(NoAnswer, match="a test"):
        in_a_thread() if send is sync else asyncio.run(in_one_loop())
    with within(1), pytest.raises(ServerUnavailable, match="a test"):
        send(new, [enqueue(desk, ids.new_raw())])
    own.kill(signal.SIGCONT)
    # What was sent waits in the server's buffer, and is applied before or after the next call: one job each way (F32).
    assert send(old, [enqueue(desk, other)])[0] in ([0], [1])
    wait_until(lambda: desk.dump().number("enqueued") == 2, what="both jobs")
    for store in (old, new, desk.store):
        close(store)


@both
def test_the_deadline_covers_all_tries_together(send: Send, calls: Desk, proxy: Proxy) -> None:
    """What is left when a try has failed is all that the next one gets, also for connecting (F27)."""
    store = store_at(proxy.url, 2)
    proxy.on_reply("hold")
    proxy.stop_accepting()

    def cut_late() -> None:
        wait_until(lambda: proxy.met == ["hold"])
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() > begun + 1.5)
        proxy.cut()

    def call() -> None:
        with within(2), pytest.raises(NoAnswer):
            send(store, [enqueue(calls, ids.new_raw())])

    side_by_side(call, cut_late)
    close(store)


@both
def test_slow_replies_do_not_add_up(send: Send, calls: Desk, proxy: Proxy) -> None:
    """Many calls in one round trip have one deadline, however slowly their replies come in (F25)."""
    store = store_at(proxy.url, 1)
    proxy.drip(0.6)
    with within(1), pytest.raises(NoAnswer):
        send(store, [enqueue(calls, ids.new_raw()) for _ in range(6)])
    close(store)


# Lost on the way


@both
@pytest.mark.parametrize("fate", ["cut", 1, 3])
def test_a_job_whose_reply_is_lost_is_stored_once(send: Send, fate: str | int, calls: Desk, proxy: Proxy) -> None:
    """F28: nobody but the sender notices that the connection broke, once or three times in a row."""
    store, id = store_at(proxy.url), ids.new_raw()
    before = calls.dump().number("enqueued")
    proxy.on_reply(fate, fate, fate)
    assert send(store, [enqueue(calls, id)]) == [[1]]
    assert proxy.met == [fate] * 3
    assert (calls.dump().ready, calls.dump().number("enqueued")) == ([id], before + 1)
    close(store)


@both
def test_a_reply_that_never_comes_leaves_one_job_too(send: Send, calls: Desk, proxy: Proxy) -> None:
    """F33: the connection stands and the reply is gone; the same id again says that it is there."""
    store, id = store_at(proxy.url, 0.5), ids.new_raw()
    proxy.on_reply("lose")
    with within(0.5), pytest.raises(NoAnswer, match=proxy.url):
        send(store, [enqueue(calls, id)])
    assert send(store, [enqueue(calls, id)]) == [[1]]
    assert calls.dump().ready == [id]
    close(store)


@both
def test_half_a_command_is_no_command(send: Send, calls: Desk) -> None:
    """F29: cut at each of its bytes, it is not applied, and sent again it is."""
    packed = calls.store.endpoint.connection().pack_commands([enqueue(calls, ids.new_raw()).command])
    sent = [ids.new_raw() for _ in b"".join(packed)]

    def cut(lengths: range) -> None:
        proxy = Proxy(line_to(calls.url))
        store = store_at(proxy.url)
        for length in lengths:
            proxy.on_request(length)
            assert send(store, [enqueue(calls, sent[length])]) == [[0]]
        assert proxy.met == [*lengths]
        close(store)
        proxy.close()

    side_by_side(*(partial(cut, range(first, len(sent), 4)) for first in range(4)))
    assert sorted(calls.dump().ready) == sorted(sent)


@both
def test_a_late_reply_is_no_answer_to_the_next_call(send: Send, calls: Desk, proxy: Proxy) -> None:
    """F31: the connection that owes a reply is never used again."""
    store = store_at(proxy.url, 0.5)
    (known,) = calls.put(b"known")

    async def ask(id: bytes) -> Any:
        call = lookup(calls.home, id, all=True)
        return store.run(call) if send is sync else await store.aio.run(call)

    async def main() -> None:
        await ask(known)
        proxy.on_reply("hold")
        with pytest.raises(ServerUnavailable):  # a question stores nothing, so nothing is in doubt
            await ask(b"0" * 16)
        answers = [(await ask(known)).message]
        proxy.let_go()
        answers += [(await ask(known)).message for _ in range(20)]
        assert answers == [b"known"] * 21

    asyncio.run(main())
    close(store)


@both
def test_a_lost_claim_is_answered_again_with_the_same_jobs(send: Send, calls: Desk, proxy: Proxy) -> None:
    """F28: and the settle whose reply is lost is ALREADY done, which is a success."""
    store, process = store_at(proxy.url), process_id()
    calls.put(b"a", b"b", b"c")
    proxy.on_reply("cut")
    (claimed,) = send(store, [claim(calls, process)])
    assert sorted(fifo(claimed.leases)) == [b"a", b"b", b"c"]
    assert len(calls.dump().active) == 3
    before = calls.dump().number("succeeded")
    proxy.on_reply("cut")
    assert send(store, [settle(calls, process, *claimed.leases)]) == [[ALREADY] * 3]
    assert calls.dump().number("succeeded") == before + 3
    assert unchanged(calls, lambda: calls.settle(process, *claimed.leases)) == [ALREADY] * 3
    close(store)


def test_a_worker_sends_a_round_again_until_it_is_answered(calls: Desk, proxy: Proxy) -> None:
    """F28, F29: settle and claim in one pipeline, cut on both ways; the link says so, and the same bytes do it."""
    link, process = Link(Endpoint(proxy.url, "a test", 1), 1), process_id()
    calls.put(b"a", b"b")
    (first,) = link.exchange([claim(calls, process, 1, 1)])
    round_two = [settle(calls, process, *first.leases), claim(calls, process, 2, 1)]
    before = calls.dump().number("succeeded")
    for fate in ("cut", 9, 40):
        proxy.on_request(fate)
        with pytest.raises(NoAnswer, match=r"127\.0\.0\.1:\d+ \(from a test\)"):
            link.exchange(round_two)
    assert calls.dump().number("succeeded") == before
    for fate in ("cut", 4, "lose"):
        proxy.on_reply(fate)
        with within(1), pytest.raises(NoAnswer):
            link.exchange(round_two)
    verdicts, second = link.exchange(round_two)
    assert (verdicts, fifo(second.leases)) == ([ALREADY], [b"b"])
    assert len(calls.dump().active) == 1


def test_who_waits_to_be_woken_hears_that_the_server_is_gone(calls: Desk, proxy: Proxy) -> None:
    """F30: a cut connection is no token, and neither is a server's refusal."""
    bell = Bell(Endpoint(proxy.url, "a test", 1), 1)
    descriptor = bell.listen([calls.home], 30)
    calls.put(b"a")
    assert select.select([descriptor], [], [], 10)[0]
    assert bell.heard() == (calls.key("wake"), None)
    descriptor = bell.listen([calls.home], 30)
    proxy.cut()
    assert select.select([descriptor], [], [], 10)[0]
    with pytest.raises(NoAnswer, match="a test"):
        bell.heard()
    calls.redis.set(calls.key("wake"), "of another type")
    bell.listen([calls.home], 30)
    with pytest.raises(NoAnswer, match="WRONGTYPE"):
        bell.heard()
    calls.redis.delete(calls.key("wake"))
    bell.hang_up()


def test_a_claim_that_is_sent_behind_the_wait_comes_with_the_token(calls: Desk, proxy: Proxy) -> None:
    """F23, F28: or when time runs out; what it got if nothing came of it is handed out again to the same claim."""
    endpoint, process = Endpoint(proxy.url, "a test", 1), process_id()
    bell, link = Bell(endpoint, 1), Link(endpoint, 1)

    def heard(seconds: float, number: int, put: bytes | None = None) -> Any:
        descriptor = bell.listen([calls.home], seconds)
        bell.follow(claim(calls, process, number, 1))
        if put is not None:
            calls.put(put)
        assert select.select([descriptor], [], [], 10)[0]
        return bell.heard()

    key, claimed = heard(0.01, 2)
    assert (key, claimed.leases) == (None, [])
    key, claimed = heard(30, 3, b"a")
    assert (key, fifo(claimed.leases)) == (calls.key("wake"), [b"a"])
    calls.redis.script_flush()
    key, unknown = heard(30, 4, b"b")
    assert isinstance(unknown, NoAnswer), unknown
    (claimed,) = link.exchange([claim(calls, process, 4, 1)])
    assert fifo(claimed.leases) == [b"b"]
    proxy.on_reply("cut")
    with pytest.raises(NoAnswer):
        heard(30, 5, b"c")
    for count in (1, 0):
        (claimed,) = link.exchange([claim(calls, process, 5, count)])
        assert fifo(claimed.leases) == [b"c"]
    bell.hang_up()


def test_a_line_is_not_looked_after_while_it_waits(calls: Desk, proxy: Proxy) -> None:
    """Where the URL asks for it: what came back would be the answer to the wait."""
    bell = Bell(Endpoint(f"{proxy.url}?health_check_interval=1", "a test", 1), 1)
    descriptor = bell.listen([calls.home], 30)
    after(1.1)
    with within(0.5):
        bell.follow(claim(calls, process_id(), 1, 1))
    calls.put(b"a")
    assert select.select([descriptor], [], [], 10)[0]
    key, claimed = bell.heard()
    assert (key, fifo(claimed.leases)) == (calls.key("wake"), [b"a"])
    bell.hang_up()


def test_who_waits_to_be_woken_hears_that_the_server_will_not_have_him(calls: Desk, proxy: Proxy) -> None:
    """F46: refused already when he connects, such as by a server that came back with fewer databases."""
    bell = Bell(Endpoint(f"{proxy.url}/999", "a test", 1), 1)
    with pytest.raises(NoAnswer, match="DB index is out of range"):
        bell.listen([calls.home], 30)
    assert not bell.listening


def test_what_was_answered_is_not_sent_again_when_nothing_can_be_sent_at_all(namespace: str) -> None:
    """F42: all nodes fell silent after one of them had answered; its answer counts, and the rest is sent later."""
    home = partition(namespace, "q")
    errands = Errands([lookup(home, ids.new_raw()) for _ in range(3)], None)
    (first,) = errands.next_try()
    errands.take(first, [None, BusyLoadingError("LOADING"), None])
    errands.fail_all(ConnectionError("no node answers"))
    (second,) = errands.next_try()
    assert second.places == [1]
