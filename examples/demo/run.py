"""The demo: thousands of real files through a web application and a worker, one of whose processes is killed half-way.

    make demo               python examples/demo/run.py [--keep]

It starts an embedded server, ``app.py`` as a web application and a worker with two processes, hands in every Python
file of the standard library and of this virtual environment over HTTP, and asks for every result over HTTP.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from browser import Browser, File, Tally
from processes import DemoError, Processes, parent_of

from quaff import ConfigurationError

WORKERS = 2
PATIENCE = 60.0  # seconds without any result after which what is missing counts as lost
BAR = 40
MOST = 3000  # files: enough to look at, also where many packages are installed


def real_files() -> list[File]:
    """Every Python file of the standard library, its tests included, and of this environment's packages, up to MOST."""
    paths = sysconfig.get_paths()
    roots = dict.fromkeys(Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    found = ((root, path) for root in roots for path in _below(root))
    return [File(f"{root.name}/{path.relative_to(root).as_posix()}", path) for root, path in islice(found, MOST)]


def _below(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*.py")):
        # The packages of an interpreter lie inside its standard library; they are a root of their own.
        installed = {"site-packages", "dist-packages"} & set(path.relative_to(root).parts)
        if not installed and path.is_file() and os.access(path, os.R_OK):
            yield path


class Screen:
    """A bar that stays in its place on a terminal, and is a line at each quarter elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._quarter = 0

    def bar(self, ended: int, total: int, seconds: float) -> None:
        """Draw it."""
        filled = BAR * ended // total
        rate = ended / seconds if seconds else 0
        text = f"[{'#' * filled}{'.' * (BAR - filled)}] {ended:,} of {total:,} files, {rate:,.0f} jobs/s"
        if self._terminal:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        elif 4 * ended // total > self._quarter:
            self._quarter = 4 * ended // total
            print(text, file=sys.stderr, flush=True)

    def done(self) -> None:
        """Leave the bar where it is."""
        if self._terminal:
            print(file=sys.stderr)
        print(flush=True)

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        print(text, flush=True)


#: The signals that have come to end it.
STOPS: list[int] = []


class Demo:
    """One run of it."""

    def __init__(self, processes: Processes, files: list[File]) -> None:
        self._processes = processes
        self._screen = Screen()
        self._files = files
        self.killed = 0

    def run(self) -> tuple[str, Tally]:
        """All of it; the page's URL and what came back."""
        url = self._processes.start_web()
        supervisor = self._processes.start_worker(WORKERS)
        self._screen.say(f"web application {url}, worker {supervisor} with {WORKERS} processes, Valkey embedded")
        browser = Browser(url, self._files)
        browser.start()
        try:
            self._watch(browser, supervisor)
        finally:
            self._screen.done()
        return url, browser.tally

    def _watch(self, browser: Browser, supervisor: int) -> None:
        tally, shown = browser.tally, 0
        while not browser.done and time.monotonic() < tally.last + PATIENCE:
            self._processes.alive()
            if STOPS:  # it came while something was finalised, where Python ignores what is raised
                leave(STOPS[0], None)
            told = self._progress(browser)
            ended = told["succeeded"] + told["failed"]
            if not self.killed and ended * 2 >= tally.total:
                self.killed = self._kill(tally, supervisor)
            if ended != shown:
                self._screen.bar(ended, tally.total, time.monotonic() - tally.began)
                shown = ended
            time.sleep(0.1)
        if browser.done:
            self._screen.bar(tally.total, tally.total, tally.last - tally.began)

    def _progress(self, browser: Browser) -> dict[str, Any]:
        try:
            return browser.progress()
        except (OSError, HTTPException, ValueError) as error:
            self._processes.alive()
            raise DemoError(f"the web application does not answer: {error}") from error

    def _kill(self, tally: Tally, supervisor: int) -> int:
        """SIGKILL the process of the worker that finished a job last; its pid, or 0 if there was none to kill."""
        for pid in sorted(tally.pids, key=lambda pid: tally.pids[pid], reverse=True):
            if parent_of(pid) == supervisor:
                os.kill(pid, signal.SIGKILL)
                self._screen.say(f"half-way: worker process {pid} killed with SIGKILL, in the middle of its jobs")
                return pid
        return 0


def largest(told: list[dict[str, Any]]) -> str:
    """The ten largest modules as a table."""
    rows = [("module", "lines", "tokens", "functions", "longest function")]
    for each in sorted(told, key=lambda each: (-each["lines"], each["name"]))[:10]:
        named = f"{each['longest']} ({each['longest_lines']:,} lines)" if each["longest"] else "-"
        longest = each["problem"] or named
        rows.append((each["name"], f"{each['lines']:,}", f"{each['tokens']:,}", f"{each['functions']:,}", longest))
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{a:<{width}} {b:>8} {c:>9} {d:>10}  {e[:60]}" for a, b, c, d, e in rows)


def notes(tally: Tally, killed: int) -> Iterator[str]:
    """What else a person may want to know."""
    reports = tally.reports
    problems = sum(each["problem"] is not None for each in reports)
    if problems:
        yield f"{problems:,} files are no Python of today (bad on purpose, for tests): their jobs succeeded and say so."
    if killed:
        again = sum(each["attempt"] > 1 for each in reports)
        successors = [str(pid) for pid in tally.pids if pid != killed][WORKERS - 1 :]
        yield f"{again} jobs were running in process {killed} when it died, and ran again" + (
            f"; process {', '.join(successors)} took its place." if successors else "."
        )
    yield from tally.trouble[:10]
    if len(tally.trouble) > 10:
        yield f"... and {len(tally.trouble) - 10:,} more"


def verdict(tally: Tally, killed: int) -> tuple[str, bool]:
    """The last line, and whether all went well."""
    rate = len(tally.answers) / max(tally.last - tally.began, 0.001)
    line = (
        f"demo: {tally.total} files, {tally.succeeded} succeeded, {tally.failed} failed, {tally.lost} lost, "
        f"{rate:.0f} jobs/s, {1 if killed else 0} worker killed"
    )
    return line, tally.total > 0 and tally.succeeded == tally.total and bool(killed)


def run(keep: bool) -> int:
    """The demo; the exit code."""
    files = real_files()
    print(f"{len(files):,} Python files: the standard library of Python {platform.python_version()} and site-packages")
    with tempfile.TemporaryDirectory(prefix="quaff-demo-") as home, Processes(Path(home).resolve()) as processes:
        demo = Demo(processes, files)
        url, tally = demo.run()
        line, good = verdict(tally, demo.killed)
        print(largest(tally.reports), *notes(tally, demo.killed), sep="\n")
        if keep:
            print(f"\nStill running: {url}   Ctrl+C ends it.")
        print(line, flush=True)
        try:
            while keep:
                time.sleep(1)
                processes.alive()
        except KeyboardInterrupt:
            pass  # as it was asked to
    return 0 if good else 1


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Real work through Quaff, with a worker process killed half-way.")
    parser.add_argument("--keep", action="store_true", help="leave it running afterwards and print the page's URL")
    given = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        return run(given.keep)
    except (DemoError, ConfigurationError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def leave(number: int, _: object) -> NoReturn:
    """End, with everything that was started: the blocks on the way out see to it."""
    STOPS.append(number)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
