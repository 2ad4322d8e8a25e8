"""A queue that is spread over several partitions: everything that works with one works with several."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from quaff import ConfigurationError, IdConflict, Quaff, QueueFull, Unique, chain, group
from quaff.model import ids
from quaff.store.client import Store
from quaff.store.keys import Partition, partition
from quaff.task import Task
from quaff.worker import serving
from quaff.worker.presence import Presence
from quaff.worker.process import introduction
from tests.helpers import Program, python, wait_until
from tests.matrix import WORKER, known_as
from tests.worker import workapp
from tests.worker.support import Stage

SPREAD = {"PARTITIONS": "default=4"}


def spread_over(stage: Stage, count: int) -> Quaff:
    """The same application, which spreads the queue ``default`` over so many."""
    quaff = Quaff(stage.url, namespace=stage.namespace, partitions={"default": count})
    for name, task in workapp.quaff.tasks.items():
        quaff.tasks[name] = Task(quaff, task.name, task.fn, task.settings)
    return quaff


def numbers(jobs: list[str]) -> Counter[int]:
    """How many of these are in which partition."""
    parsed = [ids.parse(job) for job in jobs]
    return Counter(each.partition for each in parsed if each)


def test_jobs_are_run_wherever_they_are(stage: Stage) -> None:
    """One by one, in bulk and with a key; their handles find them."""
    quaff = spread_over(stage, 4)
    stage.worker("-p", "1", **SPREAD)
    echo = quaff.tasks["echo"]
    jobs = [*echo.map([(n,) for n in range(400)]), *(echo.delay(n) for n in range(20))]
    assert quaff.wait_all(jobs, 30) == [*range(400), *range(20)]
    assert numbers([job.id for job in jobs]).keys() == {0, 1, 2, 3}
    keyed = [echo.options(key=f"k{n}").delay(n) for n in range(12)]
    assert [quaff.job(job.key or "").result(20) for job in keyed] == list(range(12))
    assert len(numbers([job.id for job in keyed])) > 1
    assert echo.options(key="k3").delay(3).existing
    with pytest.raises(IdConflict):
        echo.options(key="k3").delay(4)


def test_flows_live_in_any_partition(stage: Stage) -> None:
    """With jobs of other queues among their own, spread likewise or not."""
    quaff = spread_over(stage, 4)
    stage.worker("-p", "1", "-Q", "default,slow", **SPREAD)
    echo = quaff.tasks["echo"]
    flows = [chain(group(echo.si(n), echo.options(queue="slow").si(-n)), echo.s()).delay() for n in range(1, 13)]
    away = [chain(echo.options(queue="slow").si(n), echo.s()).delay() for n in range(12)]
    assert [flow.result(30) for flow in flows] == [[n, -n] for n in range(1, 13)]
    assert [flow.result(30) for flow in away] == list(range(12))
    assert len(numbers([flow.id for flow in flows])) > 1


def test_an_operator_sees_the_queue_as_one(stage: Stage) -> None:
    """Counting, pausing, limiting and purging reach all of it, also for a program that knows of one partition only."""
    quaff = spread_over(stage, 4)
    quaff.tasks["echo"].map([(n,) for n in range(200)])
    queue = stage.quaff.queue("default")
    assert queue.stats().queued == queue.stats().enqueued == 200
    assert queue.pause()
    assert not queue.pause()
    stage.worker("-p", "1", **SPREAD)
    assert queue.stats().queued == 200
    assert queue.stats().paused
    assert queue.purge() == 200
    assert queue.stats().cancelled == 200
    assert queue.resume()
    assert quaff.tasks["echo"].delay(7).result(20) == 7


FRAGILE = """
from pathlib import Path
if Path("broken").exists():
    raise RuntimeError("half of a deploy")
from tests.worker.workapp import quaff
"""


def test_partitions_that_came_to_light_are_served_though_a_new_process_did_not_start(
    stage: Stage, tmp_path: Path
) -> None:
    """It is tried again until one does: who knows of the first partition only would strand the others' jobs."""
    (tmp_path / "fragile.py").write_text(FRAGILE)
    worker = stage.worker("-p", "1", app="fragile:quaff", cwd=tmp_path)
    (tmp_path / "broken").touch()
    quaff = spread_over(stage, 3)
    jobs = quaff.tasks["echo"].map([(n,) for n in range(60)])
    worker.wait_for("half of a deploy")
    (tmp_path / "broken").unlink()
    assert sorted(quaff.wait_all(jobs, 40)) == [*range(60)]


@pytest.mark.parametrize("sent_before", [True, False])
def test_a_worker_learns_of_partitions_that_another_program_uses(stage: Stage, sent_before: bool) -> None:
    """Its settings say nothing of them: neither a program deployed before it nor a smaller number strands jobs."""
    quaff = spread_over(stage, 6)
    echo = quaff.tasks["echo"]
    jobs = echo.map([(n,) for n in range(60)]) if sent_before else []
    worker = stage.worker("-p", "2")
    jobs += echo.map([(n,) for n in range(60)])
    assert sorted(quaff.wait_all(jobs, 40)) == sorted([*range(60)] * (len(jobs) // 60))
    assert "more partitions than this worker knew" in worker.output
    assert worker.stop() == 0


def test_partitions_come_to_light_while_a_worker_is_still_being_put_together(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sweep finds them before the supervisor looks for the first time: it sees them nevertheless."""
    spread_over(stage, 6).tasks["echo"].delay(1)

    def later(store: Store, homes: Sequence[Partition], name: str, slots: str) -> Presence:
        wait_until(lambda: len(homes) == 6, 20)
        return Presence(store, homes, name, slots)

    monkeypatch.setattr(serving, "Presence", later)
    monkeypatch.setattr(serving, "Ears", lambda *_: None)  # their threads are there as long as the process
    own = Quaff(known_as(WORKER, stage.url), namespace=stage.namespace)
    word = introduction(own, ["default"], [("default", 0)])
    worker = serving.Serving(word, "slow")
    assert worker.grown() == [("default", number) for number in range(6)]
    assert worker.grown() == ()
    worker.chores.close(10)


def test_what_holds_a_queue_up_holds_up_its_new_partitions_too(stage: Stage) -> None:
    """A pause, a block and a capacity that were there before the queue was spread; lifted, they are lifted in all."""
    one = stage.quaff.queue("default")
    one.pause()
    one.set_capacity(jobs=40)
    stage.quaff.tasks["echo"].delay(0)
    stage.quaff.block(stage.quaff.tasks["mark"], tag="never")
    spread = spread_over(stage, 4)
    stage.worker("-p", "1", "-Q", "default,slow")
    jobs = spread.tasks["echo"].map([(n,) for n in range(60)])
    marked = spread.tasks["mark"].map([("never",)] * 12)
    with pytest.raises(QueueFull):
        spread.tasks["echo"].map([(n,) for n in range(400)])
    spread.tasks["echo"].options(queue="slow").delay(1).result(20)
    assert one.stats().running == 0
    assert all(job.state == "queued" for job in jobs)
    assert one.resume()
    assert spread.wait_all(jobs, 30) == list(range(60))
    assert stage.runs("never") == []
    assert stage.quaff.unblock(stage.quaff.tasks["mark"], tag="never")
    spread.wait_all(marked, 30)


def test_a_pause_of_the_same_moment_reaches_partitions_that_come_up(stage: Stage) -> None:
    """Whichever is first: of a hundred pairs none leaves a partition that goes on."""
    for number in range(100):
        name = f"q{number}"
        quaff = Quaff(stage.url, namespace=stage.namespace, partitions={name: 3})
        task = quaff.task(lambda: None, name="nothing", queue=name)
        ready = threading.Barrier(2)

        def pause(name: str = name, ready: threading.Barrier = ready) -> None:
            ready.wait(10)
            stage.quaff.queue(name).pause()

        thread = threading.Thread(target=pause)
        thread.start()
        ready.wait(10)
        task.map([()] * 6)
        thread.join(10)
        homes = [partition(stage.namespace, name, each).key("meta") for each in range(3)]
        assert [stage.raw().hget(home, "paused") for home in homes] == [b"0"] * 3
        quaff.store.endpoint.abandon_pool()


def test_the_partitions_of_the_first_queue_take_turns(stage: Stage) -> None:
    """Strict order is between queues: none of a queue's own partitions waits until another one is empty."""
    quaff = spread_over(stage, 3)
    naps = quaff.tasks["nap"].map([(f"p{n}", 0.01) for n in range(90)])
    quaff.tasks["nap"].options(queue="low").map([("low", 0.01)] * 10)
    stage.worker("-p", "1", "-c", "1", "-Q", "default,low", PARTITIONS="default=3")
    wait_until(lambda: len(stage.runs()) >= 100, 40)
    order = [run.tag for run in stage.runs()]
    assert order[90:] == ["low"] * 10
    home = {f"p{n}": number for n, job in enumerate(naps) for number in numbers([job.id])}
    first = Counter(home[tag] for tag in order[:30])
    assert first.keys() == {0, 1, 2}
    assert min(first.values()) >= 8


def test_a_dead_process_gives_back_what_it_held_in_each(stage: Stage) -> None:
    """At once, as with one."""
    quaff = spread_over(stage, 4)
    jobs = quaff.tasks["nap"].map([(f"n{n}", 0.3) for n in range(24)])
    stage.worker("-p", "1", **SPREAD)
    wait_until(lambda: len(stage.runs()) >= 4, 20)
    child = next(each for each in stage.processes() if each.name == "quaff-process")
    os.kill(child.pid, signal.SIGKILL)
    quaff.wait_all(jobs, 40)
    assert quaff.queue("default").stats().succeeded == 24


def test_what_holds_within_one_partition_is_refused(stage: Stage, running: Callable[[Program], Program]) -> None:
    """Before anything is sent, and at the start of a worker."""
    quaff = Quaff(stage.url, namespace=stage.namespace, partitions={"default": 2})
    task = quaff.task(lambda user: user, name="one", unique=Unique())
    with pytest.raises(ConfigurationError, match=r"unique= holds within one partition.*'default' has 2"):
        task.delay(1)
    assert quaff.queue("default").stats().enqueued == 0
    environment = stage.environment() | {"QUAFF_PARTITIONS": "default=2"}
    program = running(python("-m", "quaff", "worker", "-A", "tests.worker.orderapp:quaff", env=environment))
    assert program.wait() == 2, program.output
    assert "holds within one partition" in program.output


def test_the_first_partition_knows_how_many_there_are(stage: Stage) -> None:
    """The number only rises, and is told once by each program."""
    spread_over(stage, 4).tasks["echo"].delay(1)
    spread_over(stage, 2).tasks["echo"].delay(1)
    assert stage.raw().hget(partition(stage.namespace, "default").key("meta"), "partitions") == b"4"
