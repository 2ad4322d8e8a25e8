"""A namespace in which every kind of key has something: what a release has stored, and what that dump has not."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec

from quaff import Concurrency, FairBy, Quaff, RateLimit, Unique
from quaff.audit.picture import KINDS
from quaff.model import blocking, codec, events, ids, message, outcome, presence, steps
from quaff.model.ids import JobId
from quaff.model.outcome import Attempt, Failure, Outcome
from quaff.model.placement import Wishes, limit_name, placement
from quaff.model.presence import DumpWord, ProcessWord, RunningWord, WorkerWord
from quaff.model.states import JobState
from quaff.model.tail import LINES, VALUES, Packet, framed
from quaff.store import alerting, queries, tallies
from quaff.store import steps as remembering
from quaff.store import transitions as t
from quaff.store.keys import NAMES, partition
from quaff.store.operations import acquire, block, drain
from quaff.store.tallies import Failed
from quaff.task import Task
from tests.golden import app
from tests.golden.dump import FOLDER, NAMESPACE, read
from tests.matrix import plain
from tests.store.engine import HOUR, READERS, Desk, process_id
from tests.store.flows import Drawn, seeds_of, store

#: The queue of what the dump has not; those of the dump.
MORE, DUMPED = "more", ("default", "elsewhere")
QUEUES = (MORE, *DUMPED)


class World:
    """One of its own on a server.

    Attributes:
        quaff: the application that has sent all of it.
        jobs: the ids of all of its jobs, in text form; flows: those of its flows.
        desk: of the queue MORE.
        stored: each kind of key, by its name: whose partition it is in there.
    """

    def __init__(self, url: str) -> None:
        self.namespace = f"w{uuid4().hex[:12]}"
        self.redis: Any = plain(url)
        settings = {"result_ttl": app.FOREVER, "failed_ttl": app.FOREVER, "key_window": app.FOREVER}
        self.quaff = Quaff(url, namespace=self.namespace, **settings)
        for task in app.quaff.tasks.values():
            self.quaff.tasks[task.name] = Task(self.quaff, task.name, task.fn, task.settings)
        self.desk = Desk(url, self.namespace, queue=MORE)
        self.homes = [partition(self.namespace, queue) for queue in QUEUES]
        self.jobs: list[str] = []
        self.flows: list[str] = []
        self._load()
        self.running = self._fill()
        self.keep()
        self.stored = {name: home for home in reversed(self.homes) for name in NAMES if home.key(name) in self._dumps}

    def _load(self) -> None:
        golden = read(max(FOLDER.glob("*.jsonl")))
        for key, (kind, value) in golden.keys.items():
            own = key.replace(b"{%b/" % NAMESPACE.encode(), b"{%b/" % self.namespace.encode())
            write(self.redis, own, kind, dict(value) if kind != "list" else value)
        self.jobs += (known.id for known in golden.jobs.values())
        self.flows += golden.flows.values()

    def _fill(self) -> str:
        """What the dump has not; the id of a job that runs."""
        desk, run, me = self.desk, self.desk.store.run, process_id()
        call = message.encode("value", ["given"], {})
        failure = Failure("error", "ValueError", "no", "Traceback")
        record = outcome.encode(Outcome("value", 0, Attempt(1, 1, 2, "w", 3, "failed", failure)))
        # Parked, given up, called off, in line.
        made = desk.put(*[call] * 6)
        parked, dead = desk.take(me, 2)
        desk.release(me, parked, park_ms=HOUR)
        desk.settle(me, dead, state=JobState.FAILED, record=record)
        desk.cancel(made[2], outcome=outcome.cancelled("why"))
        # One that runs, has said and remembers much, and was asked to stop.
        (lease,) = desk.take(me, 2)  # the first in line is the ghost of what was called off
        home, held = desk.home, (lease.id, lease.token)
        line = framed(events.line(20, "log", 1, "a line"))
        run(t.append(home, [(*held, Packet(LINES, 0, 1, line)), (*held, Packet(VALUES, 0, 1, framed(codec.pack(5))))]))
        run(t.note(home, [(*held, msgspec.msgpack.encode((1, 2, "half")))]))
        run(remembering.step(home, [(*held, steps.encode("one", steps.DONE, 1, codec.pack(5)))]))
        run(remembering.signal(home, lease.id, signal_id=ids.new_raw(), name=b"go", value=codec.pack(1)))
        said = presence.encode(DumpWord(1, "w", 2, "File x"))
        run(tallies.dump(home, *held, said, lasts_ms=HOUR))
        desk.cancel(lease.id, outcome=outcome.cancelled("why"))
        running = str(JobId(MORE, 0, lease.id))
        # Whoever waits, follows, tells; what workers count and say.
        run(queries.watch(home, [lease.id], lasts_ms=HOUR))
        run(queries.follow(home, lease.id, queries.EVENTS, 0, lasts_ms=HOUR))
        run(alerting.alerts(home, b"teller", alerting.Told(), lasts_ms=HOUR, most=5))
        what = msgspec.json.encode(("value", "error", "ValueError", "f", "no")).decode()
        run(
            tallies.tally(
                home,
                process=me,
                number=1,
                tasks={name: {"s": 1, "d3": 1, "q3": 1} for name in ("value", "")},
                failures=[Failed(b"kind", 1, 1, what, running)],
                recent=[tallies.ended(made[2], 1_700_000_000_000, "value", 0.1, 0.1)],
            )
        )
        process = ProcessWord(me.hex(), 1, 1, 1, 1, True)
        ran = RunningWord(MORE, 0, lease.id.hex(), 1, 1, 1)
        word = WorkerWord("w", "h", 1, "1", [MORE], 1, False, "8", 1, 1, [process], [ran])
        run(tallies.present(home, me, presence.encode(word), lasts_ms=HOUR))
        run(drain(home, me, name="w", lasts_ms=HOUR, who="me"))
        run(block(home, blocking.encode("value", {"given": 7}), on=True, who="me", words="value(given=7)"))
        # Lanes: at a full limit, at a rate, with a weight; a key that is held for a time; somebody who is no job.
        self._place(call, 3, limits=[Concurrency(1, key="all")])
        self._place(call, 3, limits=[RateLimit(1, per=600, key="all")])
        self._place(call, 1, unique=Unique(until="time", for_=600))
        for _ in range(9):
            desk.take(me)
        name = limit_name("c", "guests", "guests")
        run(acquire(home, limit=name, numbers=Concurrency(9).numbers(), cost=1, token=b"t" * 16, lasts_ms=HOUR))
        # A flow that is over, and one in which jobs wait.
        done = self._flow(me, 2)
        self.jobs += (str(JobId(MORE, 0, raw)) for raw in done)
        self._flow(me, 1)
        # Some of a lane's turn is left; a lapse, after which they start alone.
        self._place(call, 4, fair_by=FairBy("a", weights={"a": 3}))
        desk.put(call)
        desk.take(other := process_id(), 2)
        desk.let_lapse(other)
        desk.sweep()
        self.jobs += (str(JobId(MORE, 0, raw)) for raw in made)
        return running

    def _flow(self, me: bytes, count: int) -> list[bytes]:
        """Two jobs of which the second is given the result of the first; so many of them end."""
        seeds = seeds_of([Drawn({}), Drawn({0: "fail"})])
        self.flows.append(str(JobId(MORE, 0, store(self.desk, seeds, head=msgspec.msgpack.encode([0, 1])))))
        record = outcome.encode(Outcome("value", 0, Attempt(1, 1, 2, "w", 3, "succeeded"), msgspec.Raw(codec.pack(7))))
        for _ in range(count):
            self.desk.settle(me, *self.desk.take(me), record=record)
        return [seed.id for seed in seeds]

    def _place(self, call: bytes, count: int, **wishes: Any) -> None:
        plain: dict[str, Any] = {"unique": None, "limits": (), "fair_by": None, "fair_key": None}
        asked = placement("value", Wishes(0, 0, 0, **plain | wishes), {"given": 1})
        for _ in range(count):
            self.desk.place((call, asked))

    # What is damaged, and mended

    def value(self, name: str) -> dict[bytes, Any] | list[bytes]:
        """What one kind of key holds."""
        found = READERS[KINDS[name]](self.redis, self.stored[name].key(name))
        return dict(found) if KINDS[name] == "zset" else found

    def put(self, name: str, value: dict[bytes, Any] | list[bytes]) -> None:
        """Something else in its place."""
        key = self.stored[name].key(name)
        self.redis.delete(key)
        write(self.redis, key, KINDS[name], value)

    def resume(self) -> None:
        """No queue is paused any more."""
        for home in self.homes:
            self.redis.hdel(home.key("meta"), "paused")

    def keep(self) -> None:
        """It is to be mended to what it is now."""
        keys = [home.key(name) for home in self.homes for name in NAMES]
        self._dumps = {key: data for key in keys if (data := self.redis.dump(key))}

    def mend(self) -> None:
        """As it was at first."""
        gone = [key for home in self.homes for name in NAMES if (key := home.key(name)) not in self._dumps]
        with self.redis.pipeline(transaction=False) as pipe:
            pipe.delete(*gone)
            for key, data in self._dumps.items():
                pipe.restore(key, 0, data, replace=True)
            pipe.execute()

    def end(self) -> None:
        """Nothing of it stays."""
        for home in self.homes:
            self.redis.delete(*(home.key(name) for name in NAMES))
        self.desk.close()
        self.quaff.store.endpoint.pool().disconnect()


def write(client: Any, key: bytes, kind: str, value: Any) -> None:
    """A key of that kind; none where there is nothing."""
    if not value:
        return
    if kind == "hash":
        client.hset(key, mapping=value)
    elif kind == "zset":
        client.zadd(key, value)
    else:
        client.rpush(key, *value)
