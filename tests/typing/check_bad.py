"""Whether mypy and pyright report an error on each marked line of bad.py, and on no other; ``make check`` runs it.

    python tests/typing/check_bad.py

A mark: ``# error: <mypy's code> <pyright's rule>``. Exit code 1 if they differ, with each line that does.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
BAD = Path(__file__).with_name("bad.py")
MARK = re.compile(r"# error: (\S+) (\S+)$")

Found = dict[int, set[str]]


def marked(text: str) -> tuple[Found, Found]:
    """What mypy and what pyright has to report, by line.

    Raises:
        ValueError: there is no mark, or one that cannot be read.
    """
    for_mypy: Found = {}
    for_pyright: Found = {}
    for number, line in enumerate(text.splitlines(), 1):
        mark = MARK.search(line)
        if mark:
            for_mypy[number], for_pyright[number] = {mark[1]}, {mark[2]}
        elif "# error" in line:
            raise ValueError(f"{number}: {line.strip()!r} is no mark: # error: <mypy's code> <pyright's rule>")
    if not for_mypy:
        raise ValueError("no line is marked")
    return for_mypy, for_pyright


def differences(checker: str, expected: Found, found: Found) -> list[str]:
    """A line of text for each line that is not as it is marked."""
    return [
        f"bad.py:{number}: {checker} reports {' '.join(sorted(found.get(number, set()))) or 'nothing'}, "
        f"the mark says {' '.join(sorted(expected.get(number, set()))) or 'nothing'}"
        for number in sorted(expected | found)
        if expected.get(number) != found.get(number)
    ]


def by_mypy(path: Path) -> Found:
    """The errors of ``mypy --strict``."""
    out = _run("mypy", "--output", "json", str(path))
    reports = [json.loads(line) for line in out.splitlines()]
    return _by_line((each["line"], each["code"]) for each in reports if each["severity"] == "error")


def by_pyright(path: Path) -> Found:
    """The errors of pyright."""
    report = json.loads(_run("pyright", "--outputjson", "--pythonpath", sys.executable, str(path)))
    errors = [each for each in report["generalDiagnostics"] if each["severity"] == "error"]
    return _by_line((each["range"]["start"]["line"] + 1, each["rule"]) for each in errors)


def _by_line(errors: Iterable[tuple[int, str]]) -> Found:
    found: Found = {}
    for number, code in errors:
        found.setdefault(number, set()).add(code)
    return found


def _run(module: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 1:  # 0: it found nothing to complain of in a file that is all wrong; else it broke
        raise SystemExit(f"{module} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> int:
    """Exit code 0 if all is as it is marked."""
    for_mypy, for_pyright = marked(BAD.read_text())
    wrong = differences("mypy", for_mypy, by_mypy(BAD)) + differences("pyright", for_pyright, by_pyright(BAD))
    print("\n".join(wrong) or f"bad.py: {len(for_mypy)} lines are refused by mypy and pyright, as marked")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
