"""The page of what was published so far: ``python -m bench.history`` writes it again; so does a run that is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.results import FOLDER, Results, read
from bench.targets import TARGETS

PAGE = FOLDER.parents[1] / "docs" / "reference" / "benchmarks.md"
_HEAD = """# What was measured so far

One row a target, one column a run of [the benchmark](../../bench/README.md) that was kept, the newest first. Ratios are
of one run on one machine, and only they compare; a figure in bold misses what is wanted, and
an empty place was not measured.
"""


def page() -> str:
    """All of it, as Markdown."""
    paths = sorted(FOLDER.glob("*.json"), key=lambda path: path.stem, reverse=True)
    runs = [(path, read(path)) for path in paths]
    return "\n".join((_HEAD, *_table(runs), "", *(_about(path, results) for path, results in runs), ""))


def _table(runs: list[tuple[Path, Results]]) -> Iterator[str]:
    yield f"| | wanted | {' | '.join(path.stem for path, _ in runs)} |"
    yield "|---|---|" + "---|" * len(runs)
    for target in TARGETS:
        cells = []
        for _, results in runs:
            found = target.got(results)
            figure = "" if found is None else f"{found:.3g}"
            cells.append(figure if found is None or target.reached(found) else f"**{figure}**")
        yield f"| {target.name} | {target.sense} {target.want:g} | {' | '.join(cells)} |"


def _about(path: Path, results: Results) -> str:
    machine = results.about["machine"]
    what = f"{machine['cpu']}, {machine['cpus']} processors, Python {machine['python']}, {results.about['server']}"
    return f"- [{path.stem}](../../bench/results/{path.stem}.md): {what}; {results.about['rounds']} rounds"


def write() -> None:
    """The page, where the docs have it."""
    PAGE.write_text(page())


if __name__ == "__main__":
    write()
