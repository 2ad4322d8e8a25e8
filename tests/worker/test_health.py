"""What a supervisor tells of its worker over HTTP, while the worker's processes do what they like."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from quaff.errors import ConfigurationError
from quaff.model import metrics
from quaff.worker.listening import Address, address
from tests.helpers import Program, python, wait_until
from tests.model.test_metrics import parsed
from tests.worker.support import Stage, after, children, kill


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(port: int, path: str, **headers: str) -> tuple[int, str]:
    """Status and body; 0 where nobody listens."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def told(port: int, name: str, **labels: str) -> float:
    """One sample; 0 where it is not there."""
    found = parsed(ask(port, "/metrics")[1])
    return found.get((name, frozenset(labels.items())), 0.0)


def test_a_worker_tells_what_its_processes_have_done(stage: Stage) -> None:
    """Counters by task, queue and outcome, histograms of both times, what runs, processes and memory."""
    port = free_port()
    worker = stage.worker("-p", "2", "-c", "2", "--health", str(port))
    for job in [*stage.many("tiny", [()] * 30), stage.send("nap", "a", 0.2)]:
        job.result(timeout=10)
    stage.send("fail", "error")
    path = stage.file()
    stage.send("gate", "held", str(path))
    stage.started("held")

    def counted() -> bool:
        return (
            told(port, "quaff_tasks_total", task="tiny", queue="default", outcome="succeeded") == 30
            and told(port, "quaff_tasks_total", task="fail", queue="default", outcome="failed") == 1
            and told(port, "quaff_tasks_running", queue="default") == 1
        )

    wait_until(counted, 10, "the counters")
    assert told(port, "quaff_task_duration_seconds_count", task="nap", queue="default") == 1
    assert 0.2 <= told(port, "quaff_task_duration_seconds_sum", task="nap", queue="default") < 1
    assert told(port, "quaff_task_wait_seconds_count", task="tiny", queue="default") == 30
    assert told(port, "quaff_task_memory_bytes_count", task="nap", queue="default") == 1
    assert told(port, "quaff_task_memory_bytes_bucket", task="nap", queue="default", le="+Inf") == 1
    assert 50 < told(port, "quaff_task_stored_bytes_total", task="nap", queue="default") < 1000
    assert told(port, "quaff_worker_processes", state="ready") == 2
    assert told(port, "quaff_worker_memory_bytes") > 10 * 2**20
    assert told(port, "quaff_up") == 1
    path.touch()
    assert worker.stop() == 0


def test_a_metric_never_has_a_jobs_id(stage: Stage) -> None:
    """Labels are what there is a bounded number of."""
    port = free_port()
    stage.worker("-p", "1", "--health", str(port))
    job = stage.send("mark", "a")
    job.result(timeout=10)
    wait_until(lambda: told(port, "quaff_tasks_total", task="mark", queue="default", outcome="succeeded"), 10)
    text = ask(port, "/metrics")[1]
    assert job.id not in text
    names = {name for name, _ in parsed(text)}
    labels = {label for _, pairs in parsed(text) for label, _ in pairs}
    assert labels == {"task", "queue", "outcome", "state", "le"}
    assert all(any(name.startswith(family.name) for family in metrics.FAMILIES) for name in names)


def test_a_task_that_holds_the_interpreter_does_not_hold_up_the_probes(stage: Stage) -> None:
    """The supervisor answers, not the process of the task."""
    port = free_port()
    stage.worker("-p", "1", "--health", f"127.0.0.1:{port}")
    stage.send("hold_gil", "a", 2.0)
    stage.started("a")
    assert ask(port, "/livez") == (200, "ok\n")
    assert ask(port, "/readyz") == (200, "ok\n")


def test_a_worker_is_ready_when_all_processes_are_and_until_it_stops(stage: Stage) -> None:
    """Alive from the beginning, ready between start and stop."""
    port = free_port()
    path = stage.file()
    loading = stage.file()
    worker = stage.worker("-p", "1", "--health", str(port), ready=False, environment={"IMPORT_GATE": str(loading)})
    seen = [wait_until(lambda: ask(port, "/livez")[0], 10)]
    seen += [ask(port, "/readyz")[0]]
    loading.touch()
    worker.wait_for("ready")
    wait_until(lambda: ask(port, "/readyz")[0] == 200, 5)
    stage.send("gate", "held", str(path))
    stage.started("held")
    worker.send(signal.SIGTERM)
    wait_until(lambda: ask(port, "/readyz") == (503, "it is stopping\n"), 5)
    assert ask(port, "/livez")[0] == 200
    path.touch()
    assert worker.wait() == 0
    assert seen == [200, 503]


def test_a_worker_without_its_server_is_alive_and_not_ready(
    own_server: tuple[Callable[[], Stage], int],
) -> None:
    """To restart it would mend nothing; as soon as the server answers it is ready again."""
    make, pid = own_server
    port = free_port()
    stage = make()
    stage.worker("-p", "1", "--health", str(port))
    wait_until(lambda: ask(port, "/readyz")[0] == 200, 5)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: ask(port, "/readyz") == (503, "the server does not answer\n"), 30)
    assert ask(port, "/livez")[0] == 200
    assert told(port, "quaff_up") == 0
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: ask(port, "/readyz")[0] == 200, 15)


def test_a_process_that_crashes_is_counted(stage: Stage) -> None:
    """And another one takes its place."""
    port = free_port()
    worker = stage.worker("-p", "1", "--health", str(port))
    kill(children(worker)[-1])
    wait_until(lambda: told(port, "quaff_worker_process_crashes_total") >= 1, 10)
    wait_until(lambda: ask(port, "/readyz")[0] == 200, 15)


def test_an_autoscaler_is_told_the_backlog(stage: Stage) -> None:
    """What runs counts: nobody takes a worker away from under a job."""
    port = free_port()
    path = stage.file()
    stage.worker("-p", "1", "-c", "1", "--health", str(port))
    stage.many("gate", [("held", str(path))] * 3)
    stage.started("held")

    def scale(query: str = "") -> Any:
        status, body = ask(port, f"/autoscale{query}")
        return json.loads(body) if status == 200 else status

    wait_until(lambda: scale()["queues"]["default"]["running"] >= 1 and scale()["backlog"] == 3, 10, f"{scale()}")
    assert scale("?queue=default")["backlog"] == 3
    assert scale("?queue=other") == 404
    path.touch()
    wait_until(lambda: scale()["backlog"] == 0, 10)


def test_what_is_parked_takes_nothing_off_the_backlog(stage: Stage) -> None:
    """It is in no line; who waits there is all the same to be run."""
    stage.quaff.block("mark")
    worker = stage.worker("-p", "1", "-c", "1")
    stage.many("mark", [(f"parked {number}",) for number in range(3)])
    queue = stage.quaff.queue("default")
    wait_until(lambda: queue.stats().parked == 3, 10)
    assert queue.stats().backlog == 0
    worker.stop()
    stage.many("tiny", [()] * 2)
    assert (queue.stats().queued, queue.stats().backlog, queue.stats().scale()["backlog"]) == (2, 2, 2)


def test_one_who_asks_slowly_keeps_nobody_waiting(stage: Stage) -> None:
    """Connections that say nothing are hung up on."""
    port = free_port()
    stage.worker("-p", "1", "--health", str(port))
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    wait_until(lambda: ask(port, "/livez")[0] == 200, 10)
    for each in slow:
        each.close()


SHORT_OF_THREADS = """
import resource, threading, urllib.request
from quaff.worker.listening import Address, Answer, Listening

def ask() -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{listening.port}/", timeout=10) as answer:
            return answer.status
    except OSError:
        return 0

listening = Listening(Address("127.0.0.1", 0), {"/": lambda request: Answer("here")})
listening.start()
# As large as the rest of the room: what a limit on processes does to others, it does not to root.
threading.stack_size(1 << 30)
_, most = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, most))
print(*(ask() for _ in range(20)))
resource.setrlimit(resource.RLIMIT_AS, (most, most))
print(ask())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no such limit")
def test_a_probe_is_answered_as_soon_as_a_thread_can_be_started_again(running: Callable[[Program], Program]) -> None:
    """While there was none nobody was answered, and nobody has kept a place."""
    program = running(python("-c", SHORT_OF_THREADS))
    assert program.wait() == 0, program.output
    assert program.stdout == [" ".join("0" * 20), "200"], program.output


def test_without_statistics_for_screens_a_scraper_is_told_all_the_same(stage: Stage) -> None:
    """The one costs the server something, the other does not."""
    port = free_port()
    stage.worker("-p", "1", "--health", str(port), STATISTICS="0")
    stage.send("tiny").result(timeout=10)
    wait_until(lambda: told(port, "quaff_tasks_total", task="tiny", queue="default", outcome="succeeded") == 1, 10)
    after(1.5)  # a tally would have been told by now
    assert not stage.raw().exists(stage.key("series"))


def test_a_port_that_is_taken_is_an_error_before_anything_starts(stage: Stage) -> None:
    """Exit code 2, one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        worker = stage.worker("--health", str(taken.getsockname()[1]), ready=False)
        assert worker.wait() == 2
    assert re.search(r"^Error: .*nobody can listen at 127\.0\.0\.1:\d+", worker.output, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("9191", Address("127.0.0.1", 9191)),
        (":9191", Address("127.0.0.1", 9191)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("[::1]:9191", Address("::1", 9191)),
    ],
)
def test_an_address_without_a_host_is_this_machine(text: str, meant: Address) -> None:
    """Nobody else is told anything unless that was asked for."""
    assert address(text) == meant


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", "1:99999", "a:b", "a:-1"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    """With what one looks like."""
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        address(text)
