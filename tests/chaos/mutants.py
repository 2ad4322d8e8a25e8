"""Copies of the package with one rule of a script left out, to see that the harness misses it."""

from __future__ import annotations

import shutil
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"

#: What is left out: a script, what it says, and what it says instead.
MUTANTS = {
    # Whoever once held a job may say how it ended.
    "fence": ("settle.lua", "elseif holders[id] == token then", "elseif holders[id] then"),
}


def mutate(name: str, home: Path) -> Path:
    """A source folder that has the package without a rule."""
    script, rule, instead = MUTANTS[name]
    folder = home / "mutant"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "quaff" / "store" / "lua" / script
    text = path.read_text()
    assert text.count(rule) == 1, f"{script} no longer says {rule!r} once: what {name!r} leaves out has to be said anew"
    path.write_text(text.replace(rule, instead))
    return folder
