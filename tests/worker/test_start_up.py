"""How a worker starts: what is wrong is said once and clearly, what is asked for is obeyed, the log is for people."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quaff.store.embedded import find_binary
from quaff.task import submission
from tests.helpers import Program, python, wait_until
from tests.worker.support import Stage, children, side_by_side

APPS = {
    "good.py": "from quaff import Quaff\nquaff = Quaff()\n",
    "plain.py": "number = 5\n",
    "raising.py": "def ask():\n    raise ValueError('no such setting')\nask()\n",
    "leaving.py": "raise SystemExit(7)\n",
    "missing.py": "import nowhere_to_be_found\n",
    "several.py": "from quaff import Quaff\nmails = Quaff()\nnews = Quaff()\n",
    "broken.py": "def quaff(:\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with applications, right and wrong."""
    folder = tmp_path_factory.mktemp("apps")
    for name, text in APPS.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-A", "god:quaff"), ("no module 'god'", "Did you mean 'good'")),
        (("-A", "good:quaf"), ("no 'quaf'", "Did you mean 'quaff'")),
        (("-A", "good:create_app('test')"), ("a factory is called without arguments",)),
        (("-A", "plain:number"), ("is an int, not a Quaff",)),
        (("-A", "plain"), ("no Quaff object", "-A plain:object")),
        (("-A", "several"), ("several has 2 Quaff objects in it", "-A several:mails or -A several:news")),
        (("-A", "raising"), ("ValueError: no such setting", "raising.py", "in ask")),
        (("-A", "leaving"), ("SystemExit: 7", "__name__")),
        (("-A", "missing"), ("No module named 'nowhere_to_be_found'", "missing.py")),
        (("-A", "broken"), ("SyntaxError", "broken.py")),
        (("-A", "../good:quaff"), ("'../good' is not the name of a module",)),
        (("-A", "good.py"), ("no module 'good.py'", "Did you mean 'good'?")),
        ((), ("-A", "--help", "quaff worker -A shop:create_app")),
        (("-A", "good", "-Q", "a/b"), ("queue name 'a/b'", "A-Z a-z 0-9 . _ -")),
        (("-A", "good", "-Q", "a,,b"), ("queue name ''",)),
        (("-A", "good", "--proceses", "2"), ("--proceses", "Did you mean '--processes'")),
        (("-A", "good", "-p", "0"), ("'-p' / '--processes'", "0")),
        (("-A", "good", "-c", "many"), ("'-c' / '--concurrency'", "many")),
        (("-A", "good", "--grace", "-1"), ("--grace",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and value[:1] == ("-A",) else None,
)
def test_what_cannot_start_says_why_and_ends_with_2(
    running: Callable[[Program], Program], folder: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """One error with what to do next, none of our own frames, nothing on stdout."""
    worker = running(python("-m", "quaff", "worker", *arguments, cwd=folder, env={"QUAFF_URL": "redis://127.0.0.1:1"}))
    assert worker.wait(15) == 2, worker.output
    for word in words:
        assert word in worker.output
    assert sum("Error: " in line and line.startswith("Error: ") for line in worker.stderr) == 1
    assert not any("quaff/worker" in line or "importlib" in line for line in worker.stderr), worker.output
    assert worker.stdout == []


def test_a_server_whose_program_is_nowhere_is_no_reason_to_wait(
    running: Callable[[Program], Program], folder: Path, tmp_path: Path
) -> None:
    """It will not come by itself, as one that is away does."""
    env = {"QUAFF_URL": f"embedded://{tmp_path}", "QUAFF_SERVER_BINARY": str(tmp_path / "no-valkey")}
    worker = running(python("-m", "quaff", "worker", "-A", "good", cwd=folder, env=env))
    assert worker.wait(15) == 2, worker.output
    (error,) = [line for line in worker.stderr if line.startswith("Error: ")]
    assert "QUAFF_SERVER_BINARY" in error
    assert "is not a program" in error


def test_a_database_that_the_server_does_not_have_is_no_reason_to_wait(
    running: Callable[[Program], Program], folder: Path, port: int, servers: Callable[[int], None]
) -> None:
    """F46: no server grows one while it runs; what is wrong, and where that was set, is said once."""
    servers(port)
    env = {"QUAFF_URL": f"redis://127.0.0.1:{port}/999"}
    worker = running(python("-m", "quaff", "worker", "-A", "good", "-p", "1", cwd=folder, env=env))
    assert worker.wait(15) == 2, worker.output
    (error,) = [line for line in worker.stderr if line.startswith("Error: ")]
    assert "DB index is out of range" in error
    assert "mend the number at the end of QUAFF_URL" in error
    assert not any("Traceback" in line for line in worker.stderr), worker.output


@pytest.fixture
def port() -> int:
    """A port where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


@pytest.fixture
def servers() -> Iterator[Callable[[int], None]]:
    """Starts a server on a port; it is gone after the test."""
    started: list[subprocess.Popen[bytes]] = []
    home = tempfile.mkdtemp(prefix="quaff-t", dir="/tmp")

    def start(port: int) -> None:
        command = [str(find_binary()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", home]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    yield start
    for each in started:
        each.terminate()
        each.wait()
    shutil.rmtree(home, ignore_errors=True)


def test_a_worker_waits_for_its_server(stage: Stage, port: int, servers: Callable[[int], None]) -> None:
    """It says once a process that nobody answers and what to do, and is ready when somebody does."""
    worker = stage.worker("-p", "1", ready=False, URL=f"redis://127.0.0.1:{port}/0")
    line = worker.wait_for("no Valkey or Redis answers")
    assert f"127.0.0.1:{port}" in line
    assert "QUAFF_URL" in line
    servers(port)
    worker.wait_for("ready")
    assert worker.stop() == 0
    assert sum("answers at" in each for each in worker.stderr) <= 2, worker.output
    assert not any("Traceback" in each for each in worker.stderr)


def test_the_log_is_one_line_for_each_start_failure_and_stop(stage: Stage) -> None:
    """Jobs that succeed say nothing; stdout stays silent."""
    worker = stage.worker("-p", "2", "-c", "3")
    for job in stage.many("mark", [(f"mark {n}",) for n in range(50)]):
        job.result(timeout=10)
    failed = stage.send("fail", "NoArguments")
    wait_until(lambda: failed.state == "failed")
    assert worker.stop(signal.SIGINT) == 0
    expected = [
        r"quaff \S+ worker \S+: \S+, queues default, processes 2, each with 3 threads, 100 coroutines",
        r"ready: 2 of 2 processes, pid \d+, \d+",
        rf"{failed.id} fail failed: ValueError: ?",
        r"SIGINT: stopping; running jobs have 25 s",
        r"worker \S+ has stopped",
    ]
    assert len(worker.stderr) == len(expected), worker.output
    for line, pattern in zip(worker.stderr, expected, strict=True):
        assert re.fullmatch(rf"\d\d:\d\d:\d\d quaff\.worker {pattern}", line), line
    assert worker.stdout == []


def test_a_worker_serves_the_queues_it_was_told(stage: Stage) -> None:
    """-Q a,b: these, and no other."""
    worker = stage.worker("-p", "1", "-Q", "a,b")
    other = stage.send("mark", "other")
    jobs = [stage.send("mark", queue, queue=queue) for queue in ("a", "b")]
    assert [job.result(timeout=10) for job in jobs] == ["a", "b"]
    assert any("queues a,b," in line for line in worker.stderr)
    assert other.state == "queued"
    stage.worker("-p", "1")
    assert other.result(timeout=10) == "other"


def test_as_many_run_at_a_time_as_was_asked_for(stage: Stage) -> None:
    """-p 2 -c 3: six in two processes, and the seventh when one of them has ended."""
    worker = stage.worker("-p", "2", "-c", "3")
    assert len(children(worker)) == 2
    path = stage.file()
    jobs = stage.many("gate", [(f"gate {n}", str(path)) for n in range(8)])
    wait_until(lambda: len(stage.runs()) == 6)
    held = stage.raw().hlen(stage.key("active"))
    assert held == 6
    assert sorted(sum(run.pid == pid for run in stage.runs()) for pid in children(worker)) == [3, 3]
    path.touch()
    assert [job.result(timeout=10) for job in jobs] == [f"gate {n}" for n in range(8)]


def test_nothing_waits_behind_a_long_job_while_a_slot_is_free(new_stage: Callable[[], Stage]) -> None:
    """Tiny jobs teach the prefetch to take many; then a long one comes with many tiny ones behind it."""

    def scenario(*workers: tuple[str, ...]) -> None:
        stage = new_stage()
        for arguments in workers:
            stage.worker(*arguments)
        stage.learn_tiny()
        stage.learn_tiny()
        tasks = stage.quaff.tasks
        long, *tiny = stage.quaff.send(
            [
                submission(tasks["nap"], ("long", 6.0), {}),
                *(submission(tasks["mark"], (f"tiny {n}",), {}) for n in range(300)),
            ]
        )
        began = stage.started("long").started
        for job in tiny:
            job.result(timeout=10)
        assert long.state == "running"
        last = max(run.started for run in stage.runs() if run.tag != "long")
        assert last - began < 4.5
        assert {run.attempt for run in stage.runs()} == {1}
        assert long.result(timeout=10) == "long"
        assert len(stage.runs()) == 301

    side_by_side(
        lambda: scenario(("-p", "2", "-c", "1")),
        lambda: scenario(("-p", "1", "-c", "1"), ("-p", "1", "-c", "1")),
    )
