"""Every way in which a program or a person looks at what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from quaff import Inspector, Job
from quaff.audit.auditor import Audit
from quaff.dashboard import create_dashboard
from quaff.store.pages import partitions
from quaff.store.probe import Line
from tests.damaged.world import MORE, QUEUES, World

STATES = "queued running scheduled retrying failed succeeded cancelled expired".split()
Reader = Callable[[], object]


def readers(world: World, *, every: int = 1) -> Iterator[tuple[str, Reader]]:
    """By what they read; of every so many jobs."""
    quaff = world.quaff
    inspector = Inspector(quaff, QUEUES)
    yield from {
        "overview": inspector.overview,
        "queues": inspector.queues,
        "stats": inspector.stats,
        "workers": inspector.workers,
        "changes": inspector.changes,
        "series": inspector.series,
        "series of a task": lambda: inspector.series(task="value", hours=24),
        "tasks": inspector.tasks,
        "failures": inspector.failures,
        "failures of a task": lambda: inspector.failures(task="value"),
        "failed": lambda: [*inspector.failed()],
        "stack": lambda: inspector.stack(world.running),
        "schedules": quaff.schedules.list,
        "a schedule": lambda: quaff.schedules.get("hourly"),
        "lag": lambda: quaff.schedules.lag(QUEUES),
        "audit": lambda: audit(world),
    }.items()
    for state in STATES:
        yield f"{state} jobs", lambda state=state: inspector.jobs(f"state:{state}")
    for name in QUEUES:
        queue = quaff.queue(name)
        yield f"stats of {name}", queue.stats
        yield f"blocked of {name}", queue.blocked
        yield f"changes of {name}", queue.changes
    for id in [*world.jobs[::every], world.running]:
        job: Job[object] = quaff.job(id)
        yield f"info of {id}", job.info
        yield f"detail of {id}", lambda id=id: inspector.job(id)
        yield f"result of {id}", lambda job=job: job.result(0)
        yield f"watching {id}", lambda job=job: [*job.watch(0)]
        yield f"stream of {id}", lambda job=job: [*job.stream(timeout=0)]
    yield f"state of {world.running}", lambda: quaff.job(world.running).state
    for id in world.flows:
        flow = quaff.flow(id)
        yield f"state of flow {id}", lambda flow=flow: flow.state
        yield f"counts of flow {id}", flow.counts
        yield f"graph of flow {id}", flow.graph
        yield f"result of flow {id}", lambda flow=flow: flow.result(0)


def screens(world: World) -> Iterator[tuple[str, Reader]]:
    """Pages of the dashboard: each is whole, or says in our words what is wrong."""
    client = create_dashboard(world.quaff, queues=QUEUES, auth=lambda _: "admin").test_client()

    def look(url: str) -> None:
        answer = client.get(url)
        assert answer.status_code in (200, 404) or "QF0" in answer.text, answer.text[-3000:]

    jobs = (f"/jobs?state={state}" for state in STATES)
    one = (f"/queues/{MORE}", "/tasks/value", f"/jobs/{world.running}", *(f"/flows/{id}" for id in world.flows))
    for url in ("/", "/queues", "/failures", "/schedules", "/workers", "/tasks", *jobs, *one):
        yield url, partial(look, url)


def audit(world: World) -> list[object]:
    """All that is found wrong."""
    line = Line(world.quaff.store.endpoint)
    found: list[object] = []
    for home, keys in partitions([line], world.namespace).items():
        one = Audit(line, home, keys, world.quaff.settings.max_crashes)
        found += [*one.run(), *one.unchecked]
    line.close()
    return found
