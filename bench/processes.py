"""Processes and all below them: their end, their processor time, their memory. From /proc, so on Linux only."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")


class Processes:
    """Commands that run for one measurement, each in a session of its own.

    Args:
        commands: programs with their arguments.
        environment: all of it.
        said: the file that gets what they print.
    """

    def __init__(self, commands: Sequence[Sequence[str]], environment: Mapping[str, str], said: Path) -> None:
        self._said = said
        with said.open("ab") as out:
            self._roots = [
                subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
                )
                for command in commands
            ]

    def tree(self) -> list[int]:
        """Their pids, and those of all below."""
        return family(root.pid for root in self._roots)

    def cpu(self) -> float:
        """Seconds of processor time so far, with what ended children have used."""
        return sum(sum(map(int, fields[11:15])) for pid in self.tree() if (fields := _stat(pid))) / _TICK

    def memory(self) -> tuple[float, float, int]:
        """RSS and PSS in bytes and the number of processes; PSS shares what several have mapped among them."""
        rss = pss = count = 0.0
        for pid in self.tree():
            try:
                lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
            except OSError:
                continue
            sizes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
            rss, pss, count = rss + sizes["Rss"] * 1024, pss + sizes["Pss"] * 1024, count + 1
        return rss, pss, int(count)

    def check(self) -> None:
        """Raises RuntimeError if one has ended; the text has what it said."""
        ended = [root for root in self._roots if root.poll() is not None]
        if ended:
            raise RuntimeError(f"{ended[0].args!r} ended with {ended[0].returncode}:\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of what they printed."""
        return self._said.read_text(errors="replace")[-2000:]

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # SIGKILL: a graceful stop would be another measurement, and the server goes as well. Stopped first, so that
        # none replaces another one meanwhile.
        tree = self.tree()
        _signal(tree, signal.SIGSTOP)
        tree = [*dict.fromkeys([*tree, *self.tree()])]
        _signal(tree, signal.SIGKILL)
        for root in self._roots:
            root.wait()
        until = time.monotonic() + 5
        while any(_stat(pid) for pid in tree) and time.monotonic() < until:
            time.sleep(0.01)


def family(roots: Iterable[int]) -> list[int]:
    """Pids and those of all below them."""
    below: dict[int, list[int]] = {}
    for entry in PROC.glob("[0-9]*"):
        if fields := _stat(int(entry.name)):
            below.setdefault(int(fields[1]), []).append(int(entry.name))
    members = list(roots)
    for member in members:
        members += below.get(member, ())
    return members


def stolen() -> tuple[int, int]:
    """Ticks of this machine that others of its host had, and all ticks."""
    ticks = [int(each) for each in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[7], sum(ticks)


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may hold anything: state, parent, …, as 12th to 15th times; [] if it is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] == "Z" else fields


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it has ended
