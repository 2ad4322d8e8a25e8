"""What others build dashboards and alerts on is what the page says."""

from __future__ import annotations

import re
from pathlib import Path

from quaff.model.metrics import FAMILIES
from quaff.telemetry import names

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()


def test_the_page_has_each_metric_with_its_kind_and_labels() -> None:
    """And none besides."""
    rows = re.findall(r"^\| `(quaff_\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    told = {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert told == {
        (f"{each.name}_total" if each.kind == "counter" else each.name, each.kind, each.labels) for each in FAMILIES
    }


def test_the_page_has_each_attribute_and_metric_of_traces() -> None:
    """And none besides."""
    section = PAGE.partition("## OpenTelemetry")[2].partition("## Sentry")[0]
    table = "".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([\w.]+)`", table)) == set(names.ATTRIBUTES)
    told = set(re.findall(r"`(messaging\.[\w.]+)`", section)) - set(names.ATTRIBUTES)
    assert told == set(names.METRICS)
