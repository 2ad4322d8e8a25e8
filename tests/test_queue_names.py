"""Queues that no code names: there may be so many of them, whoever sends to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from quaff import Quaff, TooManyQueues, chain
from quaff import backend as backends
from quaff.store.keys import partition
from tests.helpers import in_loop
from tests.matrix import plain

Program = Callable[[], Quaff]


@pytest.fixture
def program(server_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """One more program of an application that names two queues; two others may be made up."""
    monkeypatch.setattr(backends, "MOST", 2)
    made: list[Quaff] = []

    def make() -> Quaff:
        quaff = Quaff(server_url, namespace=namespace)
        quaff.task(lambda n: n, name="work")
        quaff.task(lambda n: n, name="mail", queue="mail")
        made.append(quaff)
        return quaff

    yield make
    for quaff in made:
        quaff.store.endpoint.close()


def stored(quaff: Quaff, queue: str) -> int:
    """How many keys a queue has."""
    home = partition(quaff.settings.namespace, queue)
    return int(plain(quaff.settings.url).exists(*(home.key(name) for name in ("meta", "msg", "ready"))))


def sending(quaff: Quaff, queue: str) -> dict[str, Callable[[], Any]]:
    """Every way to send a job there."""
    work = quaff.tasks["work"].options(queue=queue)

    def batch() -> None:
        with quaff.batch():
            work.delay(1)

    return {
        "delay": lambda: work.delay(1),
        "adelay": lambda: in_loop(quaff, lambda: work.adelay(1)),
        "map": lambda: work.map([(1,), (2,)]),
        "batch": batch,
        "flow": lambda: chain(work.s(1), quaff.tasks["work"].s()).delay(),
    }


def refused() -> AbstractContextManager[object]:
    """The error, which says what to do instead."""
    return pytest.raises(TooManyQueues, match=r"2 queues already .* Nothing was sent\. .*fair_by=.*\[QF024\]")


@pytest.mark.parametrize("way", ["delay", "adelay", "map", "batch", "flow"])
def test_who_makes_up_names_is_stopped_before_anything_is_stored(program: Program, way: str) -> None:
    """S25: by the number that all programs together have made up; those of the code are let in, and those that were."""
    one, two = program(), program()
    for quaff, queue in ((one, "customer-1"), (two, "customer-2")):
        sending(quaff, queue)[way]()
        assert stored(quaff, queue)
    for quaff in (one, two, program()):
        with refused():
            sending(quaff, "customer-3")[way]()
        assert not stored(quaff, "customer-3")
        for queue in ("customer-1", "customer-2", "mail", "default"):
            sending(quaff, queue)[way]()


def test_of_a_call_to_several_queues_nothing_is_stored(program: Program) -> None:
    """S25: not even what is for a queue that is there."""
    quaff = program()

    def send() -> None:
        with quaff.batch():
            quaff.tasks["work"].delay(1)
            for number in range(3):
                quaff.tasks["work"].options(queue=f"customer-{number}").delay(1)

    with refused():
        send()
    assert not any(stored(quaff, f"customer-{number}") for number in range(3))
    assert plain(quaff.settings.url).exists(partition(quaff.settings.namespace, "default").key("msg")) == 0
