"""The table: who takes part, medians with their spread, where another queue is better, and the targets.

``python -m bench.report FILE.json`` writes it again, beside the readings that it comes from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.plan import BACKLOGS, LINES, Cell
from bench.results import Results, Spread, read
from bench.targets import DIRECT, TARGETS

#: A row: the contestant and the kind of its tasks.
Row = tuple[str, str]


class Column(NamedTuple):
    """One column of a table: where its figures are, by row, and whether more is better; None: neither is."""

    title: str
    measure: str
    scenario: Callable[[str], str]  # by kind
    figure: str
    more: bool | None
    scale: float = 1


def _drained(title: str, task: str, processes: int = 1, delay: float | None = None) -> Column:
    return Column(title, "drain", lambda kind: Cell(task, kind, processes, delay).name, "rate", True)


def _cost(title: str, figure: str) -> Column:
    return Column(title, "drain", lambda kind: Cell("noop", kind).name, figure, False)


def _sent(title: str, figure: str, *, more: bool = True) -> Column:
    return Column(title, "enqueue", lambda kind: "", figure, more)


def _idle(title: str, figure: str, scale: float = 1) -> Column:
    return Column(title, "latency", lambda kind: DIRECT, figure, False, scale)


DRAINED = (
    _drained("no-op", "noop"),
    _drained("no-op, 2 processes", "noop", 2),
    _drained("1 KiB echo, result kept", "echo"),
    _drained("echo, 2 processes", "echo", 2),
    _drained("10 ms sleep", "sleep"),
    _drained("sleep, 2 processes", "sleep", 2),
    _drained("1 ms CPU", "spin"),
    _drained("CPU, 2 processes", "spin", 2),
    _drained("no-op, proxy +0 ms", "noop", 1, 0),
    _drained("no-op, proxy +1 ms", "noop", 1, 1),
)
SENT = (
    _sent("one by one", "one"),
    _sent("in a batch block of 500", "batch"),
    _sent("in bulk, 500", "bulk"),
    _sent("one by one: CPU µs", "one_us", more=False),
    _sent("bulk: CPU µs", "bulk_us", more=False),
)
COSTS = (
    _cost("commands a job", "commands"),
    _cost("round trips a job", "round_trips"),
    _cost("server CPU µs a job", "server_us"),
    _cost("worker CPU µs a job", "worker_us"),
    _cost("bytes a queued job", "bytes_queued"),
    _cost("bytes left of a job that ended", "bytes_left"),
    _cost("start to first job, s", "start_s"),
)
IDLE = (
    _idle("PSS MB", "pss", 1e-6),
    _idle("RSS MB, added up", "rss", 1e-6),
    Column("processes", "latency", lambda kind: DIRECT, "processes", None),
    _idle("commands sent a second", "sent_s"),
    _idle("commands executed a second", "executed_s"),
    _idle("CPU %", "worker_cpu", 100),
    Column("import ms", "imports", lambda kind: "", "ms", False),
)


def _waited(measure: str) -> tuple[Column, ...]:
    def at(delay: float | None, part: str) -> Column:
        line = "" if delay is None else f", proxy +{delay:g} ms"
        return Column(part + line, measure, lambda kind: str(delay), part, False)

    return tuple(at(delay, part) for delay in LINES for part in ("p50", "p95", "p99"))


#: Title, what it says below, columns, and whether each kind of task has a row of its own.
TABLES: tuple[tuple[str, str, Sequence[Column], bool], ...] = (
    ("Drained, jobs a second", "A full queue and a worker that starts. One process unless it says two.", DRAINED, True),
    ("Sent, jobs a second", "One producer, no worker.", SENT, False),
    ("Idle latency, ms", "From before the call to the first line of the task.", _waited("latency"), False),
    (
        "Call to result, ms",
        "From before the call until the result is in the caller's hands.",
        _waited("answers"),
        False,
    ),
    ("What a no-op costs", "While a full queue is drained by one process.", COSTS, True),
    ("A worker with nothing to do, and the import", "One process, and whatever watches over it.", IDLE, False),
)


def text(results: Results) -> str:
    """All of it, in Markdown; the last lines are the targets."""
    return "\n".join(
        [*_head(results), *_tables(results), *_own(results), *_better(results), *_notes(results), *_ends(results)]
    )


def _head(results: Results) -> Iterator[str]:
    about, machine = results.about, results.about["machine"]
    stolen = [each.stolen for each in results.readings] or [0.0]
    yield f"# Benchmark of {about['date']}\n"
    yield f"{machine['cpu']}, {machine['cpus']} processors, {machine['memory_gib']} GiB; {machine['system']}."
    yield f"Python {machine['python']}; {about['server']} on loopback, `{about['configuration']}`, a new one each time."
    yield f"{about['rounds']} rounds; each figure is the median over them, with the lowest and the highest. Load before"
    yield f"{machine['load']:.1f}, after {about['load_after']:.1f}; of the machine's time other guests of its host"
    yield f"had {sum(stolen) / len(stolen):.1%}, and {max(stolen):.0%} during the worst measurement.\n"
    yield from _grid(
        ["", "versions", "set up as", "a job whose worker is killed"],
        [
            [
                each["title"],
                " ".join(f"{name} {number}" for name, number in each["versions"].items()),
                each["settings"],
                each["guarantee"],
            ]
            for each in results.contestants.values()
        ],
    )


def _tables(results: Results) -> Iterator[str]:
    for title, below, columns, by_kind in TABLES:
        rows = list(_rows(results, by_kind))
        cells = {row: [_found(results, row, column) for column in columns] for row in rows}
        used = [place for place, _ in enumerate(columns) if any(cells[row][place] for row in rows)]
        filled = [[_label(results, row), *(_shown(cells[row][at]) for at in used)] for row in rows if any(cells[row])]
        if filled:
            yield f"## {title}\n\n{below}\n"
            yield from _grid(["", *(columns[at].title for at in used)], filled)


def _own(results: Results) -> Iterator[str]:
    claims = [results.spread("claims", "", "quaff", f"us_{backlog}") for backlog in BACKLOGS]
    if all(claims):
        yield "## Quaff in front of a backlog\n\nA claim of one job, µs, as the client sees it.\n"
        yield from _grid([f"{backlog:,}" for backlog in BACKLOGS], [[_shown(each) for each in claims]])
    features = {name for each in results.readings if each.measure == "features" for name in each.figures}
    plain = results.values("features", "", "quaff", "noop")
    if features:
        yield "## What priorities, turns, unique keys and limits cost\n"
        yield "Drains of no-ops with each of them, as a part of the rate of plain ones.\n"
        ratios = {
            name: results.ratio(results.values("features", "", "quaff", name), plain) for name in sorted(features)
        }
        yield from _grid(list(ratios), [[f"{ratio:.2f}" for ratio in ratios.values() if ratio is not None]])


def _better(results: Results) -> Iterator[str]:
    """Every column in which a peer's median beats the best one of Quaff."""
    if not results.peers():
        return
    yield "## Where another queue is better\n"
    for title, _, columns, by_kind in TABLES:
        rows = list(_rows(results, by_kind))
        for column in columns:
            found = {row: spread.median for row in rows if (spread := _found(results, row, column))}
            ours = [value for (name, _), value in found.items() if name == "quaff"]
            if not ours or column.more is None:
                continue
            best = max(ours) if column.more else min(ours)
            ahead = {
                row: value
                for row, value in found.items()
                if row[0] in results.peers() and (value > best if column.more else value < best)
            }
            if ahead:
                ranked = sorted(ahead.items(), key=lambda each: each[1], reverse=column.more)
                names = ", ".join(f"{_label(results, row)} {_number(value)}" for row, value in ranked)
                yield f"- {title}: {column.title}: {names}; Quaff {_number(best)}."
    yield ""


def _notes(results: Results) -> Iterator[str]:
    failures = {(each.queue, each.measure, each.scenario, each.error.splitlines()[0]) for each in results.failures()}
    if results.absent or failures:
        yield "## What could not be measured\n"
        yield from (f"- {name} is not installed: {why}" for name, why in results.absent.items())
        for queue, measure, scenario, error in sorted(failures):
            yield f"- {results.contestants[queue]['title']}, {measure} {scenario}: {error}"
        yield ""


def _ends(results: Results) -> Iterator[str]:
    yield "## Targets\n\n```"
    yield from (each.line(results) for each in TARGETS)
    yield "```"


def _rows(results: Results, by_kind: bool) -> Iterator[Row]:
    for name, about in results.contestants.items():
        kinds = list(about["slots"])
        yield from ((name, kind) for kind in (kinds if by_kind else kinds[:1]))


def _label(results: Results, row: Row) -> str:
    about = results.contestants[row[0]]
    return f"{about['title']}, {row[1]}" if len(about["slots"]) > 1 else about["title"]


def _found(results: Results, row: Row, column: Column) -> Spread | None:
    spread = results.spread(column.measure, column.scenario(row[1]), row[0], column.figure)
    return spread and Spread(*(value * column.scale for value in spread))


def _shown(spread: Spread | None) -> str:
    if spread is None:
        return ""
    if spread.lowest == spread.highest:
        return _number(spread.median)
    return f"{_number(spread.median)} ({_number(spread.lowest)}–{_number(spread.highest)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def write(path: Path) -> None:
    """Beside a file of readings."""
    path.with_suffix(".md").write_text(text(read(path)) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
