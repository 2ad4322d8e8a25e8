"""What others build dashboards and alerts on is what the page says."""

from __future__ import annotations

import re
from pathlib import Path

from quaff.model.metrics import FAMILIES

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()


def test_the_page_has_each_metric_with_its_kind_and_labels() -> None:
    """And none besides."""
    rows = re.findall(r"^\| `(quaff_\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    told = {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert told == {
        (f"{each.name}_total" if each.kind == "counter" else each.name, each.kind, each.labels) for each in FAMILIES
    }
