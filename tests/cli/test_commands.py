"""The commands that look and steer: what they print, for people and programs, and their exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from quaff import Job, JobState, Quaff
from quaff.cli import BUG, program
from quaff.cli.printing import plain, size, table, took
from quaff.cli.server import RUNS_ALREADY
from quaff.store import embedded
from tests.helpers import Program, end_embedded, python, start_worker, wait_until
from tests.matrix import owners

APP = """
from quaff import Quaff, current_job

quaff = Quaff()

@quaff.task(name="add")
def add(a: int, b: int = 0) -> int:
    return a + b

@quaff.task(name="fails", sensitive=["card"])
def fails(text: str, card: str = "", token: str = "") -> None:
    raise ValueError(text)

@quaff.task(name="tells")
def tells() -> None:
    current_job.progress(3, 10, "half")
    current_job.log("a line")

@quaff.task(name="holds")
def holds(path: str) -> None:
    import os, time
    while not os.path.exists(path):
        time.sleep(0.01)

@quaff.cron("0 7 * * *", tz="Europe/Vienna", name="daily")
@quaff.task(name="tick")
def tick() -> None: ...
"""
#: What somebody may have put anywhere: colours, the cursor, line ends, another direction, a bell.
HOSTILE = "<b>\x1b[31mred\x1b[2J\r\nnext\x07\u202eback\x9b1m"

CLI_PAGE = Path(__file__).parents[2] / "docs" / "cli.md"

Run = Callable[..., Result]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server_url: str, namespace: str) -> Iterator[str]:
    """An application in the working directory, by a name that no other test has."""
    monkeypatch.setenv("QUAFF_URL", owners(server_url))  # which queues there are is nobody else's to ask
    monkeypatch.setenv("QUAFF_NAMESPACE", namespace)
    monkeypatch.chdir(tmp_path)
    name = f"shop_{uuid4().hex[:8]}"
    (tmp_path / f"{name}.py").write_text(APP)
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def quaff(shop: str) -> Quaff:
    """The application here."""
    from quaff.worker.loading import load

    return load(shop)


#: Click before 8.2 gives both streams as one unless it is told otherwise, and later ones cannot be told.
APART: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}


def run(*words: str, **more: Any) -> Result:
    """One command, in this process."""
    return CliRunner(**APART).invoke(program(), words, **more)


def said(done: Result) -> str:
    """What it says, on whichever stream."""
    return done.stdout + done.stderr


def document(*words: str) -> Any:
    """The one document that a command prints."""
    done = run(*words, "--json")
    assert done.exit_code == 0, said(done)
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


@pytest.fixture
def worker(shop: str, tmp_path: Path) -> Iterator[Program]:
    """A worker of the application."""
    program = start_worker(shop, "-p", "1", cwd=tmp_path)
    yield program
    program.end()


def ended(*jobs: Job[Any]) -> None:
    """Wait until they have."""
    wait_until(lambda: all(job.state.terminal for job in jobs), 20, "the ends")


NOBODY = "default-0-" + "0" * 32


@pytest.mark.parametrize(
    ("code", "words", "says"),
    [
        (0, ("info",), "no workers at "),
        (0, ("jobs", "ls"), "no such jobs"),
        (1, ("jobs", "show", NOBODY), "QF031"),
        (1, ("jobs", "stack", NOBODY), "does not run"),
        (2, ("jobs", "stack", "nonsense"), "no job's id"),
        (2, ("jobs", "ls", "stat:failed"), "Did you mean 'state'?"),
        (2, ("jobs", "ls", "state:parked"), "shown as parked are queued"),
        (2, ("jobs", "ls", "--no-such"), "No such option"),
        (2, ("tasks", "--by", "memroy"), "Did you mean 'memory'?"),
        (2, ("jobs", "rm"), "--all"),
        (2, ("jobs", "rm", "--all", "--json"), "--yes"),
        (2, ("call", "-A", "SHOP", "ad", "[1]"), "Did you mean 'add'?"),
        (2, ("call", "-A", "SHOP", "add", "1"), "JSON list"),
        (2, ("call", "-A", "SHOP", "add"), "Error: add.delay(): missing a required argument"),
        (2, ("call", "-A", "no_such_module", "add"), "no_such_module"),
        (2, ("cron", "pause", "-A", "SHOP", "dayly"), "no schedule 'dayly'"),
        (2, ("pause", "no/name"), "no/name"),
        (2, ("pause", "nosuch"), "there is no queue 'nosuch'"),
        (2, ("resume", "-A", "SHOP", "nosuch"), "there is no queue 'nosuch'"),
        (2, ("purge", "defualt", "--yes"), "Did you mean 'default'?"),
        (2, ("jobs", "rm", "state:succeeded"), "jobs that are succeeded cannot be deleted (rm, discard): only those"),
        (2, ("drain", "nobody"), "no worker 'nobody' has been heard of"),
        pytest.param(
            *(RUNS_ALREADY, ("server",), "runs already"),
            marks=pytest.mark.only("valkey", "redis7", why="it is the embedded server that this command runs"),
        ),
    ],
)
def test_each_exit_code_means_one_thing(shop: str, code: int, words: tuple[str, ...], says: str) -> None:
    """0 it is done, 1 it ran and failed, 2 it was not understood, 4 it runs already."""
    done = run(*(shop if word == "SHOP" else word for word in words))
    assert done.exit_code == code, said(done)
    assert says in said(done)


def test_no_server_is_three_and_our_own_mistake_is_seventy(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one line in the one case, and all there is to report in the other."""
    away = run("info", env={"QUAFF_URL": "redis://127.0.0.1:1", "QUAFF_DEADLINE": "0.2"})
    assert away.exit_code == 3
    assert "QF011" in said(away)
    assert "Traceback" not in said(away)

    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("quaff.cli.looking.server_of", wrong)
    bug = run("info")
    assert bug.exit_code == BUG == 70
    assert "ZeroDivisionError" in said(bug)
    assert "bug in Quaff" in said(bug)


def test_a_call_is_sent_and_waited_for(shop: str, worker: Program) -> None:
    """Its result as JSON; a job that fails is exit code 1, with its error."""
    done = run("call", "-A", shop, "add", "[1]", "b=2", "--wait")
    assert (done.exit_code, done.stdout) == (0, "3\n")
    found = document("call", "-A", shop, "add", "a=4", "--wait")
    assert (found["state"], found["value"]) == ("succeeded", 4)
    bad = run("call", "-A", shop, "fails", "text=no luck", "--wait")
    assert bad.exit_code == 1
    assert "ValueError: no luck" in said(bad)
    late = run("call", "-A", shop, "add", "[1]", "--delay", "60", "--wait", "--timeout", "0.1")
    assert late.exit_code == 1
    assert "QF033" in said(late)
    id = run("call", "-A", shop, "add", "[5]").stdout.strip()
    watched = run("jobs", "watch", id)
    assert watched.exit_code == 0, said(watched)
    assert watched.stdout.splitlines()[-1].endswith("succeeded")


def test_info_and_queues_say_how_things_stand(shop: str, quaff: Quaff, worker: Program) -> None:
    """For people and for programs; the server with its pid, each queue with its jobs, the workers."""
    ended(quaff.tasks["add"].delay(1, 2))
    quaff.tasks["add"].options(delay=100).delay(1, 2)
    found = wait_until(lambda: (told := document("info"))["workers"] and told, 10, "the worker")
    assert isinstance(found["server"]["pid"], int)
    assert found["server"]["url"] == quaff.settings.url
    assert found["server"]["version"]
    (row,) = found["queues"]
    assert (row["name"], row["succeeded"], row["scheduled"], row["workers"]) == ("default", 1, 1, 1)
    assert found["workers"][0]["pid"] == worker.pid
    assert document("queues")["queues"][0]["succeeded"] == 1
    lines = run("info").stdout.splitlines()
    assert any(line.split()[:4] == ["default", "0", "0", "1"] for line in lines)
    assert run("queues", "-Q", "default").stdout.startswith("QUEUE")
    assert "last 60 minutes" in run("top").stdout


def test_what_is_parked_is_not_said_to_be_known_nowhere(shop: str, quaff: Quaff, worker: Program) -> None:
    """The one worker that claimed it does not know its task; another one may."""
    job = quaff.task(lambda: None, name="stranger").delay()
    wait_until(lambda: job.info().parked, 10, "a job that is put aside")
    told = run("queues").stdout
    assert "1 parked: blocked, or claimed by a worker that does not know their task" in told, told


@pytest.mark.parametrize("command", ["info", "audit"])
def test_a_namespace_where_nothing_is_stored_is_no_clean_bill(shop: str, quaff: Quaff, command: str) -> None:
    """A slip of the pen looks at nothing, and is told so; the document of ``--json`` stays alone on its stream."""
    note = "nothing is stored under the namespace 'nonexist'\n"
    quaff.tasks["add"].delay(1, 2)
    assert "nothing" not in said(run(command))
    wrong = {"QUAFF_NAMESPACE": "nonexist"}
    missed, own = run(command, env=wrong), run(command, "-Q", "default", env=wrong)
    assert (missed.exit_code, note in missed.stdout) == (0, True), said(missed)
    assert "nothing of default is stored under the namespace 'nonexist'" in own.stdout
    told = run(command, "--json", env=wrong)
    assert (told.stderr, told.stdout.count("\n")) == (note, 1)


def test_the_docs_name_what_is_no_command_of_flask() -> None:
    """The page of the commands has each of them, and no other."""
    from quaff.cli.flask import quaff_group

    (told,) = re.findall(r"import` need the application\. (.*) are no commands of `flask quaff`", CLI_PAGE.read_text())
    assert set(re.findall(r"`(\w+)`", told)) == program().commands.keys() - quaff_group.commands.keys()


def test_tasks_say_what_they_cost(shop: str, quaff: Quaff, worker: Program) -> None:
    """Time, memory and bytes, the most first of what is asked for."""
    ended(quaff.tasks["add"].delay(1, 2), quaff.tasks["fails"].delay("x" * 5000))
    found = wait_until(lambda: len(told := document("tasks", "--by", "bytes")["tasks"]) == 2 and told, 10, "the tally")
    assert [row["name"] for row in found] == ["fails", "add"]
    assert 5000 < found[0]["total"]["stored"] < 20_000
    assert set(found[0]["total"]["memory"]) == {"count", "mean", "p50", "p95", "p99"}
    lines = run("tasks", "--by", "size").stdout.splitlines()
    assert lines[0].split() == "TASK ENDED FAILED RETRIED RAN WAITED TIME MEMORY SIZE BYTES LAST QUEUES".split()
    assert lines[1].split()[:4] == ["fails", "1", "1", "0"]
    assert "KiB" in lines[1]


def test_jobs_are_listed_and_shown(shop: str, quaff: Quaff, worker: Program) -> None:
    """With their arguments, what is secret left out, and their error; a cursor leads on."""
    jobs = [quaff.tasks["fails"].delay("why", card="4111", token="t") for _ in range(3)]
    ended(*jobs)
    page = document("jobs", "ls", "-A", shop, "state:failed", "-n", "2")
    assert [row["error"] for row in page["jobs"]] == ["ValueError", "ValueError"]
    assert page["jobs"][0]["arguments"] == "text='why', card=***, token=***"
    rest = document("jobs", "ls", "state:failed", "--cursor", page["cursor"])
    assert {row["id"] for row in (*page["jobs"], *rest["jobs"])} == {job.id for job in jobs}
    assert run("jobs", "ls", "error:no such", jobs[0].id).stdout == "no such jobs\n"
    shown = run("jobs", "show", "-A", shop, jobs[0].id).stdout
    assert "queue      default\n" in shown
    assert "card=***" in shown
    assert "4111" not in shown
    assert "ValueError: why" in shown
    assert "Traceback" in shown
    assert "µs" not in shown, "what an attempt took is known to the millisecond"
    told = quaff.tasks["tells"].delay()
    ended(told)
    shown = run("jobs", "show", told.id).stdout
    assert "3/10 half" in shown
    assert "INFO a line" in shown
    told = document("jobs", "show", jobs[0].id)
    assert (told["id"], told["state"], told["task"]) == (jobs[0].id, "failed", "fails")
    assert told["attempts"][0]["started_at"].endswith("Z")
    assert told["arguments"] is None, "who does not know the task does not know what is sensitive"


def test_a_page_of_several_queues_and_states_is_in_the_order_of_time(shop: str, quaff: Quaff) -> None:
    """The newest first, whatever the order in which the lists are read."""
    add = quaff.tasks["add"]
    jobs = []
    for queue in ("b", "a", "default", "a"):
        jobs.append(add.options(queue=queue).delay(1))
        time.sleep(0.002)  # what they are told apart by is a millisecond
    later = add.options(delay=60, queue="a").delay(1)
    shown = document("jobs", "ls", "-A", shop, "-Q", "a,b,default")["jobs"]
    assert [row["id"] for row in shown] == [later.id, *(job.id for job in reversed(jobs))]


def test_where_a_running_job_is_in_its_code(shop: str, quaff: Quaff, worker: Program, tmp_path: Path) -> None:
    """For people and for programs; without what it was called with. 1 for one that does not run."""
    gate = tmp_path / "hunter2"
    job = quaff.tasks["holds"].delay(str(gate))
    wait_until(lambda: job.state is JobState.RUNNING, 20)
    done = run("jobs", "stack", "-A", shop, job.id)
    assert done.exit_code == 0, said(done)
    assert f"job {job.id}, holds, attempt 1, for " in done.stdout
    assert "in holds\n" in done.stdout
    assert "hunter2" not in done.stdout
    assert document("jobs", "stack", "-A", shop, job.id).keys() == {"at", "worker", "pid", "text"}
    gate.touch()
    ended(job)
    assert run("jobs", "stack", "-A", shop, job.id).exit_code == 1


def test_what_is_done_to_many_is_counted_before(shop: str, quaff: Quaff, worker: Program) -> None:
    """Nobody is asked where nobody can answer; with --yes it is done, and told how often."""
    jobs = [quaff.tasks["fails"].delay(f"n{place}") for place in range(40)]
    ended(*jobs)
    asked = run("jobs", "rm", "error:n1*")
    assert asked.exit_code == 2
    assert asked.stdout == "11 jobs match\n"
    assert run("jobs", "rm", jobs[0].id).stdout == "1 job matches\n"
    assert document("jobs", "rm", jobs[0].id, "--yes") == {"matched": 1, "done": 1, "more": False}
    worker.stop()
    assert document("jobs", "retry", "state:failed", "--yes") == {"matched": 39, "done": 39, "more": False}
    assert {job.state for job in jobs[1:]} == {JobState.QUEUED}
    done = run("jobs", "cancel", "task:fails", "--yes")
    assert "39 cancelled" in done.stdout
    assert run("jobs", "cancel", "--all", "-y").stdout == "0 jobs match\n"


def test_a_queue_is_paused_resumed_and_purged(shop: str, quaff: Quaff) -> None:
    """What was so before is said; what is purged is counted before."""
    assert "is paused" in run("pause", "default", "--for", "10m").stdout
    assert "was paused already" in run("pause", "default").stdout
    assert document("queues")["queues"][0]["paused"] is True
    assert "goes on" in run("resume", "default").stdout
    assert "was not paused" in run("resume", "default").stdout
    quaff.tasks["add"].map([(1,)] * 25)
    assert run("purge", "default").exit_code == 2
    assert document("purge", "default", "--yes") == {"matched": 25, "done": 25}


def test_a_worker_is_drained_by_its_name(shop: str, quaff: Quaff, tmp_path: Path) -> None:
    """And no other one."""
    programs = [start_worker(shop, "-p", "1", "-n", name, cwd=tmp_path) for name in ("one", "two")]
    try:
        wait_until(lambda: "one" in run("info").stdout and "two" in run("info").stdout, 20)
        assert "Did you mean 'one'?" in said(run("drain", "onee"))
        assert "worker one (pid" in run("drain", "one").stdout
        assert programs[0].wait(10) == 0
        assert quaff.tasks["add"].delay(1, 2).result(10) == 3
        assert programs[1].process.poll() is None
    finally:
        for program in programs:
            program.end()


def test_schedules_are_listed_run_and_paused(shop: str, quaff: Quaff, worker: Program) -> None:
    """In words and as data."""
    wait_until(lambda: quaff.schedules.get("daily"), 10, "the schedule")
    (_, line) = run("cron", "ls", "-A", shop).stdout.splitlines()
    assert re.search(r"  at 07:00 every day  Europe/Vienna  \d{4}-\d\d-\d\d 07:00, in [\d.]+ (h|min|s)  -", line), line
    (found,) = document("cron", "ls", "-A", shop)["schedules"]
    assert (found["name"], found["tz"], found["paused"]) == ("daily", "Europe/Vienna", False)
    id = document("cron", "run", "-A", shop, "daily")["id"]
    ended(quaff.job(id))
    assert run("cron", "pause", "-A", shop, "daily").stdout == "paused\n"
    assert document("cron", "ls", "-A", shop)["schedules"][0]["paused"]
    assert run("cron", "resume", "-A", shop, "daily").stdout == "resumed\n"


def test_a_table_is_as_wide_as_the_terminal() -> None:
    """The last cell is cut; numbers stand at the right."""
    lines = table(("A", ">N", "TEXT"), [("x", 5, "word " * 30), ("longer", 1234, HOSTILE)], width=40)
    assert all(len(line) <= 40 for line in lines)
    assert lines[1].startswith("x          5  word")
    assert lines[2].startswith(r"longer  1234  <b>\x1b[31m")
    assert plain(None) == ""
    assert [size(each) for each in (None, 0, 999, 1536.0, 34 << 20, 1.5 * 2**30)] == [
        *("-", "0 B", "999 B", "1.5 KiB", "34 MiB", "1.5 GiB")
    ]
    assert [took(each) for each in (None, 2e-5, 0.0123, 3.4, 600, 7200, 1e6)] == [
        *("-", "20 µs", "12 ms", "3.4 s", "10 min", "2.0 h", "12 d"),
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_learns_the_commands(shell: str) -> None:
    """Text for it to read."""
    assert "_QUAFF_COMPLETE" in run("completion", shell).stdout


def test_top_leaves_the_terminal_as_it_was(shop: str, tmp_path: Path) -> None:
    """In a real terminal: a screen of its own, and Ctrl+C brings the old one back."""
    ours, theirs = pty.openpty()
    top = subprocess.Popen(
        [sys.executable, "-m", "quaff", "top", "--every", "0.2"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
    )
    os.close(theirs)
    said = b""
    try:
        while said.count(b"QUEUE") < 2:
            said += os.read(ours, 65536)
        assert said.startswith(b"\x1b[?1049h")
        top.send_signal(signal.SIGINT)
        assert top.wait(10) == 0
        while b"\x1b[?1049l" not in said:
            said += os.read(ours, 65536)
    finally:
        top.kill()
        top.wait()
        os.close(ours)


def test_a_server_runs_as_long_as_its_command(tmp_path: Path) -> None:
    """It says where it is; SIGTERM ends the command with 0."""
    home = Path(tempfile.mkdtemp(prefix="quaff-s", dir="/tmp"))
    command = python("-m", "quaff", "server", cwd=tmp_path, env={"QUAFF_URL": f"embedded://{home}"})
    try:
        command.wait_for("listens on")
        told = embedded.server_info(home)
        assert told is not None
        assert str(told["pid"]) in command.output
        assert command.stop() == 0
    finally:
        command.end()
        end_embedded(home)
        shutil.rmtree(home, ignore_errors=True)
