"""A virtual environment for each peer, below ``.venvs``: what they pin does not go together."""

from __future__ import annotations

import subprocess
import sys

from bench.contestant import HERE, VENVS


def ready(name: str) -> str:
    """Make or renew that of a peer, as its requirements say; the error if that cannot be done, else an empty text."""
    wanted = HERE / "queues" / f"{name}.txt"
    stamp = VENVS / name / "requirements.txt"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return ""
    python = VENVS / name / "bin" / "python"
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(VENVS / name)],
        [str(python), "-m", "pip", "install", "-q", "-r", str(wanted)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{' '.join(command)}: {done.stderr.strip()[-500:]}"
    stamp.write_text(wanted.read_text())
    return ""
