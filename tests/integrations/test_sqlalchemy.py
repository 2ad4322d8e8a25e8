"""Jobs and transactions of SQLAlchemy: what is committed is sent, what is rolled back is not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, MetaData, create_engine, func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from quaff import (
    ConfigurationError,
    JobNotFound,
    JobState,
    Quaff,
    ServerUnavailable,
    Unique,
    chain,
)
from quaff.sqlalchemy import Outbox, Relay, enqueue_after_commit
from tests.helpers import in_loop, wait_until


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def quaff(server_url: str, namespace: str) -> Quaff:
    """On the tests' server."""
    quaff = Quaff(server_url, namespace=namespace)

    @quaff.task(name="ship")
    def ship(order: int) -> int:
        return order

    @quaff.task(name="lone", unique=Unique(on_conflict="raise"))
    def lone(order: int) -> None: ...

    return quaff


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """An empty database."""
    engine = create_engine(database)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def outbox(quaff: Quaff, engine: Engine) -> Outbox:
    """Its table is there."""
    outbox = Outbox(quaff, MetaData())
    outbox.table.metadata.create_all(engine)
    return outbox


def queued(quaff: Quaff) -> int:
    """Jobs on the server."""
    return quaff.queue("default").stats().queued


def rows(outbox: Outbox, engine: Engine) -> int:
    """Rows in the table."""
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(outbox.table)) or 0


class TestAfterCommit:
    def test_a_job_is_sent_when_the_session_has_committed(self, quaff: Quaff, engine: Engine) -> None:
        """The handle is there at once."""
        ship = quaff.tasks["ship"]
        with Session(engine) as session:
            session.add(order := Order())
            session.flush()
            with enqueue_after_commit(session):
                job = ship.delay(order.id)
                more = ship.map([(2,), (3,)])
            with pytest.raises(JobNotFound):
                assert job.state
            session.commit()
            assert [each.state for each in (job, *more)] == [JobState.QUEUED] * 3
            session.commit()  # what is sent is sent
            assert queued(quaff) == 3

    def test_nothing_is_sent_for_a_rollback_nor_for_a_session_that_is_closed(
        self, quaff: Quaff, engine: Engine
    ) -> None:
        ship = quaff.tasks["ship"]
        with Session(engine) as session:
            with enqueue_after_commit(session):
                ship.delay(1)
            session.rollback()
            session.commit()
            with enqueue_after_commit(session):
                ship.delay(2)
        session.close()
        with Session(engine) as session, session.begin() as transaction, enqueue_after_commit(session):
            ship.delay(3)
            transaction.rollback()
        assert queued(quaff) == 0

    def test_a_savepoint_takes_its_jobs_with_it(self, quaff: Quaff, engine: Engine) -> None:
        """Those that were sent in it, and in savepoints within it, whether these were released or not."""
        ship = quaff.tasks["ship"]
        with Session(engine) as session, enqueue_after_commit(session):
            kept = [ship.delay(1)]
            with session.begin_nested():
                kept.append(ship.delay(2))
            outer = session.begin_nested()
            gone = [ship.delay(3)]
            with session.begin_nested():
                gone.append(ship.delay(4))
            outer.rollback()
            assert queued(quaff) == 0
            session.commit()
        assert all(job.state == JobState.QUEUED for job in kept)
        assert queued(quaff) == 2

    def test_a_flow_and_a_batch_wait_too(self, quaff: Quaff, engine: Engine) -> None:
        ship = quaff.tasks["ship"]
        with Session(engine) as session:
            with enqueue_after_commit(session):
                flow = chain(ship.s(1), ship.s()).delay()
                with quaff.batch():
                    job = ship.delay(2)
            assert queued(quaff) == 0
            session.commit()
        assert len(flow.graph()) == 2
        assert job.state == JobState.QUEUED
        assert queued(quaff) == 2

    def test_what_is_sent_outside_of_the_block_is_sent_at_once(self, quaff: Quaff, engine: Engine) -> None:
        with Session(engine) as session:
            with enqueue_after_commit(session):
                pass
            assert quaff.tasks["ship"].delay(1).state == JobState.QUEUED

    def test_a_scoped_session_is_one_too(self, quaff: Quaff, engine: Engine) -> None:
        """That of Flask-SQLAlchemy is."""
        session = scoped_session(sessionmaker(engine))
        with enqueue_after_commit(session):
            job = quaff.tasks["ship"].delay(1)
        session.commit()
        assert job.state == JobState.QUEUED
        session.remove()

    def test_a_server_that_is_away_leaves_the_commit_and_a_session_that_works(self, engine: Engine) -> None:
        away = Quaff("redis://127.0.0.1:1", deadline=0.1)
        ship = away.task(lambda order: None, name="ship")
        with Session(engine) as session:
            session.add(Order(id=1))
            with enqueue_after_commit(session):
                ship.delay(1)
            with pytest.raises(ServerUnavailable):
                session.commit()
            assert session.scalar(select(func.count()).select_from(Order)) == 1

    def test_a_coroutine_has_the_same(self, quaff: Quaff, tmp_path: Path) -> None:
        """Nothing blocks the event loop meanwhile."""

        async def main() -> None:
            engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'async.db'}")
            outbox = Outbox(quaff, MetaData())
            async with engine.begin() as connection:
                await connection.run_sync(outbox.table.metadata.create_all)
            async with async_sessionmaker(engine)() as session:
                with enqueue_after_commit(session):
                    job = await quaff.tasks["ship"].adelay(1)
                with outbox(session):
                    other = await quaff.tasks["ship"].adelay(2)
                await session.commit()
                count = await session.scalar(select(func.count()).select_from(outbox.table))
                assert (job.state, count) == (JobState.QUEUED, 1)
                with pytest.raises(JobNotFound):
                    assert other.state
                with enqueue_after_commit(session):
                    await quaff.tasks["ship"].adelay(3)
                await session.rollback()
            await engine.dispose()

        in_loop(quaff, main)
        assert queued(quaff) == 1

    def test_anything_else_is_refused(self, engine: Engine) -> None:
        with pytest.raises(TypeError, match="is no session"):
            enqueue_after_commit(engine)  # type: ignore[arg-type]


class TestOutbox:
    def test_a_job_is_a_row_until_a_relay_sends_it(self, quaff: Quaff, engine: Engine, outbox: Outbox) -> None:
        ship = quaff.tasks["ship"]
        with Session(engine) as session:
            with outbox(session):
                job = ship.delay(1)
                ship.options(key="a", priority=5).delay(2)
                ship.map([(3,), (4,)])
            session.commit()
        assert (rows(outbox, engine), queued(quaff)) == (4, 0)
        relay = Relay(outbox, engine)
        assert relay.send() == 4
        assert (rows(outbox, engine), queued(quaff)) == (0, 4)
        assert job.state == JobState.QUEUED
        assert quaff.job("default/ship/a").state == JobState.QUEUED
        assert relay.send() == 0

    def test_nothing_is_left_of_a_rollback(self, quaff: Quaff, engine: Engine, outbox: Outbox) -> None:
        with Session(engine) as session:
            with outbox(session):
                quaff.tasks["ship"].delay(1)
            session.flush()
            session.rollback()
            with outbox(session), session.begin_nested() as savepoint:
                quaff.tasks["ship"].delay(2)
                savepoint.rollback()
            session.commit()
        assert rows(outbox, engine) == 0
        assert Relay(outbox, engine).send() == 0

    def test_a_row_that_is_sent_twice_is_one_job(self, quaff: Quaff, engine: Engine, outbox: Outbox) -> None:
        """As if a relay had died between the server's answer and its own commit."""
        with sessionmaker(engine).begin() as session, outbox(session):
            quaff.tasks["ship"].delay(1)
            quaff.tasks["ship"].options(delay=0.01).delay(2)
        with engine.connect() as connection:
            kept = [dict(row) for row in connection.execute(select(outbox.table)).mappings()]
        relay = Relay(outbox, engine)
        for _ in range(3):
            relay.send()
            with engine.begin() as connection:
                connection.execute(outbox.table.insert(), kept)
        relay.send()
        stats = quaff.queue("default").stats()
        assert stats.queued + stats.scheduled == 2

    def test_a_row_that_can_never_be_sent_keeps_back_no_other(
        self, quaff: Quaff, engine: Engine, outbox: Outbox
    ) -> None:
        """It stays, with what is wrong with it."""
        quaff.tasks["ship"].options(key="a").delay(1)
        with sessionmaker(engine).begin() as session, outbox(session):
            quaff.tasks["ship"].delay(0)
            quaff.tasks["ship"].options(key="a").delay(2)
            quaff.tasks["lone"].delay(1)
            quaff.tasks["lone"].delay(1)
            quaff.tasks["ship"].delay(3)
        relay = Relay(outbox, engine)
        relay.send()
        assert relay.send() == 0
        assert queued(quaff) == 4
        with engine.connect() as connection:
            problems = connection.scalars(select(outbox.table.c.problem).order_by(outbox.table.c.id)).all()
        assert [str(problem).partition(":")[0] for problem in problems] == ["IdConflict", "DuplicateJob"]

    def test_what_is_not_sent_because_the_server_is_away_stays(
        self, quaff: Quaff, engine: Engine, outbox: Outbox
    ) -> None:
        with sessionmaker(engine).begin() as session, outbox(session):
            quaff.tasks["ship"].delay(1)
        away = Outbox(Quaff("redis://127.0.0.1:1", deadline=0.1), MetaData())
        with pytest.raises(ServerUnavailable):
            Relay(away, engine).send()
        assert rows(outbox, engine) == 1
        assert Relay(outbox, engine).send() == 1

    def test_a_relay_in_a_thread_hears_of_a_commit_at_once(self, quaff: Quaff, engine: Engine, outbox: Outbox) -> None:
        """And ends when it is told to."""
        before = threading.active_count()
        relay = Relay(outbox, engine, every=3600).start()
        with sessionmaker(engine).begin() as session, outbox(session):
            job = quaff.tasks["ship"].delay(1)
        wait_until(lambda: rows(outbox, engine) == 0)
        assert job.state == JobState.QUEUED
        relay.stop()
        assert threading.active_count() == before

    def test_a_relay_that_is_stopped_just_before_it_waits_does_not_wait(self, engine: Engine, outbox: Outbox) -> None:
        """It has looked whether it is, and takes the bell that says so for one that is over."""
        relay = Relay(outbox, engine, every=3600)

        class Bell(threading.Event):
            def clear(self) -> None:
                relay.stop()
                super().clear()

        relay._bell = Bell()
        running = threading.Thread(target=relay.run, daemon=True)
        running.start()
        running.join(5)
        assert not running.is_alive()

    def test_the_number_of_a_row_is_never_given_again(self, quaff: Quaff, engine: Engine, outbox: Outbox) -> None:
        """Else a relay that is slow to remove what it has sent removes what it has not."""
        seen = []
        for _ in range(2):
            with sessionmaker(engine).begin() as session, outbox(session):
                quaff.tasks["ship"].delay(1)
            with engine.connect() as connection:
                seen.append(connection.scalar(select(outbox.table.c.id)))
            Relay(outbox, engine).send()
        assert seen == [1, 2]

    def test_several_relays_send_each_row_once(self, quaff: Quaff, engine: Engine, outbox: Outbox) -> None:
        with sessionmaker(engine).begin() as session, outbox(session):
            quaff.tasks["ship"].map([(number,) for number in range(1000)])
        relays = [Relay(outbox, engine, every=0.05).start() for _ in range(3)]
        wait_until(lambda: rows(outbox, engine) == 0, 30)
        for relay in relays:
            relay.stop()
        assert queued(quaff) == 1000

    def test_a_flow_and_a_job_of_another_quaff_are_refused(self, quaff: Quaff, engine: Engine, outbox: Outbox) -> None:
        other = Quaff("redis://127.0.0.1:1").task(lambda: None, name="x")
        ship = quaff.tasks["ship"]
        with Session(engine) as session, outbox(session):
            with pytest.raises(ConfigurationError, match="a flow cannot be put in an outbox"):
                chain(ship.s(1), ship.s()).delay()
            with pytest.raises(ConfigurationError, match="another Quaff"):
                other.delay()


def test_two_sessions_at_a_time_keep_their_jobs_apart(quaff: Quaff, engine: Engine) -> None:
    """Also in coroutines."""

    async def one(number: int) -> None:
        with Session(engine) as session:
            with enqueue_after_commit(session):
                await asyncio.sleep(0)
                await quaff.tasks["ship"].adelay(number)
            session.commit() if number % 2 else session.rollback()

    async def main() -> None:
        await asyncio.gather(*map(one, range(10)))

    asyncio.run(main())
    assert queued(quaff) == 5


def test_it_does_without_greenlet_where_no_session_is_asynchronous() -> None:
    """SQLAlchemy itself asks for it only then."""
    code = "import sys; sys.modules['greenlet'] = None; import quaff.sqlalchemy"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0
