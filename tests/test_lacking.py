"""A machine that lacks something: it passes by leaving tests out, and with CI set it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import SRC

#: Runs on what is installed with Python alone, without any program of the system.
BARE = {"PATH": str(Path(sys.executable).parent), "PYTHONDONTWRITEBYTECODE": "1"}


def run(*words: str, **environment: str) -> tuple[int, str]:
    """The exit code of some tests there, and what was said."""
    command = [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", *words]
    done = subprocess.run(command, cwd=SRC.parent, env=BARE | environment, capture_output=True, text=True, timeout=50)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("tests/store/test_engines.py", "-k", "tls_is_spoken"), "needs redis-server on PATH"),
        (("tests/test_durability.py", "-k", "redis-server"), "needs redis-server on PATH"),
    ],
    ids=["tls", "an old server"],
)
def test_a_test_that_lacks_something_is_left_out_and_with_ci_it_fails(words: tuple[str, ...], what: str) -> None:
    """Else a row would be green that nobody has shown."""
    code, said = run(*words)
    assert (code, what in said, "skipped" in said) == (0, True, True), said
    code, said = run(*words, CI="true")
    assert (code, what in said, "with CI set nothing is left out" in said) == (1, True, True), said


def test_a_whole_engine_that_is_not_there_is_no_success() -> None:
    """All of its tests would be left out."""
    words = ("tests/model/test_ids.py",)
    code, said = run(*words, ENGINE="redis7")
    assert (code, "skipped" in said) == (0, True), said
    code, said = run(*words, ENGINE="redis7", CI="true")
    assert (code, "ENGINE=redis7 needs redis-server" in said) == (4, True), said
