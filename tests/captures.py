"""What commands look like in a real terminal, for the docs: ``make captures``, by hand, with tmux.

Prints the page. ``tests/cli/test_captures.py`` says when it has to be made again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers import SRC, end_embedded, python, start_worker, wait_until

APP = """
import random
import time

from quaff import Concurrency, Quaff

quaff = Quaff()


@quaff.task(name="mail.send", queue="mail", retries=1, backoff=0.5)
def send(user: int, subject: str, password: str = "hunter2") -> None:
    time.sleep(random.uniform(0.002, 0.02))
    if user % 37 == 0:
        raise ConnectionError(f"mx{user % 3}.example.com refused user {user}")


@quaff.task(name="report.build", queue="reports", concurrency=Concurrency(2))
def build(month: str) -> None:
    time.sleep(6)


@quaff.cron("0 7 * * mon-fri", tz="Europe/Vienna", name="morning")
@quaff.task(name="report.morning", queue="reports")
def morning() -> None: ...
"""
FILL = """
import time
import shop
shop.send.map([(user, "Your order") for user in range(1, 1500)])
shop.build.map([(f"2026-{month:02}",) for month in range(1, 13)])
shop.build.options(delay=3600).delay("2027-01")
mail = shop.quaff.queue("mail")
while (stats := mail.stats()).queued or stats.scheduled or stats.running:
    time.sleep(0.1)
"""
WIDE, HIGH = 132, 34
#: Title, the command, and what is in its output once it is whole.
SHOWN = (
    ("How things stand, live", "quaff top -A shop --every 0.5", "SAYS"),
    ("What each task costs", "quaff tasks -A shop --by time", "mail.send"),
    ("Jobs that match", "quaff jobs ls -A shop state:running,queued,failed -n 20", "more: --cursor"),
    ("Whether the server is fit", "quaff doctor -A shop", "queue reports"),
)
PAGE = """# What it looks like in a terminal

Captured in a terminal of {wide} columns (`make captures`), with a worker that has sent some mails and
builds reports. A terminal also has colours, and `quaff top` brings itself up to date until Ctrl+C.
"""


class Terminal:
    """One of tmux, with a shell in it.

    Args:
        folder: where the shell is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # A server of its own, by the path of its socket, which ends with the terminal.
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(folder / "tmux")]

    def __enter__(self) -> Terminal:
        where = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"
        shell = ("env", where, f"PYTHONPATH={SRC}:.", "sh")
        self._run("new-session", "-d", "-x", str(WIDE), "-y", str(HIGH), "-c", str(self._folder), *shell)
        return self

    def __exit__(self, *_: object) -> None:
        self._run("kill-server")

    def shows(self, command: str, whole: str) -> str:
        """What stands there some time after a command was typed; ``whole``: when it is all there."""
        self._run("send-keys", f"PS1='$ '; clear; {command}", "Enter")
        try:
            wait_until(lambda: whole in self._screen(), 20, f"{whole} in {command}")
        except AssertionError as error:
            raise AssertionError(self._screen()) from error
        text = self._screen()
        self._run("send-keys", "C-c")
        wait_until(lambda: self._screen().rstrip().endswith("$"), 20, "the shell again")
        return text

    def _screen(self) -> str:
        return self._run("capture-pane", "-p")

    def _run(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout


@contextmanager
def shop() -> Iterator[Path]:
    """The folder of an application at work."""
    folder = Path(tempfile.mkdtemp(prefix="quaff-", dir="/tmp")) / "shop"
    folder.mkdir()
    (folder / "shop.py").write_text(APP)
    try:
        worker = start_worker("shop", "-p", "2", "-n", "web-1", cwd=folder)
        try:
            filled = python("-c", FILL, cwd=folder, env={"PYTHONPATH": f"{SRC}:."})
            assert filled.wait() == 0, filled.output
            filled.end()
            yield folder
        finally:
            worker.end()
    finally:
        end_embedded(folder / ".quaff")
        shutil.rmtree(folder.parent, ignore_errors=True)


def main() -> None:
    """Print the page."""
    print(PAGE.format(wide=WIDE))
    with shop() as folder, Terminal(folder) as terminal:
        for title, command, whole in SHOWN:
            shown = "\n".join(line.rstrip() for line in terminal.shows(command, whole).rstrip().splitlines())
            print(f"## {title}\n\n```text\n$ {command}\n{shown.removesuffix('$').rstrip()}\n```\n")


if __name__ == "__main__":
    main()
