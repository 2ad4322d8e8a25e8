"""How long a call waits between two tries: a little, then longer, and no two callers alike."""

from __future__ import annotations

import itertools
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from quaff.errors import ServerUnavailable
from quaff.model import ids
from quaff.store.faults import Patience, Trouble
from quaff.store.keys import partition
from quaff.store.queries import lookup
from tests.store.wire import LATE, Send, aio, close, store_at, sync, within
from tests.worker.support import side_by_side

LEAST, MOST = 0.005, 0.25  # seconds


def pauses(count: int) -> list[float]:
    """The first ones of a caller whom nobody answers."""
    patience, trouble = Patience("somewhere", 3600), Trouble(RedisConnectionError("refused"), sent=False)
    return [patience.after([trouble], harmless=True) for _ in range(count)]


def test_pauses_grow_and_stay_in_their_bounds() -> None:
    """F34: each is drawn between 5 ms and three times the one before, and none is longer than a quarter of a second."""
    callers = [pauses(30) for _ in range(400)]
    for each in callers:
        assert all(LEAST <= pause <= MOST for pause in each)
        assert each[0] <= 3 * LEAST
        assert all(after <= 3 * before for before, after in itertools.pairwise(each))
    assert max(map(max, callers)) == MOST
    # Of many callers, the first tries come soon and the later ones do not.
    typical = [statistics.mean(each[nth] for each in callers) for nth in range(30)]
    assert typical[0] < typical[1] < typical[2] < typical[3] < typical[4]
    assert min(typical[8:]) > 5 * typical[0]


def test_no_two_callers_come_back_at_the_same_time() -> None:
    """F34: those who lost the server in the same moment are spread out before it is there again."""
    callers = [pauses(10) for _ in range(200)]
    assert len({tuple(each) for each in callers}) == len(callers)
    for nth in range(10):
        # No pause is the usual one: the tries of two hundred do not gather in any of ten parts of its range.
        at = sorted(sum(each[: nth + 1]) for each in callers)
        width = (at[-1] - at[0]) / 10
        fullest = max(sum(begin <= each < begin + width for each in at) for begin in at)
        assert fullest < len(callers) / 2


class Door:
    """A port that shuts in everybody's face.

    Attributes:
        knocks: when somebody came, in monotonic seconds.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self.knocks: list[float] = []
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.knocks.append(time.monotonic())
                client.close()

    def close(self) -> None:
        """It is a wall."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()


@contextmanager
def doors(count: int) -> Iterator[list[Door]]:
    """So many of them."""
    with ExitStack() as all_:
        several = [Door() for _ in range(count)]
        for each in several:
            all_.callback(each.close)
        yield several


def test_a_server_that_shuts_the_door_is_not_stormed(namespace: str) -> None:
    """F27, F34: threads and coroutines alike knock at once, soon, and then no more than a few times a second."""

    def call(send: Send, door: Door) -> None:
        store = store_at(door.url, 2)
        with within(2), pytest.raises(ServerUnavailable):
            send(store, [lookup(partition(namespace, "q"), ids.new_raw())])
        close(store)

    with doors(4) as several:
        senders = (sync, aio, sync, aio)
        side_by_side(*(partial(call, send, door) for send, door in zip(senders, several, strict=True)))
    for door in several:
        gaps = [after - before for before, after in itertools.pairwise(door.knocks)]
        assert 2 < len(gaps) < 200
        assert all(gap < MOST + LATE for gap in gaps)
    rhythms = {tuple(round(knock - door.knocks[0], 3) for knock in door.knocks) for door in several}
    assert len(rhythms) == len(several)
