"""``quaff dev``: web application, worker, dashboard and embedded server, one log, one Ctrl+C, anew on every change."""

from __future__ import annotations

import importlib.util
import os
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NoReturn

import click

from quaff.cli.worker import MOST
from quaff.errors import ConfigurationError, did_you_mean
from quaff.worker.guarding import Guard
from quaff.worker.reloading import NO_BYTECODE, check_installed, watch

#: Seconds that running jobs get at a restart, and that a part gets to end before it is killed.
_GRACE, _END = 3, 6
_COLOURS = {"web": "cyan", "worker": "green", "board": "magenta", "dev": "yellow"}
#: What a worker says when it can work, once.
_READY = b"quaff.worker ready: "
#: Where the dashboard is, if nobody else is there.
_BOARD = 9180


class Part:
    """One program of the ensemble.

    Args:
        name: in the log.
        command: starts it.
        late: it waits until the worker is ready, which says what is wrong with the application; and the others can do
            without it.
    """

    def __init__(self, name: str, command: Sequence[str], *, late: bool = False) -> None:
        self.name = name
        self.late = late
        self._command = command
        self._told = False
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> IO[bytes]:
        """Start it in a group of its own, so that Ctrl+C reaches only us; returns its output."""
        self._told = False
        self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | NO_BYTECODE,
        )
        assert self.process.stdout is not None
        return self.process.stdout

    def has_ended(self) -> bool:
        """True once, when it has ended by itself."""
        if self._told or self.process is None or self.process.poll() is None:
            return False
        self._told = True
        return True

    def tell(self, number: int) -> None:
        """Send it a signal, if it lives."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def end(self, until: float) -> None:
        """Wait for its end until then, and make it end."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Ensemble:
    """Runs the parts, shows what they say, and starts them anew when a file changes."""

    def __init__(self, parts: Sequence[Part], directory: Path | None) -> None:
        self._parts = parts
        self._directory = directory
        self._selector = selectors.DefaultSelector()
        self._changed = threading.Event()
        self._stops = 0
        self._guard = Guard()

    def run(self) -> int:
        """Until Ctrl+C or SIGTERM; or, where no change can mend it, until a part has ended. Returns the exit code."""
        code = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        if self._directory is not None:
            watch(self._directory, self._changed.set)
        self._start()
        while not self._stops:
            self._show(0.2)
            self._guard.look()
            if not self._stops and self._tell_who_ended() and self._directory is None:
                code = 1
                break
            if self._changed.is_set():
                self._changed.clear()
                self._say("a file has changed: starting anew")
                self._end()
                self._start()
        self._end()
        self._guard.close()
        return code

    def _stop(self, *_: object) -> None:
        self._stops += 1
        for part in self._parts:
            part.tell(signal.SIGTERM)

    def _start(self, *, late: bool = False) -> None:
        for part in self._parts:
            if part.late is not late:
                continue
            output = part.start()
            assert part.process is not None
            self._guard.add(part.process.pid)
            os.set_blocking(output.fileno(), False)
            self._selector.register(output, selectors.EVENT_READ, (part.name, output, bytearray()))

    def _end(self) -> None:
        for part in self._parts:
            part.tell(signal.SIGTERM)
        until = time.monotonic() + _END
        while time.monotonic() < until and any(p.process is not None and p.process.poll() is None for p in self._parts):
            self._show(0.05)
        for part in self._parts:
            part.end(until)
            if part.process is not None:
                self._guard.discard(part.process.pid)
                part.process = None
        self._show(0.0)
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)

    def _tell_who_ended(self) -> bool:
        """Say once of each part that has ended by itself that it has; True if one had that the others need."""
        ended = [part for part in self._parts if part.has_ended()]
        for part in ended:
            what = "" if self._directory is None else "; waiting for a change (Ctrl+C ends)"
            self._say(f"the {part.name} has ended{what}")
        return any(not part.late for part in ended)

    def _show(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            name, output, rest = key.data
            data = output.read()
            if data == b"":
                self._selector.unregister(output)
                continue
            rest += data or b""
            *lines, last = bytes(rest).split(b"\n")
            rest[:] = last
            for line in lines:
                self._say(line.decode(errors="replace"), name)
                if name == "worker" and _READY in line and not self._stops:
                    self._start(late=True)

    @staticmethod
    def _say(text: str, name: str = "dev") -> None:
        click.echo(f"{click.style(f'{name:6} |', fg=_COLOURS[name])} {text}")


def worker_command(app: str, processes: int) -> list[str]:
    """The worker as a program."""
    told = ["-p", str(processes), "--grace", str(_GRACE), "-l", "debug"]
    return [sys.executable, "-m", "quaff", "worker", "-A", app, *told]


def board_command(app: str) -> list[str]:
    """The dashboard as a program; at another port where its own is taken."""
    with socket.socket() as probe:
        port = 0 if probe.connect_ex(("127.0.0.1", _BOARD)) == 0 else _BOARD
    return [sys.executable, "-m", "quaff", "dashboard", "-A", app, "-p", str(port)]


def check_module(app: str) -> None:
    """Raise ConfigurationError if there is no such module: waiting for a change will not make one."""
    first = app.partition(":")[0].partition(".")[0]
    names = [path.stem for path in Path.cwd().iterdir() if path.suffix == ".py" or path.is_dir()]
    if not first or (first not in names and importlib.util.find_spec(first) is None):
        raise ConfigurationError(f"no module {first!r} in {Path.cwd()} or on sys.path.{did_you_mean(first, names)}")


def check_free(host: str, port: int) -> None:
    """Raise ConfigurationError if nobody can listen there: a change of the code would not mend it."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will
            probe.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"the web application cannot listen at {host}:{port}: {error.strerror}. Give another --port "
            "(or FLASK_RUN_PORT), or end what is there."
        ) from None


def start(app: str, web: Sequence[str] | None, processes: int, reload: bool) -> NoReturn:
    """Run the ensemble of an application until Ctrl+C.

    Args:
        app: ``module:object`` for the worker.
        web: the web server's command, or None.
        processes: of the worker.
        reload: start anew when a Python file below the working directory changes.

    Raises:
        ConfigurationError: there is no such module or web server, or reloading is asked for and watchfiles is not
            installed.
    """
    check_module(app)
    if web and shutil.which(web[0]) is None:
        raise ConfigurationError(f"no program {web[0]!r} for the web server (--web)")
    if reload:
        check_installed("--no-reload")
    parts = [Part("worker", worker_command(app, processes))]
    if web:
        parts.append(Part("web", web))
    if importlib.util.find_spec("flask"):  # which the dashboard is made with
        parts.append(Part("board", board_command(app), late=True))
    sys.exit(Ensemble(parts, Path.cwd() if reload else None).run())


@click.command(short_help="Web application, worker and server.")
@click.option("-A", "--app", required=True, metavar="MODULE:OBJECT", help="The application.")
@click.option("--web", metavar="COMMAND", help="A web server to run along, such as 'uvicorn app:app'.")
@click.option("-p", "--processes", type=click.IntRange(1, MOST), default=1, show_default=True, help="Worker processes.")
@click.option("--reload/--no-reload", default=True, help="Start anew when a Python file changes.")
def dev(app: str, web: str | None, processes: int, reload: bool) -> None:
    """Web application, worker, dashboard and embedded server, with one log and one Ctrl+C."""
    start(app, shlex.split(web) if web else None, processes, reload)
