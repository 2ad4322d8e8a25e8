"""Whether four type checkers report an error on each marked line of bad.py, and on no other; ``make check`` runs it.

    python tests/typing/check_bad.py

A mark: ``# error: <mypy's code> <pyright's rule>``. ty and pyrefly are young, and their codes change: of these only the
line counts, here and in good.py, where they have to report nothing; what they see otherwise is in the table
``OTHERWISE``. (mypy and pyright read good.py with all the rest.) Exit code 1 if they differ, with each line that does.
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
GOOD = Path(__file__).with_name("good.py")
MARK = re.compile(r"# error: (\S+) (\S+)$")

Found = dict[int, set[str]]

_TYPED_DICT = "ty 0.0 does not see which names an Unpack[TypedDict] has"
_INVARIANT = "[str] is no [text: str] for it, in a parameter that is invariant; Task[..., float, float] is accepted"
#: What a checker sees otherwise than it should: a part of the line, and why. One that is true no longer is an error.
OTHERWISE: dict[str, dict[str, str]] = {
    "ty": {
        "add.options(queu=": _TYPED_DICT,
        "add.options(result_ttl=": _TYPED_DICT,
        "quaff.task(key=": _TYPED_DICT,
        "hands_on: Task[[str], float, float] = ": _INVARIANT,
        "hands_on = by_call_with_options": _INVARIANT,
        "awaited: Task[[str], float, Coroutine[Any, Any, float]] = ": _INVARIANT,
    },
    "pyrefly": {
        "hands_on: Task[[str], float, float] = ": _INVARIANT,
        "hands_on = by_call_with_options": _INVARIANT,
        "awaited: Task[[str], float, Coroutine[Any, Any, float]] = ": _INVARIANT,
    },
}
_ERROR = {"error"}
_TY = re.compile(r"^[^:]+:(\d+):\d+: error\[", re.MULTILINE)


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


def differences(checker: str, expected: Found, found: Found, file: str = BAD.name) -> list[str]:
    """A line of text for each line that is not as it is marked."""
    return [
        f"{file}:{number}: {checker} reports {' '.join(sorted(found.get(number, set()))) or 'nothing'}, "
        f"the mark says {' '.join(sorted(expected.get(number, set()))) or 'nothing'}"
        for number in sorted(expected | found)
        if expected.get(number) != found.get(number)
    ]


def seen_by(checker: str, text: str, expected: Found) -> Found:
    """On which lines of a file this checker has to report an error: those expected, but for its entries in OTHERWISE.

    Raises:
        ValueError: an entry does not say which line.
    """
    lines = text.splitlines()
    seen = dict.fromkeys(expected, _ERROR)
    for part in OTHERWISE[checker]:
        numbers = [number for number, line in enumerate(lines, 1) if part in line]
        if len(numbers) > 1:
            raise ValueError(f"{part!r} of {checker} is in {len(numbers)} lines")
        for number in numbers:
            if seen.pop(number, None) is None:
                seen[number] = _ERROR
    return seen


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


def by_ty(path: Path) -> Found:
    """The lines on which ty has an error."""
    where = ("--python", sys.prefix, "--python-version", "3.11")
    out = _run("ty", "check", *where, "--output-format", "concise", str(path))
    return {int(match[1]): _ERROR for match in _TY.finditer(out)}


def by_pyrefly(path: Path) -> Found:
    """The lines on which pyrefly has an error."""
    where = ("--python-interpreter-path", sys.executable)
    report = json.loads(_run("pyrefly", "check", *where, "--output-format", "json", str(path)))
    return {each["line"]: _ERROR for each in report["errors"] if each["severity"] == "error"}


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
    bad, good = BAD.read_text(), GOOD.read_text()
    for_mypy, for_pyright = marked(bad)
    wrong = differences("mypy", for_mypy, by_mypy(BAD)) + differences("pyright", for_pyright, by_pyright(BAD))
    for checker, by in (("ty", by_ty), ("pyrefly", by_pyrefly)):
        wrong += differences(checker, seen_by(checker, bad, for_mypy), by(BAD))
        wrong += differences(checker, seen_by(checker, good, {}), by(GOOD), GOOD.name)
        wrong += [f"{part!r} of {checker} is in no line" for part in OTHERWISE[checker] if part not in bad + good]
    known = ", ".join(f"{checker} {len(parts)}" for checker, parts in OTHERWISE.items())
    print(
        "\n".join(wrong) or f"{len(for_mypy)} lines are refused by four checkers, as marked; lines OTHERWISE: {known}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
