"""How commands show what they found: a table for people, or one JSON document for programs.

Whatever stands in a cell was written by somebody: control characters are shown, never sent to the terminal.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from quaff.model import sizes
from quaff.model.times import spoken

if TYPE_CHECKING:
    from quaff.model.counts import Counts
    from quaff.model.histogram import Histogram

#: Of a table that goes to a file or a pipe.
_WIDE = 200
#: The longest cell: one that is longer pushes all others out of sight.
_CELL = 200
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def plain(value: object) -> str:
    """A value as it may stand in a line: nothing in it moves the cursor, ends the line or changes its direction."""
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def table(head: Sequence[str], rows: Iterable[Sequence[object]], width: int | None = None) -> list[str]:
    """Lines of a table.

    Args:
        head: the titles; one that begins with ``>`` is of numbers, which stand at the right.
        rows: the cells.
        width: columns of the terminal; the last cell is cut where a line would be longer. None: that of stdout.
    """
    right = [title.startswith(">") for title in head]
    lines = [[title.removeprefix(">") for title in head], *([_cut(plain(cell), _CELL) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    most = width or (shutil.get_terminal_size((_WIDE, 24)).columns if sys.stdout.isatty() else _WIDE)
    return [_cut("  ".join(_padded(*each) for each in zip(line, widths, right, strict=True)), most) for line in lines]


def _padded(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)


def _cut(line: str, most: int) -> str:
    line = line.rstrip()
    return line if len(line) <= most else f"{line[: most - 1]}…"


def put_table(head: Sequence[str], rows: Sequence[Sequence[object]], nothing: str) -> None:
    """Print it, or what to say where there are no rows."""
    if not rows:
        click.echo(nothing)
        return
    title, *lines = table(head, rows)
    click.echo("\n".join([click.style(title, bold=True), *lines]))


def put_json(value: Any) -> None:
    """One document in one line; times are ISO 8601. What a terminal would obey is escaped, too."""
    import json

    import msgspec

    text = msgspec.json.encode(value).decode()
    # Only in a text of it can such a character be, and there an escape says the same.
    quiet = text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    click.echo(quiet)


def summary(counts: Counts) -> dict[str, Any]:
    """What was counted, for programs: outcomes, bytes, and of times and memory how many, mean and percentiles."""
    numbers = {name: value for name in counts.__struct_fields__ if isinstance(value := getattr(counts, name), int)}
    return numbers | {name: _shares(getattr(counts, name)) for name in ("run", "wait", "memory")}


def _shares(found: Histogram) -> dict[str, Any]:
    shares = {name: found.percentile(share) for name, share in _SHARES.items()}
    return {"count": found.count, "mean": found.mean, **shares}


def took(seconds: float | None) -> str:
    """A duration in few characters: ``12 ms``, ``3.4 s``, ``2 h``."""
    return "-" if seconds is None else spoken(seconds)


def counted(number: int, noun: str) -> str:
    """``1 job``, ``2,000 jobs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def ago(at: datetime | None) -> str:
    """How long ago, or ``in 5 min``."""
    if at is None:
        return "-"
    seconds = (datetime.now(UTC) - at).total_seconds()
    return f"in {took(-seconds)}" if seconds < 0 else f"{took(seconds)} ago"


def size(number: float | None) -> str:
    """Bytes in few characters: ``340 B``, ``1.2 KiB``, ``34 MiB``."""
    return "-" if number is None else sizes.told(number)
