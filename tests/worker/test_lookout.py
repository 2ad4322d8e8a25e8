"""Who waits for tokens, where hundreds of processes serve one queue."""

from __future__ import annotations

import select
import socket
import time

import pytest

from quaff.store.connect import Endpoint
from quaff.store.faults import NoAnswer
from quaff.store.keys import partition
from quaff.store.link import Link
from quaff.store.transitions import Claimed
from quaff.worker.line import Asked, Line
from quaff.worker.lookout import LISTENERS, Lookout
from quaff.worker.maintenance import between_sweeps
from tests.helpers import wait_until
from tests.matrix import WORKER, known_as
from tests.proxy import Proxy
from tests.worker.support import Stage, after, children, load_of

#: What an empty line answers.
NOTHING = Claimed(
    [],
    0,
    alone=False,
    lonely=False,
    closed=False,
    empty_yourself=False,
    for_slots=False,
    again_ms=None,
    now_ms=0,
    blocks=0,
    processes=1,
)


def _lookout(link: Link, namespace: str, crowd: int) -> tuple[Lookout, Line]:
    line = Line(0, partition(namespace, "q"), frozenset({"sync"}), crowd=crowd)
    line.rest(10)
    return Lookout(link, [line], ordered=True), line


def _link(url: str) -> Link:
    """That of a process."""
    return Link(Endpoint(known_as(WORKER, url), "a test", 5), 5)


def test_in_a_crowd_some_wait_for_tokens_and_the_others_ask_by_the_clock(server_url: str, namespace: str) -> None:
    """Whoever waits costs the server something whenever a job comes, so there are never many."""
    waiting = 0
    for _ in range(100):
        lookout, line = _lookout(_link(server_url), namespace, crowd=4 * LISTENERS)
        if lookout.listen([line]):
            waiting += 1
        else:
            assert 3 < line.look_at - time.monotonic() <= 5
            assert not lookout.listen([line]), "it keeps to what chance has said until its time comes"
        lookout.hang_up()
    assert 5 < waiting < 50  # one in four; chance goes past these bounds once in a million


def test_where_they_are_few_all_wait_for_tokens(server_url: str, namespace: str) -> None:
    """Up to the bound nobody has to ask by the clock."""
    for crowd in (0, LISTENERS):
        lookout, line = _lookout(_link(server_url), namespace, crowd)
        assert lookout.listen([line])
        lookout.hang_up()


def test_who_waits_for_tokens_asks_again_for_what_was_not_answered(server_url: str, namespace: str) -> None:
    """F54: a node of a cluster was away for a moment: nothing is known of its line yet, and its token may be gone."""
    lookout, line = _lookout(_link(server_url), namespace, crowd=0)
    lookout.put_off(line, NoAnswer("it did not answer a moment ago"))
    assert lookout.listen([line])
    assert 0 < lookout.wait_for([line]) <= 0.5
    lookout.hang_up()


def test_a_lost_token_costs_one_wait_and_not_two(
    server_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the waiting ends in between because its time is over."""
    monkeypatch.setattr("quaff.worker.lookout._POLL", 1.0)
    lookout, line = _lookout(_link(server_url), namespace, crowd=0)
    line.look_at = 0.0
    lookout.answered(line, NOTHING)
    wait_until(lambda: lookout.listen([line]), 5)
    after(0.5)
    lookout.answered(line, NOTHING)  # it was asked meanwhile, by the clock
    asked = time.monotonic()
    wait_until(lambda: select.select(lookout.listen([line]), [], [], 5)[0], 5)
    lookout.heard(lookout.listen([line]))
    lookout.listen([line])
    assert line.look_at <= asked + 1.0
    lookout.hang_up()


def test_while_a_claim_waits_for_a_token_no_other_one_is_made(server_url: str, namespace: str) -> None:
    """F28: and once it is called off nobody knows what it got, so that is asked for."""
    lookout, line = _lookout(_link(server_url), namespace, crowd=0)

    def claim() -> Asked:
        return line.claim(b"12345678", 1, 1, idle=True, lease_ms=1000)

    assert not lookout.takes_claims
    assert lookout.listen([line])
    assert lookout.takes_claims
    lookout.send_ahead(ahead := claim())
    assert not lookout.takes_claims
    assert lookout.next(lambda _: 1) is lookout.in_doubt() is None
    assert lookout.awaits(line.claim_id + b".1.1")
    assert not lookout.awaits(b"other.1.1")
    lookout.call_off()
    assert lookout.in_doubt() is line
    assert claim().call == ahead.call


def test_a_claim_ahead_is_the_next_look(server_url: str, namespace: str) -> None:
    """A token may be lost."""

    link = _link(server_url)

    def ahead() -> Lookout | None:
        lookout, line = _lookout(link, namespace, crowd=0)
        # Like every process that comes to wait it has asked before, so it knows who has the slot.
        link.exchange([line.claim(b"12345678", 0, 0, idle=True, lease_ms=1000).call])
        line.look_at = time.monotonic() + 0.1
        descriptors = lookout.listen([line])
        lookout.send_ahead(sent := line.claim(b"12345678", 1, 1, idle=True, lease_ms=1000))
        assert select.select(descriptors, [], [], 10)[0]
        came = lookout.heard(descriptors)
        if not came:  # the slot moves just now, as the slots of ENGINE=cluster do all the time
            assert lookout.in_doubt() is line
            lookout.hang_up()
            return None
        assert [(asked, answer.leases) for asked, answer in came] == [(sent, [])]
        assert lookout.next(lambda _: 1) == (line, 1)
        return lookout

    wait_until(ahead, 10, "an answer from who has the slot").hang_up()


def test_no_claim_goes_ahead_where_a_job_is_due_soon(server_url: str, namespace: str) -> None:
    """A server with nothing to do ends a wait up to a tenth of a second too late; our own clock is better."""
    lookout, line = _lookout(_link(server_url), namespace, crowd=0)
    line.again_at = line.look_at = time.monotonic() + 0.5
    assert lookout.listen([line])
    assert not lookout.takes_claims
    assert 0 < lookout.wait_for([line]) <= 0.5
    lookout.hang_up()


def test_a_line_that_breaks_between_the_wait_and_the_claim_is_made_anew(server_url: str, namespace: str) -> None:
    """F30: and whether the claim has reached the server is asked at once."""
    lookout, line = _lookout(_link(server_url), namespace, crowd=0)
    descriptors = lookout.listen([line])
    lookout._posts[0].bell._connection._sock.shutdown(socket.SHUT_RDWR)
    lookout.send_ahead(line.claim(b"12345678", 1, 1, idle=True, lease_ms=1000))
    assert lookout.listen([line]) == lookout.heard(descriptors) == []
    assert lookout.in_doubt() is line
    line.rest(10)
    wait_until(lambda: lookout.listen([line]), 5)
    lookout.hang_up()


@pytest.mark.parametrize(("processes", "seconds"), [(1, 2.0), (8, 2.0), (16, 4.0), (1000, 7.5)])
def test_many_workers_sweep_less_often_each(processes: int, seconds: float) -> None:
    """But never so seldom that it would be taken for an outage, which is half a lease."""
    assert between_sweeps(30, processes) == seconds
    assert between_sweeps(1, processes) == 0.25


def test_no_queue_starves_for_the_order_of_many_on_a_far_server(stage: Stage, proxy: Proxy) -> None:
    """To look at all of them takes longer than an empty one is left alone: the last one has its turn nevertheless."""
    proxy.drip(0.005)
    stage.worker("-p", "1", "-Q", ",".join(f"q{number}" for number in range(12)), URL=proxy.url)
    for queue in ("q11", "q0", "q11"):
        stage.send("mark", queue, queue=queue).result(timeout=10)


def test_no_queue_starves_for_the_order_of_hundreds_of_partitions(stage: Stage) -> None:
    """And a process that has nothing to do comes to rest: it waits to be told."""
    spread = {"PARTITIONS": "default=200,slow=200,low=200"}
    worker = stage.worker("-p", "1", "-Q", "default,slow,low", **spread)
    for queue in ("low", "slow", "default"):
        stage.send("mark", queue, queue=queue).result(timeout=15)
    after(3)
    assert load_of(children(worker)[0], 4) < 0.5
