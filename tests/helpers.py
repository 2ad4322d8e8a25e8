"""What many tests need: waiting without sleeping, and programs that never outlive their test."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from quaff import Quaff
from quaff.store import embedded

T = TypeVar("T")

SRC = Path(__file__).parent.parent / "src"


def wait_until(predicate: Callable[[], T], timeout: float = 15.0, what: str = "") -> T:
    """Call ``predicate`` until it gives something true, and return that.

    Args:
        predicate: looked at every few milliseconds; what it raises is not caught.
        timeout: seconds.
        what: what is waited for, for the error.

    Raises:
        AssertionError: it gave nothing true in time; the text has the last value.
    """
    deadline, pause = time.monotonic() + timeout, 0.005
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or predicate!r}; last seen: {value!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


class Program:
    """A process of a test; its output is gathered line by line while it runs.

    Args:
        *command: program and arguments.
        cwd: its working directory.
        env: laid over this process's environment; an empty value removes a variable.

    Attributes:
        process: the Popen.
        stdout, stderr: the lines so far, without their ends.
    """

    def __init__(self, *command: str, cwd: Path | str | None = None, env: Mapping[str, str] | None = None) -> None:
        merged = os.environ | {"PYTHONPATH": path_with(SRC), "PYTHONUNBUFFERED": "1"} | dict(env or {})
        self.command = command
        # A session of its own: a signal to its group must not reach the tests.
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={name: value for name, value in merged.items() if value},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        pipes = ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr))
        self._readers = [threading.Thread(target=_gather, args=each, daemon=True) for each in pipes]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Its pid."""
        return self.process.pid

    def wait_for(self, text: str, timeout: float = 20.0) -> str:
        """The first line of stderr that contains ``text``, waited for; AssertionError if the program ends before."""

        def look() -> str | None:
            ended = self.process.poll()
            if ended is not None:
                self._read_to_the_end()
            found = next((line for line in self.stderr if text in line), None)
            assert found or ended is None, f"{self} ended with {ended} before {text!r}:\n{self.output}"
            return found

        found = wait_until(look, timeout, f"{text!r} from {self}; so far:\n{self.output}")
        assert found is not None
        return found

    def send(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal; nothing if it has ended."""
        self.process.send_signal(number)

    def wait(self, timeout: float = 30.0) -> int:
        """Its exit code (below 0: killed by that signal), waited for; the output is complete then."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} had not ended after {timeout:g} s:\n{self.output}") from None
        self._read_to_the_end()
        return code

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30.0) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.send(number)
        return self.wait(timeout)

    def _read_to_the_end(self) -> None:
        for reader in self._readers:
            reader.join(2)  # not for ever: a grandchild may hold the pipe open

    def end(self) -> None:
        """See to it that it is gone: politely, firmly, by force. For teardowns."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.send(number)
                try:
                    self.process.wait(4)
                except subprocess.TimeoutExpired:
                    continue
        self._read_to_the_end()
        for reader, pipe in zip(self._readers, (self.process.stdout, self.process.stderr), strict=True):
            if pipe is not None and not reader.is_alive():
                pipe.close()

    @property
    def output(self) -> str:
        """All it has said so far, for error texts."""
        return "\n".join([*self.stderr, *self.stdout])

    def __repr__(self) -> str:
        return f"<{' '.join(self.command[1:])} ({self.process.pid})>"


def python(*arguments: str, cwd: Path | str | None = None, env: Mapping[str, str] | None = None) -> Program:
    """Start this interpreter with arguments; whoever calls it calls ``end()``."""
    return Program(sys.executable, *arguments, cwd=cwd, env=env)


def start_worker(
    spec: str,
    *arguments: str,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    ready: bool = True,
) -> Program:
    """``python -m quaff worker -A spec ...``; tests take the fixture of this name, which also ends it.

    Args:
        spec: ``module:object``, found in ``cwd``.
        *arguments: more of the command line.
        ready: wait for the line that says every process can claim.
    """
    worker = python("-m", "quaff", "worker", "-A", spec, *arguments, cwd=cwd, env=env)
    if ready:
        try:
            worker.wait_for("ready")
        except BaseException:
            worker.end()
            raise
    return worker


def gone(pid: int) -> bool:
    """Whether no process has this pid; one that has ended and waits to be reaped counts as gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # Its files and locks are its threads', too: they are there until the last one has ended, not the first.
        return fields[0] == "Z" and int(fields[17]) <= 1
    except OSError:
        return Path("/proc/self").exists()  # it went meanwhile; elsewhere than on Linux there is no such file


def end_embedded(home: Path) -> None:
    """End the embedded server of a directory and wait until it is gone."""
    info = embedded.server_info(home)
    if info is None:
        return
    pid = info["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: gone(pid), 10, "the end of the embedded server")


def path_with(folder: Path) -> str:
    """A PYTHONPATH that has ``folder`` before what is in it already."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def _gather(pipe: object, lines: list[str]) -> None:
    assert hasattr(pipe, "__iter__")
    try:
        lines.extend(line.rstrip("\n") for line in pipe)
    except ValueError:
        pass  # closed by end() while a grandchild held the other side


def in_loop(quaff: Quaff, main: Callable[[], Any]) -> Any:
    """What a coroutine function gives, in a loop whose connections are closed."""

    try:
        return asyncio.run(main())
    finally:
        quaff.store.endpoint.tidy()


@contextmanager
def no_more_threads() -> Generator[None]:
    """Within it none can be started: each would have more memory than there are addresses."""
    usual = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(usual)
