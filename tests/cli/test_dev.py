"""``quaff dev``: one log, one Ctrl+C, begun anew on every change."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from quaff import Quaff
from tests.helpers import Program, gone, python, wait_until
from tests.matrix import ENGINE, known_as

Keep = Callable[[Program], Program]

TASKS = """
from quaff import Quaff

quaff = Quaff()

@quaff.task(name="answer")
def answer() -> int:
    return 41
"""

#: A web server stands in for anybody's: what matters is that it is started, shown, and ended.
WEB_COMMAND = f"{sys.executable} web.py"
WEB = "import sys, time; print('web is up', flush=True); time.sleep(600)"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server_url: str, namespace: str) -> Path:
    """A directory with an application, and the server of the tests."""
    monkeypatch.setenv("QUAFF_URL", known_as(ENGINE, server_url))
    monkeypatch.setenv("QUAFF_NAMESPACE", namespace)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # as with most people
    (tmp_path / "tasks.py").write_text(TASKS)
    (tmp_path / "web.py").write_text(WEB)
    return tmp_path


def start(running: Keep, place: Path, *more: str) -> Program:
    """``quaff dev``, up and ready."""
    dev = running(python("-m", "quaff", "dev", "-A", "tasks", *more, cwd=place))
    wait_until(lambda: "ready" in dev.output, 20, "the worker")
    return dev


def family(pid: int) -> set[int]:
    """All living descendants of a process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found: set[int] = set()
    while new := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= new
    return found


def test_a_job_sees_the_new_code_after_a_file_was_saved(running: Keep, place: Path) -> None:
    """The worker is begun anew when a Python file changes."""
    quaff = Quaff()
    answer = quaff.task(lambda: 0, name="answer")
    dev = start(running, place)
    assert answer.delay().result(10) == 41
    before = (place / "tasks.py").stat()
    (place / "tasks.py").write_text(TASKS.replace("41", "42"))
    # As if it had been saved within the second in which it was loaded: what is compiled must not pass for the new one.
    os.utime(place / "tasks.py", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    wait_until(lambda: "starting anew" in dev.output, 10, "the reload")
    assert wait_until(lambda: answer.delay().result(15) == 42, 15)


def test_web_server_and_worker_speak_in_one_log(running: Keep, place: Path) -> None:
    """Each line says whose it is."""
    dev = start(running, place, "--no-reload", "--web", WEB_COMMAND)
    wait_until(lambda: any("web" in line and "web is up" in line for line in dev.output.splitlines()), 10)
    assert any(line.startswith("worker") and "ready" in line for line in dev.output.splitlines())


def test_the_dashboard_is_there_too(running: Keep, place: Path) -> None:
    """For this machine, at the URL that the log has; it comes when the worker is ready, and again after a change."""
    dev = start(running, place, "--web", WEB_COMMAND)

    def urls() -> list[str]:
        return re.findall(r"^board .*?(http://127\.0\.0\.1:\d+/)", dev.output, re.MULTILINE)

    url = wait_until(lambda: next(iter(urls()), ""), 20, "the dashboard")
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert b"Overview" in answer.read()
    (place / "tasks.py").write_text(TASKS + "\n# changed\n")
    again = wait_until(lambda: len(urls()) > 1 and urls()[-1], 30, "the dashboard after a change")
    with urllib.request.urlopen(again, timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_everything_it_started(running: Keep, place: Path, number: int) -> None:
    """Exit code 0, and no process is left."""
    dev = start(running, place, "--no-reload", "--web", WEB_COMMAND)
    started = family(dev.pid)
    assert len(started) >= 4
    assert dev.stop(number, 15) == 0
    wait_until(lambda: all(gone(pid) for pid in started), 5, "the end of all it started")


def test_killing_it_leaves_nothing_behind(running: Keep, place: Path) -> None:
    """SIGKILL: its guard ends web server and worker, and the worker's own ends its processes."""
    dev = start(running, place, "--no-reload", "--web", WEB_COMMAND)
    started = family(dev.pid)
    os.kill(dev.pid, signal.SIGKILL)
    wait_until(lambda: all(gone(pid) for pid in started), 15, "the end of all it started")


def test_an_application_that_cannot_be_loaded_is_told_in_the_log(running: Keep, place: Path) -> None:
    """And saving the mended file starts it, without a word on the command line."""
    (place / "tasks.py").write_text("import no_such_module_at_all\n")
    dev = running(python("-m", "quaff", "dev", "-A", "tasks", cwd=place))
    wait_until(lambda: "no_such_module_at_all" in dev.output, 20, "the traceback")
    wait_until(lambda: "the worker has ended; waiting for a change" in dev.output, 10, "what it does now")
    (place / "tasks.py").write_text(TASKS)
    wait_until(lambda: "ready" in dev.output, 20, "the worker")


def test_where_no_change_can_mend_it_it_ends(running: Keep, place: Path) -> None:
    """Without reloading there is nothing to wait for; and no saved file makes a module of a misspelt name."""
    misspelt = running(python("-m", "quaff", "dev", "-A", "tsks:quaff", cwd=place))
    assert misspelt.wait(10) == 2
    assert "no module 'tsks'" in misspelt.output
    assert "Did you mean 'tasks'?" in misspelt.output
    (place / "tasks.py").write_text("1 / 0\n")
    broken = running(python("-m", "quaff", "dev", "-A", "tasks", "--no-reload", "--web", WEB_COMMAND, cwd=place))
    assert broken.wait(20) == 1
    assert "ZeroDivisionError" in broken.output
    assert "the worker has ended" in broken.output


def test_its_log_has_a_line_for_each_job_and_the_traceback_of_a_failed_one(running: Keep, place: Path) -> None:
    """What one wants to see while one writes it, and not in production."""
    (place / "tasks.py").write_text(
        TASKS + "\n@quaff.task(name='fails')\ndef fails():\n    raise ValueError('not \\x1b[31m today')\n"
    )
    quaff = Quaff()
    dev = start(running, place, "--no-reload")
    assert quaff.task(lambda: 0, name="answer").delay().result(10) == 41
    quaff.task(lambda: 0, name="fails").delay()
    wait_until(lambda: re.search(r"answer succeeded in \d\S* (µs|ms) *$", dev.output, re.MULTILINE), 10)
    wait_until(lambda: "fails failed: ValueError: not" in dev.output, 10)
    wait_until(lambda: "in fails" in dev.output, 10, "the traceback")
    assert "\x1b[31m today" not in dev.output


def test_flask_takes_its_options_for_host_and_port(running: Keep, place: Path) -> None:
    """-p is the port, as of flask run: a port taken for a number of processes brings a machine down."""
    (place / "app.py").write_text(
        "from flask import Flask\nfrom quaff.flask import Quaff\napp = Flask(__name__)\nquaff = Quaff(app)\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dev = running(python("-m", "flask", "--app", "app", "quaff", "dev", "-p", str(port), "--no-reload", cwd=place))
    wait_until(lambda: f"http://127.0.0.1:{port}" in dev.output, 20, "the web server")
    wait_until(lambda: "ready: 1 of 1 processes" in dev.output, 20, "the worker")
    told = {"FLASK_RUN_PORT": str(port)}
    second = running(python("-m", "flask", "--app", "app", "quaff", "dev", cwd=place, env=told))
    assert second.wait(10) == 2
    assert f"cannot listen at 127.0.0.1:{port}: Address already in use. Give another --port" in second.output
    assert dev.stop() == 0


def test_a_web_server_that_is_not_there_is_told_before_anything_starts(running: Keep, place: Path) -> None:
    """One line, and no worker left behind."""
    dev = running(python("-m", "quaff", "dev", "-A", "tasks", "--web", "no-such-server app", cwd=place))
    assert dev.wait(10) == 2
    assert "no-such-server" in dev.output
    assert "Traceback" not in dev.output
    assert family(dev.pid) == set()
