"""``durability=``: what is confirmed is where it was asked to be, and what cannot be confirmed is not sent."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from quaff import ConfigurationError, DurabilityNotConfirmed, EnqueueError, Quaff, ServerUnavailable, chain, group
from quaff.model.durability import Durability, read, strongest
from quaff.store.keys import partition
from tests.engines import Cluster, Server
from tests.helpers import in_loop, wait_until
from tests.lacking import lacks

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


class Shop:
    """An application with one task on a server."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.quaff = Quaff(url, namespace="shop", **settings)

        @self.quaff.task(name="sell")
        def sell(item: int = 0) -> int:
            return item

        self.sell = sell
        self.home = partition("shop", "default")

    def ids(self, server: Server) -> set[bytes]:
        """The jobs that a server, perhaps a replica, has."""
        return set(server.redis.hkeys(self.home.key("msg")))

    def adelay(self, durability: str) -> Any:
        """One job, sent from a coroutine."""
        return in_loop(self.quaff, self.sell.options(durability=durability).adelay)


class Pair:
    """A primary and its replica, both with ``appendfsync always``."""

    def __init__(self) -> None:
        self.primary = Server(*ALWAYS)
        self.replica = Server("--replicaof", "127.0.0.1", str(self.primary.port), *ALWAYS)
        wait_until(lambda: self.primary.redis.role()[2], 20, "a replica")
        # What came with the first copy counts as written when the file that it is rewritten into is.
        wait_until(lambda: self.primary.redis.execute_command("WAITAOF", 1, 1, 100) == [1, 1], 20, "both disks")

    @contextmanager
    def without_replica(self) -> Iterator[None]:
        """It stands still; nobody has noticed."""
        os.kill(self.replica.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.replica.process.pid, signal.SIGCONT)
            caught_up = lambda: self.primary.redis.wait(1, 1000) == 1  # noqa: E731
            wait_until(caught_up, 20, "a replica that has caught up")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """For all tests of this module."""
    with Server() as server:
        if b"waitaof" not in server.redis.command_list():
            pytest.skip("this server is older than WAITAOF")
    pair = Pair()
    yield pair
    pair.replica.end()
    pair.primary.end()


@pytest.fixture
def shop(pair: Pair) -> Iterator[Shop]:
    """On an empty primary."""
    pair.primary.redis.flushall()
    shop = Shop(pair.primary.url)
    yield shop
    shop.quaff.store.endpoint.abandon_pool()


@pytest.fixture
def hasty(pair: Pair, shop: Shop) -> Iterator[Shop]:
    """The same, for who does not wait long."""
    hasty = Shop(pair.primary.url, deadline=1.2)
    yield hasty
    hasty.quaff.store.endpoint.abandon_pool()


class TestWords:
    """What may be asked for."""

    def test_each_word_means_one_thing_and_others_are_refused(self) -> None:
        """Also what looks like one."""
        assert [read(text) for text in ("primary", "replicas:2", "fsync", "fsync:3")] == [
            *(None, Durability(False, 2), Durability(True, 0), Durability(True, 3))
        ]
        assert [str(read(text)) for text in ("replicas:2", "fsync", "fsync:3")] == ["replicas:2", "fsync", "fsync:3"]
        for wrong in ("", "disk", "replicas", "replicas:0", "replicas:1000", "fsync:", "fsync:-1", "Fsync", " fsync"):
            with pytest.raises(ConfigurationError, match=r'give "primary", "replicas:2", "fsync" or "fsync:2"'):
                Quaff().task(lambda: None, durability=wrong, name="t")
        with pytest.raises(ConfigurationError, match="durability=3: give a text"):
            Quaff().task(lambda: None, durability=3, name="t")  # type: ignore[call-overload]
        with pytest.raises(ConfigurationError, match=r"durability='disk' from Quaff"):
            Quaff(durability="disk").settings  # noqa: B018

    def test_of_several_the_strongest_has_all_of_them(self) -> None:
        """So a flow is as sure as the surest of its jobs."""
        assert strongest([]) is strongest([None]) is None
        assert strongest([None, read("fsync"), read("replicas:2")]) == read("fsync:2")

    def test_the_call_beats_the_task_and_the_task_the_setting(self) -> None:
        """Each may also ask for less."""
        shop = Shop("embedded:", durability="replicas:2")
        assert shop.sell.durability == read("replicas:2")
        own = shop.quaff.task(lambda: None, name="own", durability="fsync")
        assert own.durability == read("fsync")
        assert own.options(durability="primary").durability is None


class TestConfirmed:
    """F20: what was confirmed is there."""

    def test_a_job_is_on_so_many_replicas_when_its_call_returns(self, pair: Pair, shop: Shop) -> None:
        """However it was sent."""
        surely = shop.sell.options(durability="replicas:1")

        def there(count: int) -> None:
            assert len(shop.ids(pair.replica)) == count

        surely.delay()
        there(1)
        shop.adelay("replicas:1")
        there(2)
        surely.map([(1,), (2,)])
        there(4)
        with shop.quaff.batch():
            surely.delay()
            shop.sell.options(priority=3, durability="replicas:1").delay()
        there(6)
        surely.options(delay=60).delay()
        there(7)
        flow = group(shop.sell.s(1), surely.s(2)).delay()
        there(9)
        flow.add(surely.s(3))
        there(10)
        shop.quaff.schedules.add("s", shop.sell, every=3600)
        pair.primary.redis.script_flush()
        surely.delay()
        there(11)

    def test_one_chunk_waits_once_and_who_asks_for_nothing_not_at_all(self, pair: Pair, shop: Shop) -> None:
        """And neither asks a server twice what it can confirm."""

        def calls() -> dict[str, int]:
            stats = pair.primary.redis.info("commandstats")
            return {name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("wait", "waitaof", "role")}

        before = calls()
        shop.sell.map([(1,)] * 700)
        assert calls() == before
        for _ in range(2):
            shop.sell.options(durability="fsync").map([(1,)] * 1200)
        after = calls()
        # One look at the connection, then one for each 500 jobs.
        assert (after["waitaof"] - before["waitaof"], after["role"] - before["role"]) == (1 + 6, 1)
        assert after["wait"] == before["wait"]

    @pytest.mark.parametrize("durability", ["fsync", "fsync:1"])
    def test_a_job_is_on_the_disks_when_its_call_returns(self, pair: Pair, shop: Shop, durability: str) -> None:
        """With ``fsync:1`` also on that of the replica: the server says so of all that this connection wrote."""
        job = shop.sell.options(durability=durability).delay()
        kept = next((pair.primary.home / "appendonlydir").glob("*.incr.aof")).read_bytes()
        assert bytes.fromhex(job.id[-32:]) in kept
        if durability == "fsync:1":
            theirs = b"".join(each.read_bytes() for each in (pair.replica.home / "appendonlydir").glob("*.incr.aof"))
            assert bytes.fromhex(job.id[-32:]) in theirs
        shop.adelay(durability)

    @pytest.mark.only("valkey", "sentinel", "cluster", why="Debian's Redis 7 is older than WAITAOF")
    def test_a_node_that_names_another_one_confirms_nothing(self) -> None:
        """On a cluster the first word of a wrong node would be true of nothing: only the right one is believed."""
        cluster = Cluster()
        try:
            for node in cluster.nodes:
                node.redis.config_set("appendfsync", "always")
                node.redis.config_set("appendonly", "yes")
                wait_until(lambda node=node: node.redis.execute_command("WAITAOF", 1, 0, 100)[0], 20, "a file")
            shop = Shop(cluster.url)
            shop.sell.delay()
            slots = shop.quaff.store.endpoint.slots
            assert slots is not None
            right = slots.owner(shop.home.slot)
            wrong = next(node for node in slots.nodes() if node != right)
            slots._owners[shop.home.slot] = wrong
            job = shop.sell.options(durability="fsync").delay()
            assert job.state == "queued"
            assert slots.owner(shop.home.slot) == right
        finally:
            cluster.end()


class TestNotConfirmed:
    """F20, F21: within DEADLINE it is said that the job is stored, and that nobody else has it."""

    @pytest.mark.parametrize("durability", ["replicas:1", "fsync:1"])
    def test_a_job_that_no_replica_has_is_stored_and_said_to_be_in_doubt(
        self, pair: Pair, shop: Shop, hasty: Shop, durability: str
    ) -> None:
        """It runs as any other, and the error has its id."""
        surely = hasty.sell.options(durability=durability)
        with pair.without_replica():
            for send in (surely.delay, lambda: hasty.adelay(durability)):
                for _ in range(3):  # on a busy machine an answer may be late, and not three times
                    began = time.monotonic()
                    with pytest.raises(DurabilityNotConfirmed) as caught:
                        send()
                    took = time.monotonic() - began
                    if "0 of 1 replicas" in str(caught.value) and took < 1.2:
                        break
                assert "0 of 1 replicas" in str(caught.value)
                assert 0.4 < took < 1.2
                assert f'durability="{durability}"' in str(caught.value)
                assert shop.quaff.job(caught.value.id).state == "queued"
                assert [job.id for job in caught.value.jobs] == [caught.value.id]  # type: ignore[attr-defined]
            # What asks for less goes on.
            hasty.sell.delay()
        shop.sell.options(durability=durability).delay()

    def test_a_bulk_call_ends_with_the_first_chunk_in_doubt(self, pair: Pair, hasty: Shop) -> None:
        """What was stored is told, and what was not even sent."""
        with pair.without_replica():
            with pytest.raises(DurabilityNotConfirmed, match="and 499 more are stored") as caught:
                hasty.sell.options(durability="replicas:1").map([(1,)] * 700)
            assert len(caught.value.jobs) == hasty.quaff.queue("default").stats().queued == 500

    def test_a_flow_in_doubt_is_stored_as_a_whole(self, pair: Pair, hasty: Shop) -> None:
        """And who adds to it is told the same."""
        surely = hasty.sell.options(durability="replicas:1")
        flow = chain(hasty.sell.s(1), hasty.sell.si(2)).delay()
        with pair.without_replica():
            with pytest.raises(DurabilityNotConfirmed, match="flow default-0") as caught:
                chain(*(surely.si(1) for _ in range(40))).delay()
            assert len(hasty.quaff.flow(caught.value.id).graph()) == 40
            with pytest.raises(DurabilityNotConfirmed) as added:
                flow.add(surely.s(3))
            assert added.value.id in {node.job for node in flow.graph()}

    @pytest.mark.parametrize("durability", ["replicas:1", "fsync:1"])
    def test_a_job_that_is_there_already_is_no_more_confirmed_than_a_new_one(
        self, pair: Pair, shop: Shop, hasty: Shop, durability: str
    ) -> None:
        """A connection that wrote nothing would be told yes at once; the same call again waits, and then is told."""
        once = hasty.sell.options(key="order-7", durability=durability)
        with pair.without_replica():
            with pytest.raises(DurabilityNotConfirmed) as caught:
                once.delay()
            hasty.quaff.store.endpoint.abandon_pool()
            with pytest.raises(DurabilityNotConfirmed) as again:
                once.delay()
            assert again.value.id == caught.value.id
        job = shop.sell.options(key="order-7", durability=durability).delay()
        assert (job.id, job.existing) == (caught.value.id, True)

    def test_a_server_that_forgot_its_scripts_confirms_what_comes_after_them(self, pair: Pair, hasty: Shop) -> None:
        """What it said behind a script that it did not know is not believed."""
        surely = hasty.sell.options(durability="replicas:1")
        surely.delay()
        with pair.without_replica():
            for send in (surely.delay, lambda: hasty.adelay("replicas:1")):
                pair.primary.redis.script_flush()
                with pytest.raises(DurabilityNotConfirmed):
                    send()

    def test_a_server_whose_setting_was_changed_confirms_nothing(self, pair: Pair, shop: Shop) -> None:
        """Also on a connection that was asked before; the next call is refused."""
        surely = shop.sell.options(durability="fsync")
        surely.delay()
        pair.primary.redis.config_set("appendfsync", "everysec")
        try:
            with pytest.raises(DurabilityNotConfirmed, match="appendfsync is everysec by now"):
                surely.delay()
            with pytest.raises(ConfigurationError, match="has appendfsync everysec"):
                surely.delay()
        finally:
            pair.primary.redis.config_set("appendfsync", "always")
        assert shop.quaff.queue("default").stats().queued == 2
        surely.delay()


class TestRefused:
    """What could never be confirmed is said before anything is sent."""

    @pytest.mark.parametrize(
        ("options", "program", "durability", "why"),
        [
            ((), "", "fsync", "keeps no append-only file"),
            ((), "", "fsync:1", "keeps no append-only file"),
            (("--appendonly", "yes"), "", "fsync", "appendfsync everysec"),
            (("--appendonly", "yes", "--appendfsync", "no"), "", "fsync:1", "appendfsync no"),
            (ALWAYS, "redis-server", "fsync", "has no WAITAOF"),
        ],
    )
    def test_a_server_that_is_not_set_up_for_it(
        self, options: tuple[str, ...], program: str, durability: str, why: str
    ) -> None:
        """ConfigurationError at once, which says what to set."""
        if program and (shutil.which(program) is None):
            lacks(f"needs {program} on PATH")
        with Server(*options, program=shutil.which(program) or "" if program else "") as server:
            if (b"waitaof" in server.redis.command_list()) == bool(program):
                pytest.skip("this server is " + ("newer" if program else "older") + " than it is to be")
            shop = Shop(server.url)
            for send in (shop.sell.options(durability=durability).delay, lambda: shop.adelay(durability)):
                with pytest.raises(ConfigurationError, match=why) as caught:
                    send()
                assert "Nothing was sent" in str(caught.value)
            assert server.redis.dbsize() == 0
            shop.quaff.store.endpoint.abandon_pool()

    def test_replicas_that_are_not_there_are_waited_for(self, pair: Pair, hasty: Shop) -> None:
        """They come and go, so it is tried until DEADLINE; nothing is stored."""
        for send in (hasty.sell.options(durability="replicas:2").delay, lambda: hasty.adelay("fsync:2")):
            with pytest.raises(ServerUnavailable, match=r"it has 1 of the 2 replicas.*Nothing was stored"):
                send()
        assert not hasty.ids(pair.primary)

    @pytest.mark.parametrize(("durability", "rights"), [("replicas:1", "+wait"), ("fsync", "+waitaof +config|get")])
    def test_an_account_that_may_not_ask(self, pair: Pair, shop: Shop, durability: str, rights: str) -> None:
        """It is told which rights that takes; with them it may."""
        desk = pair.primary.redis
        desk.execute_command(*"ACL SETUSER few on >secret ~* &* +@all -wait -waitaof -config".split())
        few = Shop(pair.primary.url.replace("redis://", "redis://few:secret@"))
        surely = few.sell.options(durability=durability)
        try:
            with pytest.raises(ConfigurationError, match=re.escape(rights)):
                surely.delay()
            assert not shop.ids(pair.primary)
            desk.execute_command("ACL", "SETUSER", "few", *rights.split())
            surely.delay()
        finally:
            few.quaff.store.endpoint.abandon_pool()
            desk.execute_command("ACL", "DELUSER", "few")


def test_a_lost_answer_leaves_no_false_word(pair: Pair, shop: Shop) -> None:
    """F28: the connection goes after the job was stored; the next one, which stores nothing, is told the truth."""
    surely = shop.sell.options(durability="replicas:1")
    surely.delay()
    with pair.without_replica():
        cut: list[bool] = []

        def cut_once() -> bool:
            waiting = [each for each in pair.primary.redis.client_list() if each["cmd"] == "wait"]
            for each in waiting:
                pair.primary.redis.client_kill_filter(_id=each["id"])
                cut.append(True)
            return bool(cut)

        error = _in_thread(surely.delay, cut_once)
    assert isinstance(error, DurabilityNotConfirmed), error
    assert cut
    assert shop.quaff.queue("default").stats().enqueued == 2


def _in_thread(send: Callable[[], Any], meanwhile: Callable[[], bool]) -> BaseException | None:
    async def main() -> BaseException | None:
        sending = asyncio.create_task(asyncio.to_thread(send))
        await asyncio.to_thread(wait_until, meanwhile)
        try:
            await sending
        except EnqueueError as error:
            return error
        return None

    return asyncio.run(main())
