"""Whether the machine of ``test_engine_model.py`` is sharp: one thing is not as it was left, or a script lacks a rule.

Each plant names the invariant that it breaks, and what the complaint has to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from quaff.model import ids
from quaff.model.states import JobState
from quaff.model.tail import LINES
from quaff.store import transitions as t
from quaff.store.transitions import Lease
from tests.store import mutants
from tests.store.engine import HOUR, Desk, unchanged
from tests.store.engine_model import drain
from tests.store.test_engine_model import Careful


class Plant(NamedTuple):
    """What is done to a story, the number of the invariant that it breaks, and what the complaint says then."""

    breaks: int
    says: str
    act: Callable[[Careful], object]


#: The jobs of the story, by where they are.
PLACES: tuple[str, ...] = (
    *("succeeded", "failed", "later", "runs", "alone"),
    *("parked", "keyed", "plain", "cancelled"),
)


@pytest.fixture
def machine(server_url: str) -> Iterator[Careful]:
    """A job in each place: three have ended, one runs, one has crashed, and those that wait do so in each way."""
    Careful.url = server_url
    machine = Careful()
    machine.enqueue([b"one" if name == "keyed" else b"" for name in PLACES])
    worker = machine.processes[0]
    machine.claim(0, 3, idle=False)
    for name, state in (
        ("succeeded", JobState.SUCCEEDED),
        ("failed", JobState.FAILED),
        ("later", JobState.RETRYING),
    ):
        machine.settled(worker, [(at(machine, name), machine.jobs[at(machine, name)].token)], state, HOUR)
    machine.claim(0, 1, idle=False)
    machine.claim(1, 1, idle=False)
    machine.reap(1, 1)
    machine.claim(1, 1, idle=False)
    parked = at(machine, "parked")
    machine.release([(machine.processes[1], Lease(parked, b"", machine.jobs[parked].token))], park=True)
    machine.cancel_some([at(machine, "cancelled")])
    machine.the_same_world()
    yield machine
    machine.clear()


def at(machine: Careful, name: str) -> bytes:
    """The id of a job of the story."""
    return list(machine.jobs)[PLACES.index(name)]


def put(machine: Careful, key: str, field: bytes | str, value: bytes) -> None:
    """Write into a hash."""
    machine.desk.redis.hset(machine.desk.key(key), field, value)


def drop(machine: Careful, key: str, field: bytes) -> None:
    """Delete from a hash what is in it."""
    assert machine.desk.redis.hdel(machine.desk.key(key), field) == 1


def add(machine: Careful, counter: str, number: int) -> None:
    """To what is counted."""
    machine.desk.redis.hincrby(machine.desk.key("meta"), counter, number)


def leave_line(machine: Careful, name: str) -> None:
    """A job is in no line any more."""
    assert machine.desk.redis.lrem(machine.desk.key("ready"), 1, at(machine, name)) == 1


def vanish(machine: Careful) -> None:
    """A job is gone, and all adds up without it."""
    leave_line(machine, "plain")
    drop(machine, "msg", at(machine, "plain"))
    add(machine, "enqueued", -1)


def miscount(machine: Careful) -> None:
    """One that succeeded is counted as one that failed; all adds up."""
    add(machine, "succeeded", -1)
    add(machine, "failed", 1)


def turn_back(machine: Careful) -> None:
    """A sweep has written down the time, and now it is an earlier one."""
    machine.sweep(False)
    machine.the_same_world()
    put(machine, "meta", "clock", b"1")


def swap(machine: Careful) -> None:
    """Two that wait have changed places."""
    ready = machine.desk.key("ready")
    last, first = (machine.desk.redis.lindex(ready, place) for place in (-2, -1))
    machine.desk.redis.lset(ready, -2, first)
    machine.desk.redis.lset(ready, -1, last)


def bend(machine: Careful, name: str) -> None:
    """The last bit of a message is another one."""
    message = machine.jobs[at(machine, name)].message
    put(machine, "msg", at(machine, name), message[:-1] + bytes([message[-1] ^ 1]))


def retell(machine: Careful, name: str, part: slice, instead: bytes) -> None:
    """A part of a tombstone is another one."""
    tomb = machine.desk.redis.hget(machine.desk.key("tomb"), at(machine, name))
    put(machine, "tomb", at(machine, name), tomb[: part.start] + instead + tomb[part.stop :])


def share_a_token(machine: Careful) -> None:
    """Two run, under one token."""
    machine.claim(2, 1, idle=False)
    put(machine, "active", at(machine, "keyed"), machine.jobs[at(machine, "runs")].token)


def settle_with_a_wrong_token(machine: Careful) -> None:
    """Of a job that runs."""
    id = at(machine, "runs")
    machine.settled(machine.processes[0], [(id, machine.jobs[id].token + b"0")], JobState.SUCCEEDED, HOUR)


def without(script: str, rule: str, instead: str, then: Callable[[Careful], object]) -> Callable[[Careful], object]:
    """A script, or several, with something else in the place of a rule; and what is done then."""

    def act(machine: Careful) -> None:
        for name in script.split():
            mutants.plant(machine.desk, name, rule, instead)
        then(machine)

    return act


def drained(machine: Careful) -> None:
    """As at the end of a story."""
    drain(machine.desk)


PLANTS: dict[str, Plant] = {
    "a job that waits is in no line": Plant(1, "no place", lambda m: leave_line(m, "plain")),
    "a job that waits has no message": Plant(1, "no message", lambda m: drop(m, "msg", at(m, "plain"))),
    "a job that runs waits, too": Plant(
        1, "two places", lambda m: m.desk.redis.lpush(m.desk.key("ready"), at(m, "runs"))
    ),
    "what succeeded is cancelled": Plant(2, "I2: how", lambda m: retell(m, "succeeded", slice(0, 1), b"c")),
    "what failed is sent back by nobody": Plant(
        2, "I2: how", lambda m: m.desk.store.run(t.requeue(m.desk.home, [at(m, "failed")]))
    ),
    "an outcome is another one": Plant(2, "I2: the outcomes", lambda m: put(m, "res", at(m, "succeeded"), b"other")),
    "an outcome is gone": Plant(2, "I2: the outcomes", lambda m: drop(m, "res", at(m, "succeeded"))),
    "a job is gone as if it had never been": Plant(3, "I3: ", vanish),
    "another run is recorded": Plant(4, "I4: another run", lambda m: retell(m, "succeeded", slice(14, 15), b"?")),
    "anybody may say how a job ended": Plant(
        4,
        "I4: a settle",
        without("settle", "elseif holders[id] == token then", "elseif holders[id] then", settle_with_a_wrong_token),
    ),
    "a job is there that nobody sent": Plant(5, "I5: ", lambda m: m.desk.put(b"stranger")),
    "what runs is held by nobody": Plant(
        6, "no holder", lambda m: m.desk.redis.zrem(m.desk.key("held"), m.processes[0].id + at(m, "runs"))
    ),
    "who holds a job has no lease": Plant(
        6, "no lease", lambda m: m.desk.redis.zrem(m.desk.key("lease"), m.processes[0].id)
    ),
    "what runs has another token": Plant(6, "I6: what runs", lambda m: put(m, "active", at(m, "runs"), b"x.1.1")),
    "two run under one token": Plant(7, "token twice", share_a_token),
    "a crash is forgotten": Plant(8, "I8: ", lambda m: drop(m, "tries", at(m, "alone"))),
    "a job goes on after five crashes": Plant(
        8, "crashed 5 times", lambda m: put(m, "tries", at(m, "alone"), b"5 5 0 0 ")
    ),
    **{
        f"a bit of a message is another one: {name}": Plant(9, "I9: ", lambda m, name=name: bend(m, name))  # type: ignore[misc]
        for name in ("failed", "later", "runs", "alone", "parked", "keyed", "plain")
    },
    "an outcome is nobody's": Plant(10, "no owner", lambda m: put(m, "res", ids.new_raw(), b"record")),
    "what has ended has a message": Plant(10, "no owner", lambda m: put(m, "msg", at(m, "succeeded"), b"plain")),
    "one job too many is counted": Plant(12, "counter", lambda m: add(m, "enqueued", 1)),
    "an end is counted as another one": Plant(12, "I12: ", miscount),
    "a key goes by itself": Plant(13, "has a TTL", lambda m: m.desk.redis.pexpire(m.desk.key("msg"), HOUR)),
    "a pause holds up nobody": Plant(
        14,
        "I14: ",
        without(
            "claim",
            "if paused_until and (paused_until == 0 or paused_until > now) then",
            "if false then",
            lambda m: m.claim_while_paused(2, 1, False),
        ),
    ),
    "two that wait have changed places": Plant(16, "I16: the line", swap),
    "who comes last is the first": Plant(
        16,
        "I16: the line",
        without(
            "enqueue",
            "redis.call('LPUSH', k.ready, unpack(fresh))",
            "redis.call('RPUSH', k.ready, unpack(fresh))",
            lambda m: m.enqueue([b"", b""]),
        ),
    ),
    "nobody is woken": Plant(17, "I17: jobs wait", lambda m: m.desk.redis.delete(m.desk.key("wake"))),
    "what must run alone is handed to nobody": Plant(
        17, "I17: jobs that nobody", without("claim", "if idle then\n    ids", "if false then\n    ids", drained)
    ),
    "what is parked stays there": Plant(
        17,
        "I17: jobs that nobody",
        without("sweep", "'-inf', unpark > 0 and '+inf' or ms(now)", "'-inf', '-inf'", drained),
    ),
    "what waits for its time waits for ever": Plant(
        17,
        "I17: jobs that nobody",
        without("claim sweep", "k.sched, '-inf', ms(now)", "k.sched, '-inf', '-inf'", drained),
    ),
    "a job that is sent again is another one": Plant(
        19,
        "I19: enqueue",
        without("enqueue", "here[id] or live[i]", "here[id]", lambda m: m.enqueue([b""])),
    ),
    "a claim that is sent again hands out more": Plant(
        19,
        "I19: claim",
        without(
            "claim",
            "(tonumber(last_number) or 0) >= number",
            "(tonumber(last_number) or 0) > number",
            lambda m: m.claim(2, 1, idle=False),
        ),
    ),
    "what is said again is kept twice": Plant(
        19,
        "I19: append",
        without(
            "append",
            "elseif count == 0 or before < tail[4] then",
            "elseif count == 0 then",
            lambda m: m.say((m.processes[0], Lease(at(m, "runs"), b"", m.jobs[at(m, "runs")].token)), LINES, 0, 1),
        ),
    ),
    "a lease reaches too far": Plant(
        22, "I22: a lease", lambda m: m.desk.redis.zadd(m.desk.key("lease"), {m.processes[0].id: 9e15})
    ),
    "the clock goes back": Plant(22, "I22: the clock", turn_back),
}


@pytest.mark.parametrize("what", PLANTS)
def test_what_is_not_as_it_was_left_is_seen(machine: Careful, what: str) -> None:
    """Planted: I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, I12, I13, I14, I16, I17, I19, I22. Each is told."""

    def go_on() -> None:
        PLANTS[what].act(machine)
        machine.the_same_world()

    with pytest.raises(AssertionError) as caught:
        go_on()
    assert PLANTS[what].says in str(caught.value)


def test_what_changes_something_is_not_taken_for_unchanged(desk: Desk) -> None:
    """Planted: I19. Also where nothing is wrong with what it leaves."""
    with pytest.raises(AssertionError):
        unchanged(desk, lambda: desk.put(b"one more"))
