"""What an error says of a call that may have been applied: never that it was not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from quaff import EnqueueUnknown, JobState, Quaff, ScriptFault, ServerUnavailable, chain
from quaff.errors import QueueFull
from quaff.model import ids
from quaff.store.faults import NoAnswer
from quaff.store.queries import lookup
from tests.helpers import wait_until
from tests.proxy import Proxy
from tests.store.engine import Desk
from tests.store.wire import Own, Send, both, close, enqueue, store_at


@pytest.fixture
def line(own: Own) -> Iterator[Proxy]:
    """A line to a server that a test may starve."""
    proxy = Proxy(str(own.path))
    yield proxy
    proxy.close()


@contextmanager
def starved(line: Proxy, desk: Desk) -> Iterator[None]:
    """What is sent inside is held on its way; then the memory is full, and it is sent again."""

    def starve() -> None:
        wait_until(lambda: line.met == ["hold"])
        desk.redis.config_set("maxmemory", 1)
        line.cut()

    other = threading.Thread(target=starve)
    other.start()
    yield
    other.join()


@both
@pytest.mark.parametrize("stored", [True, False])
def test_a_refusal_after_a_lost_reply_is_no_refusal(
    send: Send, stored: bool, own: Own, line: Proxy, namespace: str
) -> None:
    """F28, F44: the next try finds no memory, and the first one may have been in time: that is all that is known."""
    desk, store, id = Desk(own.url, namespace), store_at(line.url), ids.new_raw()
    send(store, [enqueue(desk, ids.new_raw())])
    (line.on_reply if stored else line.on_request)("hold")

    with starved(line, desk), pytest.raises(NoAnswer, match=r"one try, and another failed: .*no memory left"):
        send(store, [enqueue(desk, id)])
    with pytest.raises(QueueFull):  # nothing of this one can have been applied
        send(store, [enqueue(desk, ids.new_raw())])
    desk.redis.config_set("maxmemory", 0)
    assert (desk.store.run(lookup(desk.home, id, all=True)).state is not None) == stored
    close(store)
    desk.close()


def test_who_sends_is_told_which_job_it_is(own: Own, line: Proxy, namespace: str) -> None:
    """F28: by EnqueueUnknown, with its id, where another try was refused."""
    quaff = Quaff(line.url, namespace=namespace, deadline=5)
    task = quaff.task(print, name="noop")
    task.delay()
    desk = Desk(own.url, namespace)
    line.on_reply("hold")

    with (
        starved(line, desk),
        pytest.raises(EnqueueUnknown, match=r"no memory left.*may be stored: look at its state") as caught,
    ):
        task.delay()
    assert quaff.job(caught.value.id).state is JobState.QUEUED
    desk.redis.config_set("maxmemory", 0)
    desk.close()


def _delay(part: Any, arm: Callable[[], None]) -> None:
    part.delay()
    arm()
    part.delay()


def _adelay(part: Any, arm: Callable[[], None]) -> None:
    async def main() -> None:
        await part.adelay()
        arm()
        await part.adelay()

    asyncio.run(main())


@pytest.mark.parametrize("send", [_delay, _adelay])
@pytest.mark.parametrize("stored", [True, False])
def test_a_flow_that_nobody_answers_for_is_in_doubt(
    send: Callable[..., None], stored: bool, server_url: str, namespace: str, proxy: Proxy
) -> None:
    """F33: EnqueueUnknown has its id, and a look at its state tells."""
    quaff, direct = Quaff(proxy.url, namespace=namespace, deadline=0.5), Quaff(server_url, namespace=namespace)
    task = quaff.task(print, name="noop")
    fated = proxy.on_reply if stored else proxy.on_request
    with pytest.raises(EnqueueUnknown, match=r"flow .* may be stored: look at its state") as caught:
        send(chain(task.si(), task.si()), lambda: fated(*["hold"] * 9))
    found = direct.flow(caught.value.id)
    if stored:
        assert found.state is JobState.RUNNING
    else:
        with pytest.raises(LookupError):
            found.state  # noqa: B018
    proxy.let_go()


def test_a_job_that_was_to_join_a_flow_is_in_doubt_as_well(server_url: str, namespace: str, proxy: Proxy) -> None:
    """F33: with its id, by which it is found."""
    quaff, direct = Quaff(proxy.url, namespace=namespace, deadline=0.5), Quaff(server_url, namespace=namespace)
    task = quaff.task(print, name="noop")
    flow = chain(task.si(), task.si()).delay()
    flow.add(task.si())
    proxy.on_reply(*["hold"] * 9)
    with pytest.raises(EnqueueUnknown, match=r"job .* may be stored: look at its state") as caught:
        flow.add(task.si())
    assert direct.job(caught.value.id).state is JobState.QUEUED
    proxy.let_go()


def test_without_a_server_nothing_of_a_flow_is_stored() -> None:
    """F30: and the text says so."""
    task = Quaff("redis://127.0.0.1:1", deadline=0.1).task(print, name="noop")
    with pytest.raises(ServerUnavailable, match="Nothing was stored"):
        chain(task.si(), task.si()).delay()


def test_what_goes_before_the_first_job_of_a_queue_stores_none(server_url: str, namespace: str, proxy: Proxy) -> None:
    """F33: whatever became of it, the job was not sent."""
    quaff = Quaff(proxy.url, namespace=namespace, deadline=0.5, partitions={"wide": 3})
    task = quaff.task(print, name="noop", queue="wide")
    proxy.on_reply(*["hold"] * 9)
    with pytest.raises(ServerUnavailable, match="Nothing was stored"):
        task.delay()
    proxy.let_go()


def test_a_script_that_stops_half_way_is_no_refusal(server_url: str, desk: Desk) -> None:
    """F45: what it had written stays; the error has the remedy, and where a job was sent its id."""
    quaff = Quaff(server_url, namespace=desk.home.namespace)
    task = quaff.task(print, name="noop", queue=desk.home.queue)
    for key in ("msg", "active"):
        desk.redis.set(desk.key(key), "no hash")
    with pytest.raises(EnqueueUnknown, match=r"half-way.*WRONGTYPE.*`quaff audit` .*; job .* may be stored") as caught:
        task.map([(1,), (2,)])
    assert caught.value.jobs == []
    with pytest.raises(ScriptFault, match=r"half-way.*WRONGTYPE.*`quaff audit`.*\[QF025\]"):
        quaff.job(caught.value.id).cancel()
    for key in ("msg", "active"):
        desk.redis.delete(desk.key(key))
