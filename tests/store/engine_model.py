"""What the model of the engine knows of a job and of a process."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.store.engine import process_id


@dataclass
class Job:
    """One job as the model knows it; ``where``: ready, solo, parked, active or ended."""

    message: bytes
    where: str = "ready"
    process: bytes = b""
    token: bytes = b""
    letter: str = ""
    kept: bool = False  # its result
    attempts: int = 0
    crashes: int = 0
    lapses: int = 0

    @property
    def line(self) -> str:
        """Where it waits when it comes back from a sweep's parking."""
        return "solo" if self.crashes + self.lapses else "ready"


@dataclass
class Process:
    """A worker process: its number of claims, what the last one said, and whether it is closed."""

    id: bytes = field(default_factory=process_id)
    claims: int = 0
    last: tuple[int, bytes, int] | None = None
    closed: bool = False
    seen: bool = False
