"""The processes of the demo: started here, ended here, by their pids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from quaff.store import embedded

HERE = Path(__file__).parent
START, STOP = 30.0, 10.0  # seconds that a process has for either


class DemoError(Exception):
    """The demo cannot go on; the text is for the person in front of it."""


class Processes:
    """A web application and a worker on an embedded server of their own.

    Args:
        home: an empty directory for all they write.

    Raises:
        ConfigurationError: this machine has no server program; the text says how to get one.
    """

    def __init__(self, home: Path) -> None:
        embedded.find_binary()  # now: the others would wait for it to be installed, as in production they should
        self._home = home
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self.server_directory = home / "server"
        # A variable left over in the shell must not send the demo's jobs to somebody's real server.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QUAFF_")}
        kept |= {"QUAFF_URL": f"embedded://{self.server_directory}", "DEMO_SPOOL": str(home / "spool")}
        if binary := os.environ.get("QUAFF_SERVER_BINARY"):
            kept["QUAFF_SERVER_BINARY"] = binary
        self._environment = kept

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_web(self) -> str:
        """Start the web application; the URL of its page."""
        return self._start("web", ["app.py"], "http://").strip()

    def start_worker(self, processes: int) -> int:
        """Start a worker; its supervisor's pid, as soon as every process of it can claim."""
        command = ["-m", "quaff", "worker", "-A", "app:quaff", "-p", str(processes), "--grace", "5"]
        self._start("worker", command, "ready")
        return self._started["worker"].pid

    def alive(self) -> None:
        """Raise DemoError if one of them has ended."""
        for name, process in self._started.items():
            if process.poll() is not None:
                raise DemoError(f"the {name} process ended with {process.returncode}. {self._last_words(name)}")

    def stop(self) -> None:
        """End everything that was started, the server last: the others still talk to it."""
        # A second Ctrl+C, out of impatience, must not leave half of them behind.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in self._started.values():
            process.terminate()
        until = time.monotonic() + STOP
        for process in self._started.values():
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._started.clear()
        # It would go by itself some seconds after its last user; its directory goes now.
        server = embedded.server_info(self.server_directory)
        if server is not None:
            end(int(str(server["pid"])))

    def _start(self, name: str, arguments: list[str], sign: str) -> str:
        """Start a process and wait for the line of its output that has ``sign`` in it."""
        log = self._home / f"{name}.log"
        with open(log, "w") as output:
            # A session of its own: Ctrl+C is for the driver, which then ends the others in order.
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=HERE, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self._started[name] = process
        until = time.monotonic() + START
        while process.poll() is None and time.monotonic() < until:
            line = next((line for line in log.read_text().splitlines(keepends=True) if sign in line), "")
            if line.endswith("\n"):
                return line
            time.sleep(0.02)
        raise DemoError(f"the {name} process did not start. {self._last_words(name)}")

    def _last_words(self, name: str) -> str:
        return f"It said:\n{(self._home / f'{name}.log').read_text(errors='replace')[-4000:]}"


def end(pid: int) -> None:
    """SIGTERM, and SIGKILL if that is not enough."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
            until = time.monotonic() + STOP
            while time.monotonic() < until:
                os.kill(pid, 0)
                time.sleep(0.02)
        except ProcessLookupError:
            return


def parent_of(pid: int) -> int:
    """The parent's pid; 0 if there is no such process."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        if Path("/proc/self/stat").exists():
            return int(stat.read_text().rpartition(")")[2].split()[1])
        return int(subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], check=False, capture_output=True).stdout or 0)
    except OSError:
        return 0
