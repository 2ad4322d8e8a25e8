"""A queue that takes part: its own interpreter, its producer and its worker, as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.processes import Processes

HERE = Path(__file__).parent
VENVS = HERE / ".venvs"
OWN = ("quaff", "bare", "bare_wait", "bare_python")
PEERS = tuple(sorted(path.stem for path in (HERE / "queues").glob("*.txt")))
#: Told to programs before there is a server, and replaced when there is one.
_NOWHERE = "redis://127.0.0.1:1/0"


class Failed(Exception):
    """A program of a queue did not do what it should; the text has what it said."""


@dataclass
class Contestant:
    """One queue.

    Args:
        name: its module in ``queues``.
        folder: for what its programs print, and for temporary files.

    Attributes:
        about: what ``driver.describe`` says of it.
        rates: jobs a second so far by cell, to size the next drain.
    """

    name: str
    folder: Path
    about: dict[str, Any] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    _commands: dict[tuple[int, str, bool], list[list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.about = self.drive(_NOWHERE, "describe", "1", "sync")

    @property
    def is_peer(self) -> bool:
        """Whether it is another project."""
        return self.name in PEERS

    @property
    def kinds(self) -> list[str]:
        """Of tasks that it runs; the first is the one it is made for."""
        return list(self.about["slots"])

    def takes_part(self, what: str, kind: str | None = None) -> bool:
        """Whether it is measured in this, with this kind of tasks."""
        floor_of = self.about["floor_of"]
        return (floor_of is None or what in floor_of) and (kind is None or kind in self.kinds)

    def drive(self, url: str, what: str, *given: object, results: bool = False, timeout: float = 120) -> Any:
        """An action of its producer; what that prints. Raises Failed."""
        done = self._run(["-m", "bench.driver", self.name, what, *map(str, given)], url, results, timeout)
        return json.loads(done.splitlines()[-1])

    def import_seconds(self) -> float:
        """How long an application waits for its import. Raises Failed."""
        code = f"import time; t = time.perf_counter(); {self.about['imports']}; print(time.perf_counter() - t)"
        return float(self._run(["-c", code], _NOWHERE, False, 60))

    def work(self, url: str, slots: Path, processes: int, kind: str, *, results: bool = False) -> Processes:
        """Its worker, started."""
        way = (processes, kind, results)
        if way not in self._commands:
            self._commands[way] = self.drive(_NOWHERE, "describe", processes, kind, results=results)["worker"]
        commands = [[word.replace(_NOWHERE, url) for word in command] for command in self._commands[way]]
        environment = self._environment(url, results) | {"BENCH_SLOTS": str(slots)}
        return Processes(commands, environment, self.folder / f"{self.name}.log")

    def _run(self, arguments: list[str], url: str, results: bool, timeout: float) -> str:
        try:
            done = subprocess.run(
                [str(self._python), *arguments], env=self._environment(url, results), cwd=self.folder,
                timeout=timeout, capture_output=True, text=True, check=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name}: {' '.join(arguments)} took more than {timeout:g} s") from None
        except subprocess.CalledProcessError as error:
            raise Failed(f"{self.name}: {' '.join(arguments)}: {error.stderr[-2000:]}") from None
        return done.stdout

    @property
    def _python(self) -> Path:
        return VENVS / self.name / "bin" / "python" if self.is_peer else Path(sys.executable)

    def _environment(self, url: str, results: bool) -> dict[str, str]:
        # A variable left over in the shell would make this another benchmark.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("QUAFF_", "BENCH_"))}
        own = {"PYTHONPATH": str(HERE.parent), "BENCH_URL": url, "TMPDIR": str(self.folder)}
        return kept | own | ({"BENCH_RESULTS": "1"} if results else {})
