"""The invariants and the tests that cite them; prints ``docs/reference/invariants.md``.

A test cites an invariant by its id, such as I6, in its own docstring or that of its class. One that breaks some, and
sees that this is told, says so: ``Planted: I6, I7.`` The page is made anew by ``python -m tests.invariants >
docs/reference/invariants.md``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from quaff.audit.rules import INVARIANTS
from tests.catalogue import ROOT, sentence, tests_of

PAGE = ROOT / "docs" / "reference" / "invariants.md"
ID = re.compile(r"\bI(\d+)\b")
PLANTED = re.compile(r"\bPlanted: (I\d+(?:, I\d+)*)\.")

#: What holds at every moment, or in every history.
CATALOGUE: dict[int, str] = {
    1: "every job that has not ended is in exactly one place, with its message",
    2: "a terminal state changes only when somebody sends the job back",
    3: "every job that was accepted is there, has ended, or fell into a loss window that was declared",
    4: "at most one settle of a token is answered OK, and one end of a job until it is sent back",
    5: "no job that nobody sent",
    6: "what runs is held by one process, which has a lease; what is held runs",
    7: "no two running jobs share a token",
    8: "attempts and crashes are counted, and stay within their limits",
    9: "a message is, byte for byte, the one that was sent",
    10: "nothing is kept that belongs to nobody, and nothing that will never expire",
    11: "a unique key points to a job that lives, and back",
    12: "the counters equal the contents",
    13: "no key but those of the one list, each of its kind, and none with a TTL",
    14: "nothing starts in a paused queue",
    15: "limits hold at every moment",
    16: "jobs of one priority come in the order in which they were sent",
    17: "without faults, and with one worker alive, everything comes to its end",
    18: "each script stays within its time: 5 ms",
    19: "a call that is sent again changes nothing",
    20: "every second run of a job has a cause that was recorded",
    21: "a replica, and the append-only file when it is read again, have what the primary has",
    22: "no lease reaches further than a lease, and the clock that scripts go by never falls by less than a minute",
}

#: What is not promised, and what is instead.
INSTEAD = """
That nothing begins without a lease which is young by its process's own clock is not among them: a process may stand
still (SIGSTOP, a machine that sleeps) between any look at a clock and the first line of a task, so such a look would
promise nothing. What it had claimed, and begins when it goes on, is refused if somebody else has it by then (I4), and
is a second run with a cause (I20).
""".strip().splitlines()


def cited() -> dict[int, list[str]]:
    """The tests that cite each invariant, as ``file::test``."""
    return _tests(lambda text: text)


def planted() -> dict[int, list[str]]:
    """The tests that break each invariant and see it, as ``file::test``."""
    return _tests(lambda text: " ".join(PLANTED.findall(text)))


def _tests(read: Callable[[str], str]) -> dict[int, list[str]]:
    """The tests of each invariant that is named in what is read of their docstrings."""
    found: dict[int, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, text in tests_of(path):
            for number in {int(id) for id in ID.findall(read(text))}:
                found.setdefault(number, []).append(f"{path.relative_to(ROOT)}::{name}")
    return found


def page() -> str:
    """``docs/reference/invariants.md``."""
    tests, breaking = cited(), planted()
    lines = [
        "# What always holds, and who looks",
        "",
        "Made by `python -m tests.invariants`. What `quaff audit` sees on a server in use is in the third column, by",
        "the name that it gives to a finding; the others are about histories, which only tests know. Each has a test",
        "that breaks it and sees that this is told: those with a †.",
        "",
        *INSTEAD,
        "",
        "| | invariant | `quaff audit` | tests |",
        "|---|---|---|---|",
    ]
    for number, title in CATALOGUE.items():
        names = ", ".join(f"`{name}`" for name, (of, _) in INVARIANTS.items() if of == number)
        where = "<br>".join(
            f"`{test.partition('::')[0]}` {sentence(test)}{' †' * (test in breaking.get(number, []))}"
            for test in tests.get(number, [])
        )
        lines.append(f"| I{number} | {title} | {names} | {where} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
