"""The faults, one card each. A card does something, sees to it that it is over, and leaves the run able to work."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.chaos import ledger, state
from tests.chaos.servers import FAKETIME
from tests.helpers import wait_until

if TYPE_CHECKING:
    from tests.chaos.run import Run

Card = Callable[["Run"], None]
DECK: dict[str, Card] = {}
#: Those while which not everybody reaches the server.
OUTAGES = set[str]()
#: Seconds of a job that is still running when something has been done to its first run.
LONG = 4.0


def card(function: Card) -> Card:
    """Put it into the deck."""
    DECK[function.__name__] = function
    return function


def outage(function: Card) -> Card:
    """Put it into the deck; what is told to the server meanwhile may arrive later."""
    OUTAGES.add(function.__name__)
    return card(function)


def _busy(run: Run, tag: str) -> int:
    """The supervisor above a run of a job, which is waited for."""

    def look() -> int | None:
        victims = run.fleet.victims()
        living = [pid for pid, kind in victims if kind == "child"]
        found = [each for each in ledger.runs(run.ledger, living) if each.tag == tag and each.ended is None]
        return run.fleet.parents[found[0].pid] if found else None

    supervisor = wait_until(look, 10, f"a run of {tag}")
    assert supervisor is not None
    return supervisor


def _send(run: Run, task: str, *arguments: object) -> str:
    """One job of the harness's own; its tag."""
    from tests.chaos.producer import send

    tag = f"{task}-{uuid4().hex[:8]}"
    outcome = send(run.quaff, tag, "alpha", task, *arguments)
    assert outcome == "accepted", f"{tag} was {outcome} while nothing was wrong"
    return tag


# Processes


@card
def kills(run: Run) -> None:
    """Processes are killed five times a second."""
    for _ in range(12):
        victims = [each for each in run.fleet.victims() if each[1] != "supervisor"]
        if victims:
            run.fleet.kill(*run.random.choice(victims))
        time.sleep(0.2)


@card
def orphans(run: Run) -> None:
    """A supervisor is killed; its processes are left to themselves."""
    run.fleet.kill(run.random.choice(run.fleet.alive()), "supervisor")


@card
def power(run: Run) -> None:
    """A whole worker is killed in the middle of a job: only the lapse of its lease tells of it."""
    supervisor = _busy(run, _send(run, "nap", LONG))
    _, *below = run.fleet.family(supervisor)
    run.fleet.kill(supervisor, "supervisor")
    for pid in below:
        run.fleet.kill(pid, "orphan")


@card
def silence(run: Run) -> None:
    """A worker stands still until its job has been given to another one, and then says what came of it."""
    tag = _send(run, "nap", LONG)
    with run.fleet.silence(_busy(run, tag)):
        wait_until(lambda: ledger.starts(run.ledger, tag) > 1, 4 * run.lease, f"another run of {tag}")


@card
def polite(run: Run) -> None:
    """A worker is asked to stop, and a job takes longer than it may."""
    run.fleet.ask_to_stop(_busy(run, _send(run, "nap", LONG)), 10)


@card
def poison(run: Run) -> None:
    """A job kills each process that takes it."""
    tag = _send(run, "poison")
    wait_until(lambda: ledger.starts(run.ledger, tag) >= 3, 20, f"three starts of {tag}")


@card
def producer(run: Run) -> None:
    """A producer is killed; nobody knows whether its last call was applied."""
    run.kill_a_producer()


# The line


@outage
def reset(run: Run) -> None:
    """All connections are reset."""
    for _ in range(6):
        run.servers.proxy.cut()
        time.sleep(0.2)


@outage
def blackhole(run: Run) -> None:
    """Nothing gets through, for longer than a call may take."""
    run.servers.proxy.swallow()
    time.sleep(1.5 * run.deadline)
    run.servers.proxy.swallow_no_more()


@outage
def delay(run: Run) -> None:
    """Replies come in small pieces."""
    run.servers.proxy.drip(0.002)
    time.sleep(1.5)
    run.servers.proxy.drip(0)


@outage
def torn(run: Run) -> None:
    """Calls and replies are cut in the middle."""
    for _ in range(5):
        run.servers.proxy.on_request(run.random.randrange(1, 200))
        run.servers.proxy.on_reply(run.random.randrange(1, 60))
        time.sleep(0.25)
    run.servers.proxy.forget_fates()


@outage
def replies(run: Run) -> None:
    """Calls are applied and their replies lost; some connections are reset, the others stay silent."""
    for fate in ("lose", "cut") * 6:
        run.servers.proxy.on_reply(fate)
        time.sleep(0.1)
    run.servers.proxy.forget_fates()


@outage
def late(run: Run) -> None:
    """Calls arrive when their senders have long given up."""
    run.servers.proxy.on_request(*[2.0 * run.deadline] * 6)
    time.sleep(2.5 * run.deadline)
    run.servers.proxy.forget_fates()


# The server


@outage
def restart(run: Run) -> None:
    """The server is killed and comes back."""
    run.servers.restart(run.random.uniform(0.1, 1.0))


@outage
def freeze(run: Run) -> None:
    """The server stands still for so long that nothing is reaped for a lease after it."""
    before = state.graces(run.client(), run.namespace, run.queues)
    run.servers.freeze(run.lease * 0.7)
    wait_until(lambda: state.graces(run.client(), run.namespace, run.queues) != before, 10, "the grace after an outage")
    run.met["nothing reaped after an outage"] += 1


@outage
def failover(run: Run) -> None:
    """The primary dies, and its replica has not heard the last of it. Its clock is another one."""
    if FAKETIME:
        skewed = run.servers.skewed(run.servers.primary)
        run.servers.skew(run.servers.replica, skewed + run.random.choice((-2.0, 0.0, 2.0)))
    run.servers.fail_over(run.random.uniform(0.1, 0.5))
    run.met["a failover"] += 1


@card
def flush(run: Run) -> None:
    """The server forgets all scripts, again and again."""
    for _ in range(10):
        run.client().script_flush()
        time.sleep(0.1)
    run.servers.note_reloads()


@card
def squeeze(run: Run) -> None:
    """The memory is full; what frees some goes on."""
    run.client().config_set("maxmemory", 1)
    time.sleep(1.0)
    run.client().config_set("maxmemory", 0)


@outage
def clock(run: Run) -> None:
    """The server's clock stands still for some seconds, and then jumps ahead by two leases."""
    if FAKETIME is None:
        run.without.append("clock: libfaketime is not installed")
        return
    run.servers.skew(run.servers.primary, run.servers.skewed(run.servers.primary) - 2.0)
    time.sleep(2.0)
    run.servers.skew(run.servers.primary, run.servers.skewed(run.servers.primary) + 2 + 2 * run.lease)
    time.sleep(1.5)
    run.met["a clock that jumped"] += 1
